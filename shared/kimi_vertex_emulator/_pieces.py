"""How text is cut into deltas and how tokens are estimated. Deterministic and free of I/O."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from kimi_vertex_emulator.answers import Chunking

__all__ = ["clip", "cut", "deltas", "estimate", "joined"]

_TEXT_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_ARGUMENT_PIECE = re.compile(r".{1,9}", re.DOTALL)
_TOKEN = re.compile(r"\s?[^\s]{1,4}|\s{1,4}", re.DOTALL)
_MARKER = re.compile(r"(<\|[a-z_]{1,40}\|>|</?think>)")
_WIDE = re.compile("[\u2e80-\U0010ffff]")
_FIRST_WIDE = 0x2E80
_LONGEST_RANDOM_PIECE = 12


def joined(value: str | Sequence[str] | None) -> str:
    """The whole text of a scripted field."""
    if value is None:
        return ""
    return value if isinstance(value, str) else "".join(value)


def deltas(
    value: str | Sequence[str] | None,
    *,
    arguments: bool = False,
    chunking: Chunking = "default",
    draw: random.Random | None = None,
) -> list[str]:
    """The pieces of a scripted field; a sequence is already cut."""
    if value is None:
        return []
    return cut(value, arguments, chunking, draw) if isinstance(value, str) else list(value)


def cut(
    text: str, arguments: bool = False, chunking: Chunking = "default", draw: random.Random | None = None
) -> list[str]:
    """Cuts a text into pieces that join to it; by default into at least two where it can be."""
    if chunking == "whole":
        return [text] if text else []
    if chunking == "character":
        return list(text)
    if chunking == "token":
        # Kimi's own tokens are never cut: each is one token.
        parts = _MARKER.split(text)
        return [
            piece
            for index, part in enumerate(parts)
            for piece in ([part] if index % 2 else _TOKEN.findall(part))
        ]
    if chunking == "random":
        return _random_pieces(text, draw or random.Random(0))
    pieces = (_ARGUMENT_PIECE if arguments else _TEXT_PIECE).findall(text)
    if len(pieces) == 1 and len(text) > 1:
        middle = len(text) // 2
        return [text[:middle], text[middle:]]
    return pieces


def _random_pieces(text: str, draw: random.Random) -> list[str]:
    pieces, position = [], 0
    while position < len(text):
        end = position + draw.randint(1, _LONGEST_RANDOM_PIECE)
        pieces.append(text[position:end])
        position = end
    return pieces


def _cost(character: str) -> int:
    """Quarter tokens: four Latin characters make a token, a CJK character is one."""
    return 1 if ord(character) < _FIRST_WIDE else 4


def estimate(text: str) -> int:
    """Estimated tokens of a text, rounded up."""
    wide = 0 if text.isascii() else _WIDE.subn("", text)[1]
    return -(-(len(text) + 3 * wide) // 4)


def clip(text: str, tokens: int) -> str:
    """The longest prefix of the text that costs at most so many estimated tokens."""
    budget = tokens * 4
    for position, character in enumerate(text):
        budget -= _cost(character)
        if budget < 0:
            return text[:position]
    return text
