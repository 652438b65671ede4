"""Kimi on Google Vertex AI as a LangChain chat model."""

from __future__ import annotations

try:
    # Before any other part of LangChain's: with its messages first, the same modules take a good deal longer.
    import langchain_core.language_models.chat_models  # noqa: F401
except ImportError as error:
    if error.name != "langchain_core":
        raise
    raise ImportError(
        'langchain_kimi_vertex needs langchain-core: pip install "kimi-vertex[langchain]"',
        name="langchain_core",
    ) from error

from kimi_vertex import __version__
from langchain_kimi_vertex._registration import register_init_chat_model, register_serializable
from langchain_kimi_vertex.callbacks import ThinkingCallbackHandler
from langchain_kimi_vertex.chat_models import ChatKimiVertex

__all__ = [
    "ChatKimiVertex",
    "ThinkingCallbackHandler",
    "__version__",
    "register_init_chat_model",
    "register_serializable",
]
