"""JSON schemas as the brain reads them: a keyword with a value that it may not have is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from kimi_vertex_emulator._chat import ChatRequest

__all__ = ["tidied", "tidy"]

_DEEPEST = 40
_LONGEST = 10_000


def tidied(chat: ChatRequest) -> ChatRequest:
    """The request with schemas that can be followed, whatever its client declared."""
    if not chat.tools:
        return chat
    return replace(chat, tools=[replace(tool, parameters=tidy(tool.parameters)) for tool in chat.tools])


def tidy(schema: Any, depth: int = 0) -> dict[str, Any]:
    """A schema without what is no JSON schema; nothing is left of one that is nested too deeply."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return {}
    found: dict[str, Any] = {}
    for name, value in schema.items():
        read = _KEYWORDS.get(name)
        kept = value if read is None else read(value, depth + 1)
        if read is None or kept is not None:
            found[name] = kept
    return found


def _schemas(value: Any, depth: int) -> dict[str, Any] | None:
    return {name: tidy(part, depth) for name, part in value.items()} if isinstance(value, Mapping) else None


def _alternatives(value: Any, depth: int) -> list[Any] | None:
    return [tidy(part, depth) for part in value] if isinstance(value, list) else None


def _schema(value: Any, depth: int) -> dict[str, Any] | None:
    return tidy(value, depth) if isinstance(value, Mapping) else None


def _names(value: Any, _: int) -> list[str] | None:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else None


def _list(value: Any, _: int) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _text(value: Any, _: int) -> str | None:
    return value if isinstance(value, str) else None


def _type(value: Any, depth: int) -> str | list[str] | None:
    return value if isinstance(value, str) else _names(value, depth)


def _limit(value: Any, _: int) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if number else None


def _count(value: Any, _: int) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return min(value, _LONGEST) if whole else None


_KEYWORDS: Final[dict[str, Callable[[Any, int], Any]]] = {
    **dict.fromkeys(("properties", "$defs", "definitions"), _schemas),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), _alternatives),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _limit),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), _count),
    **dict.fromkeys(("$ref", "format", "description"), _text),
    "enum": _list,
    "items": _schema,
    "required": _names,
    "type": _type,
}
