"""Says at import that LlamaIndex forgets conversations under the installed pydantic.

Workflows leave out of a `Context` what cannot be written to JSON, so an agent that goes on with one would begin anew
without a word: pydantic 2.14 with llama-index-core 0.14.25, whatever the LLM.
"""

from __future__ import annotations

import logging

import pydantic
from llama_index.core.llms import ChatMessage
from llama_index.core.storage.chat_store import SimpleChatStore

__all__ = ["report_lost_memory"]

_logger = logging.getLogger(__name__)


def report_lost_memory() -> None:
    """Log a warning if a chat store cannot be written to JSON."""
    try:
        SimpleChatStore(store={"": [ChatMessage("")]}).model_dump(mode="json")
    except Exception as error:  # noqa: BLE001 - whichever way it fails, the memory would be lost
        _logger.warning(
            "pydantic %s breaks ChatMemoryBuffer of the installed llama-index-core, with every LLM: an agent that goes on "
            "with a Context has forgotten the earlier turns (%s: %s). Run: pip install 'pydantic<2.14', or pass "
            "memory=Memory.from_defaults() to agents.",
            pydantic.VERSION,
            type(error).__name__,
            error,
        )
