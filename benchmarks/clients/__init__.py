"""The measured clients by name. Each module here imports what it measures, so only workers import it."""

from __future__ import annotations

import importlib
from typing import Final

from .base import Client

__all__ = ["LABELS", "OURS", "load"]

_CLASSES: Final = {
    "httpx": ("plain", "Httpx"),
    "httpx-keeps-all": ("plain", "HttpxKeepsAll"),
    "httpx-keeps-none": ("plain", "HttpxKeepsNone"),
    "core": ("core", "Core"),
    "langchain-floor": ("langchain", "Floor"),
    "langchain": ("langchain", "Kimi"),
    "langchain-aiohttp": ("langchain", "KimiOverAiohttp"),
    "chat-openai": ("langchain", "OpenAI"),
    "chat-deepseek": ("langchain", "DeepSeek"),
    "llama-index-floor": ("llama_index", "Floor"),
    "llama-index": ("llama_index", "Kimi"),
    "llama-index-aiohttp": ("llama_index", "KimiOverAiohttp"),
    "openai-like": ("llama_index", "OpenAILike"),
}
LABELS: Final = {
    "httpx": "httpx + httpx-sse + json",
    "httpx-keeps-all": "httpx, keeps all connections",
    "httpx-keeps-none": "httpx, keeps no connection",
    "core": "KimiVertexClient",
    "langchain-floor": "LangChain floor",
    "langchain": "ChatKimiVertex",
    "langchain-aiohttp": "ChatKimiVertex over aiohttp",
    "chat-openai": "ChatOpenAI",
    "chat-deepseek": "ChatDeepSeek",
    "llama-index-floor": "LlamaIndex floor",
    "llama-index": "KimiVertex",
    "llama-index-aiohttp": "KimiVertex over aiohttp",
    "openai-like": "OpenAILike",
}
OURS: Final = ("core", "langchain", "llama-index")
"""The clients that must hand on every character."""


def load(name: str, origin: str) -> Client:
    """Make a client.

    Raises:
        ImportError: What it measures is not installed.
    """
    module, attribute = _CLASSES[name]
    found = getattr(importlib.import_module(f"benchmarks.clients.{module}"), attribute)
    client = found(origin)
    assert isinstance(client, Client)
    return client
