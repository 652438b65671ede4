"""The checked clients by name. What they measure is imported only when they are loaded."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from benchmarks.conformance.base import Peer
from kimi_vertex import __version__

__all__ = ["LABELS", "OURS", "installed", "load"]

_CLASSES: Final = {
    "core": ("plain", "Core"),
    "langchain": ("langchain", "Kimi"),
    "llama-index": ("llama_index", "Kimi"),
    "openai": ("plain", "OpenAI"),
    "chat-openai": ("langchain", "OpenAI"),
    "chat-deepseek": ("langchain", "DeepSeek"),
    "litellm": ("plain", "LiteLLM"),
    "litellm-moonshot": ("plain", "LiteLLMMoonshot"),
    "chat-litellm": ("langchain", "LiteLLM"),
    "openai-like": ("llama_index", "OpenAILike"),
}
LABELS: Final = {
    "core": "KimiVertexClient",
    "langchain": "ChatKimiVertex",
    "llama-index": "KimiVertex",
    "openai": "openai SDK",
    "chat-openai": "ChatOpenAI",
    "chat-deepseek": "ChatDeepSeek",
    "litellm": "litellm `openai/`",
    "litellm-moonshot": "litellm `moonshot/`",
    "chat-litellm": "ChatLiteLLM",
    "openai-like": "OpenAILike",
}
OURS: Final = ("core", "langchain", "llama-index")
"""The clients of this project."""


def load(name: str) -> type[Peer]:
    """Find a client's class.

    Raises:
        ImportError: The framework that it belongs to is not installed.
    """
    module, attribute = _CLASSES[name]
    found = getattr(importlib.import_module(f"benchmarks.conformance.{module}"), attribute)
    assert isinstance(found, type)
    assert issubclass(found, Peer)
    return found


def installed(package: str) -> str:
    """The version of a distribution; ours may be a source tree that is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return __version__ if package == "kimi-vertex" else "of unknown version"
