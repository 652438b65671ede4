"""Opt-in: `init_chat_model("kimi_vertex:...")`."""

from __future__ import annotations

from typing import Any

from langchain_kimi_vertex._chunks import PROVIDER

__all__ = ["register_init_chat_model"]


def register_init_chat_model() -> None:
    """Teach `langchain.chat_models.init_chat_model`, and `create_agent("kimi_vertex:...")`, this provider.

    LangChain's table of providers is closed and has no entry points, so this writes into a private dict of
    `langchain.chat_models.base` and may stop working with a release of langchain. Passing a `ChatKimiVertex`
    instance always works and needs none of this.

    Raises:
        ImportError: The package `langchain` is not installed.
        RuntimeError: This release of langchain keeps its providers elsewhere.
    """
    from langchain.chat_models import base  # noqa: PLC0415  # not a dependency of the adapter

    providers: Any = getattr(base, "_BUILTIN_PROVIDERS", None)
    if not isinstance(providers, dict):
        raise RuntimeError(
            "This release of langchain has no table of providers to add to; pass a ChatKimiVertex instance instead."
        )
    providers[PROVIDER] = ("langchain_kimi_vertex", "ChatKimiVertex", _create)


def _create(cls: type[Any], **kwargs: Any) -> Any:
    return cls(**kwargs)
