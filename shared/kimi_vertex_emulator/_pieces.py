"""How text is cut into deltas and how tokens are estimated. Deterministic and free of I/O."""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from kimi_vertex_emulator.answers import Chunking, Dialect, Turn

__all__ = ["Style", "clip", "estimate", "joined"]

_TEXT_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_ARGUMENT_PIECE = re.compile(r".{1,9}", re.DOTALL)
_TOKEN = re.compile(r"\s?[^\s]{1,4}|\s{1,4}", re.DOTALL)
_MARKER = re.compile(r"(<\|[a-z_]{1,40}\|>|</?think>)")
_WIDE = re.compile("[\u2e80-\U0010ffff]")
_LONGEST_RANDOM_PIECE = 12


def joined(value: str | Sequence[str] | None) -> str:
    """The whole text of a scripted field."""
    if value is None:
        return ""
    return value if isinstance(value, str) else "".join(value)


@dataclass(frozen=True, slots=True)
class Style:
    """How an answer is sent: dialect, chunking, and the source of randomness."""

    dialect: Dialect
    chunking: Chunking
    draw: random.Random

    def of(self, turn: Turn) -> Style:
        """The style of one turn, which may have settings of its own."""
        return replace(self, dialect=turn.dialect or self.dialect, chunking=turn.chunking or self.chunking)

    def cut(self, text: str | Sequence[str], *, arguments: bool = False) -> list[str]:
        """The pieces of a text, by default at least two where that can be; what is no `str` is cut already."""
        if not isinstance(text, str):
            return list(text)
        if self.chunking == "whole":
            return [text] if text else []
        if self.chunking == "character":
            return list(text)
        if self.chunking == "token":
            # Kimi's own tokens are never cut: each is one token.
            parts = _MARKER.split(text)
            return [
                piece
                for index, part in enumerate(parts)
                for piece in ([part] if index % 2 else _TOKEN.findall(part))
            ]
        if self.chunking == "random":
            ends = [0]
            while ends[-1] < len(text):
                ends.append(ends[-1] + self.draw.randint(1, _LONGEST_RANDOM_PIECE))
            return [text[start:end] for start, end in pairwise(ends)]
        pieces = (_ARGUMENT_PIECE if arguments else _TEXT_PIECE).findall(text)
        if len(pieces) == 1 and len(text) > 1:
            middle = len(text) // 2
            return [text[:middle], text[middle:]]
        return pieces


def estimate(text: str) -> int:
    """Estimated tokens of a text, rounded up: four Latin characters make a token, a CJK character is one."""
    wide = 0 if text.isascii() else _WIDE.subn("", text)[1]
    return -(-(len(text) + 3 * wide) // 4)


def clip(text: str, tokens: int) -> str:
    """The longest prefix of the text that costs at most so many estimated tokens."""
    quarters = accumulate(4 if _WIDE.match(character) else 1 for character in text)
    return text[: bisect_right(list(quarters), 4 * tokens)]
