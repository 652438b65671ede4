"""Opt-in entries in LangChain's closed tables: `init_chat_model("kimi_vertex:...")`, and loadable dumps.

LangChain has no entry points for either, so these write into its modules; importing the package does not.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from langchain_kimi_vertex._keys import PROVIDER

__all__ = ["register_init_chat_model", "register_serializable"]

_PACKAGE: Final = "langchain_kimi_vertex"
_CLASS: Final = "ChatKimiVertex"


def register_init_chat_model() -> None:
    """Teach `langchain.chat_models.init_chat_model`, and `create_agent("kimi_vertex:...")`, this provider.

    The table of providers is private, so this may stop working with a release of langchain. Passing a
    `ChatKimiVertex` instance always works and needs none of this.

    Raises:
        ImportError: The package `langchain` is not installed.
        RuntimeError: This release of langchain keeps its providers elsewhere.
    """
    base = importlib.import_module("langchain.chat_models.base")
    _table(base, "_BUILTIN_PROVIDERS", dict)[PROVIDER] = (_PACKAGE, _CLASS, _create)


def register_serializable() -> None:
    """Let `load(..., allowed_objects="all")` restore a `ChatKimiVertex`, as it restores LangChain's partners' models.

    LangSmith's `pull_prompt(include_model=True)` loads that way. "All" means a table in langchain-core, which is the
    application's safeguard against foreign dumps; so this is yours to call. Where you call `load` yourself,
    `allowed_objects=[ChatKimiVertex], valid_namespaces=["langchain_kimi_vertex"]` needs none of this.

    Raises:
        RuntimeError: This release of langchain-core keeps its table elsewhere.
    """
    module = importlib.import_module("langchain_core.load.load")
    path = (_PACKAGE, "chat_models", _CLASS)
    table = _table(module, "ALL_SERIALIZABLE_MAPPINGS", dict)
    namespaces = _table(module, "DEFAULT_NAMESPACES", list)
    cache = _table(module, "_default_class_paths_cache", dict)
    table[path] = path
    if _PACKAGE not in namespaces:
        namespaces.append(_PACKAGE)
    cache.pop("all", None)


def _table(module: Any, name: str, kind: type[Any]) -> Any:
    found = getattr(module, name, None)
    if not isinstance(found, kind):
        raise RuntimeError(  # noqa: TRY004  # nothing that the caller passed is of a wrong type
            f"This release of LangChain has no {module.__name__}.{name} to add {_CLASS} to."
        )
    return found


def _create(cls: type[Any], **kwargs: Any) -> Any:
    return cls(**kwargs)
