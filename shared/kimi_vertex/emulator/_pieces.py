"""How text is cut into deltas and how tokens are estimated. Deterministic and free of I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["clip", "deltas", "estimate", "joined"]

_TEXT_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_ARGUMENT_PIECE = re.compile(r".{1,9}", re.DOTALL)
_FIRST_WIDE = 0x2E80


def joined(value: str | Sequence[str] | None) -> str:
    """The whole text of a scripted field."""
    if value is None:
        return ""
    return value if isinstance(value, str) else "".join(value)


def deltas(value: str | Sequence[str] | None, *, arguments: bool = False) -> list[str]:
    """The pieces of a scripted field: a `str` cut deterministically into at least two where it can be."""
    if value is None:
        return []
    if not isinstance(value, str):
        return list(value)
    pieces = (_ARGUMENT_PIECE if arguments else _TEXT_PIECE).findall(value)
    if len(pieces) == 1 and len(value) > 1:
        middle = len(value) // 2
        return [value[:middle], value[middle:]]
    return pieces


def _cost(character: str) -> int:
    """Quarter tokens: four Latin characters make a token, a CJK character is one."""
    return 1 if ord(character) < _FIRST_WIDE else 4


def estimate(text: str) -> int:
    """Estimated tokens of a text, rounded up."""
    return -(-sum(map(_cost, text)) // 4)


def clip(text: str, tokens: int) -> str:
    """The longest prefix of the text that costs at most so many estimated tokens."""
    budget = tokens * 4
    for position, character in enumerate(text):
        budget -= _cost(character)
        if budget < 0:
            return text[:position]
    return text
