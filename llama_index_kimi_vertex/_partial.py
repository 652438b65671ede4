"""JSON objects that are still arriving. Pure functions and one small state holder."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["PartialObject", "parse_object", "parse_prefix"]

_TOKENS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*("|\\?\Z)|[{}\[\],]', re.DOTALL)
_CUT_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_CLOSER: Final = {"{": "}", "[": "]"}
_EXACT_UP_TO: Final = 256
_GROWTH: Final = 32


def parse_object(text: str) -> dict[str, Any] | None:
    """Read a whole JSON object; `None` if the text is anything else."""
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse_prefix(text: str) -> dict[str, Any]:
    """Read as much as is certain of a JSON object that is still arriving; `{}` if that is nothing."""
    start = text.find("{")
    if start < 0:
        return {}
    text = text[start:]
    closers: list[str] = []
    safe_end, safe_closers = 0, ""
    unterminated = False
    for token in _TOKENS.finditer(text):
        char = token[0][0]
        if char == '"':
            unterminated = token[1] != '"'
            continue
        if char in _CLOSER:
            closers.append(_CLOSER[char])
        elif char != "," and (not closers or closers.pop() != char):
            return {}
        safe_end = token.start() if char == "," else token.end()
        safe_closers = "".join(reversed(closers))
        if not closers:
            return parse_object(text[:safe_end]) or {}
    whole = (_CUT_ESCAPE.sub("", text) + '"') if unterminated else text
    for candidate in (whole + "".join(reversed(closers)), text[:safe_end] + safe_closers):
        if (value := parse_object(candidate)) is not None:
            return value
    return {}


class PartialObject:
    """Reads a growing text over and over at linear cost.

    Short texts are read on every call; a longer one is read again only when it has grown by a fixed share.
    """

    __slots__ = ("_next", "length", "value")

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}
        self.length = 0
        """Of the text that was last taken."""
        self._next = 0

    def update(self, text: str) -> dict[str, Any]:
        """Take the text as far as it is known and return what is certain of its object."""
        self.length = len(text)
        if len(text) >= self._next:
            self.value = parse_prefix(text)
            self._next = len(text) + 1 if len(text) < _EXACT_UP_TO else len(text) + len(text) // _GROWTH
        return self.value
