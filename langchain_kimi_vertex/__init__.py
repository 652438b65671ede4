"""Kimi on Google Vertex AI as a LangChain chat model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from langchain_kimi_vertex.callbacks import AsyncThinkingCallbackHandler, ThinkingCallbackHandler
from langchain_kimi_vertex.chat_models import ChatKimiVertex

if TYPE_CHECKING:
    from langchain_kimi_vertex.middleware import ToolCallRepairMiddleware as ToolCallRepairMiddleware

__all__ = [
    "AsyncThinkingCallbackHandler",
    "ChatKimiVertex",
    "ThinkingCallbackHandler",
    "__version__",
    "register_init_chat_model",
    "register_serializable",
]


def __getattr__(name: str) -> Any:
    # Not in __all__: `import *` must work without the package langchain, which only the middleware needs.
    if name == "ToolCallRepairMiddleware":
        from langchain_kimi_vertex.middleware import ToolCallRepairMiddleware  # noqa: PLC0415

        return ToolCallRepairMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
