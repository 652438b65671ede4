"""The arguments of one tool call: pieces of any shape in, the text of one JSON object out.

Repairs what is certain: control characters, double encoding, a code fence, `null` for no arguments. The rest stays
as it came and is reported.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal

from kimi_vertex._json import is_object, load_json, normalize_arguments
from kimi_vertex._signs import OPENERS
from kimi_vertex._surrogates import join_surrogates

from .mending import ArgumentMender

__all__ = ["ArgumentStream"]

# The characters that matter outside of strings, where a plain string is one item, and inside.
_OUTSIDE: Final = re.compile(r'"[^"\\\x00-\x1f]*+"|["\\{}\[\]]')
_INSIDE: Final = re.compile(r'["\\\x00-\x1f]')
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
# What may follow a complete object without meaning: white space, the end of a code fence, a leaked marker.
_EMPTY: Final = re.compile(r"\{\s*\}")
_NOISE: Final = re.compile(r"(?:[\s`]|<\|[a-z_]+\|>)*")


class ArgumentStream:
    """Passes on the pieces of one call's arguments while they look like a plain JSON object.

    Anything else is held until the end: the pieces that were passed on always join to the text that `finish` judged.
    """

    def __init__(self, *, mends: bool = False) -> None:
        """Begin.

        Args:
            mends: Whether there may be signs in the arguments, which are taken out (`_signs`).
        """
        self._mender = ArgumentMender() if mends else None
        self._mode: Literal["start", "object", "complete", "whole"] = "start"
        self._parts: list[str] = []  # passed on already, or held in the modes `start` and `whole`
        self._tail: list[str] = []  # what follows the complete object
        self._surrogate = ""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.raw = False
        """Whether anything but white space has come."""

    @property
    def complete(self) -> bool:
        """Whether the object has been closed, so that another `{` begins another call."""
        return self._mode == "complete"

    @property
    def in_string(self) -> bool:
        """Whether the object so far ends in an open string."""
        return self._mode == "object" and self._in_string

    @property
    def empty(self) -> bool:
        """Whether there are no arguments: nothing but white space, or an object with nothing in it."""
        return not self.raw or _EMPTY.fullmatch(self.text) is not None

    @property
    def passed(self) -> str:
        """What has been passed on so far. An empty object is passed on at the end, since it may stand for nothing."""
        return self.text if self.is_object and not _EMPTY.fullmatch(self.text) else ""

    @property
    def is_object(self) -> bool:
        """Whether an object has been opened."""
        return self._mode in ("object", "complete")

    def feed(self, piece: Any) -> str:
        """Take the next piece, text or already decoded JSON; return what may be passed on."""
        if piece is None:
            return ""
        text = piece if isinstance(piece, str) else json.dumps(piece, ensure_ascii=False)
        if self._surrogate or not text.isascii():
            text, self._surrogate = join_surrogates(self._surrogate, text)
        mender = self._mender
        if mender is not None and (
            mender.held or not text.isascii() or "\\" in text or text.endswith(OPENERS)
        ):
            text = mender.feed(text)
        if self._mode == "start":
            begun = bool(self._parts)
            text = text if begun else text.lstrip()
            if not text:
                return ""
            self.raw = True
            self._parts.append(text)
            if self._parts[0][0] == "{" and not text[not begun :].strip():
                return ""  # whether the object is empty is not known yet
            text, self._parts = "".join(self._parts), []
            self._mode = "object" if text[0] == "{" else "whole"
        if self._mode == "object":
            passed, rest = self.take(text)
            if rest:
                self._tail.append(rest)
            return "" if len(self._parts) == 1 and _EMPTY.fullmatch(passed) else passed
        (self._tail if self._mode == "complete" else self._parts).append(text)
        return ""

    def take(self, text: str) -> tuple[str, str]:
        """Read on in an object, or begin one.

        Returns:
            The object's text with raw control characters escaped, and the text behind the object.
        """
        self._mode = "object"
        out: list[str] = []
        start, rest = 0, ""
        position = 1 if self._escaped and text else 0
        self._escaped = self._escaped and not text
        while match := (_INSIDE if self._in_string else _OUTSIDE).search(text, position):
            position = match.end()
            char = text[position - 1]
            if char == "\\":
                self._escaped = position == len(text)
                position += 1
            elif char == '"':
                self._in_string ^= position - match.start() == 1
            elif self._in_string:
                out += (text[start : position - 1], _ESCAPES.get(char, f"\\u{ord(char):04x}"))
                start = position
            elif char in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._mode = "complete"
                    text, rest = text[:position], text[position:]
                    break
        passed = "".join((*out, text[start:])) if start else text
        self._parts.append(passed)
        return passed, rest

    @property
    def text(self) -> str:
        """The arguments so far."""
        return "".join(self._parts)

    def finish(self) -> tuple[str, str | None]:
        """The call is over.

        Returns:
            The text that is still to be passed on, and what is wrong with the arguments, or `None`.
        """
        lost, self._surrogate = ("\ufffd" if self._surrogate else ""), ""
        if self._mender is not None and self._mender.held:
            self.raw, lost = True, self._mender.finish() + lost
        (self._tail if self._mode == "complete" else self._parts).append(lost)
        if self._mode in ("start", "whole"):
            normal = normalize_arguments(self.text)
            if normal is None:
                begun = self._parts[0].startswith("{")
                return (
                    self.text,
                    "the arguments break off" if begun else "the arguments are not a JSON object",
                )
            self._parts = [normal]
            return normal, None
        if self._mode == "object":
            return lost, "the arguments break off"
        owed, tail = self.text[len(self.passed) :], "".join(self._tail)
        if _NOISE.fullmatch(tail) is None:
            self._parts.append(tail)
            return owed + tail, "text follows the arguments"
        if not is_object(self.text):
            try:
                load_json(self.text)
            except ValueError as error:
                return owed, f"the arguments are not valid JSON: {error}"
        return owed, None
