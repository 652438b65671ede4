"""The arguments of one tool call: pieces of any shape in, the text of one JSON object out.

Repairs what leaves no doubt (control characters, double encoding, a code fence, null for none); everything
else stays as it came and is reported.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal

__all__ = ["ArgumentStream", "normalise_arguments"]

_STRUCTURE: Final = re.compile(r'\\.|\\\Z|["{}\[\]\x00-\x1f]', re.DOTALL)
_FENCE: Final = re.compile(r"```(?:json)?\s*(.*?)\s*(?:```\s*)?", re.DOTALL)
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def normalise_arguments(text: str) -> str | None:
    """Turn a call's whole arguments into the text of one JSON object.

    Args:
        text: JSON text of an object; the same encoded a second time as a string, in a Markdown code fence, with
            raw control characters; or nothing or `null` for no arguments.

    Returns:
        The object's JSON text, the given text itself where that is valid already; `None` if it is no object.
    """
    stripped = text.strip()
    fenced = _FENCE.fullmatch(stripped) if stripped.startswith("```") else None
    if fenced:
        stripped = fenced.group(1)
    if stripped in ("", "null"):
        return "{}"
    try:
        value = json.loads(stripped, strict=False)
        if isinstance(value, str):
            value = json.loads(value, strict=False)
            stripped = ""
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return json.dumps(value, ensure_ascii=False)
    return stripped


class ArgumentStream:
    """Passes on the pieces of one call's arguments while they look like a plain JSON object.

    Anything else is held until the end, so that what was passed on always joins to what `finish` judged.
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "_mode", "_parts", "raw")

    def __init__(self) -> None:
        self._mode: Literal["start", "object", "complete", "whole"] = "start"
        self._parts: list[str] = []  # passed on already, or held in the modes `start` and `whole`
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.raw = False
        """True once anything but white space has come."""

    @property
    def complete(self) -> bool:
        """True when an object has been closed, so that a new `{` begins another call."""
        return self._mode == "complete"

    def feed(self, piece: Any) -> str:
        """Take the next piece, text or already decoded JSON; return what may be passed on."""
        if piece is None:
            return ""
        text = piece if isinstance(piece, str) else json.dumps(piece, ensure_ascii=False)
        if self._mode == "object":
            return self._object(text)
        if self._mode == "start":
            text = text.lstrip()
            if not text:
                return ""
            self.raw = True
            self._mode = "object" if text.startswith("{") else "whole"
            if self._mode == "object":
                return self._object(text)
        if self._mode == "complete":
            text = _significant(text)
            if text:
                self._parts.append(text)
            return text
        self._parts.append(text)
        return ""

    def _object(self, text: str) -> str:
        out: list[str] = []
        start = 0
        position = 1 if self._escaped and text else 0
        self._escaped = self._escaped and not text
        for match in _STRUCTURE.finditer(text, position):
            char, index = match.group(), match.start()
            if char[0] == "\\":
                self._escaped = len(char) == 1
            elif char == '"':
                self._in_string = not self._in_string
            elif self._in_string:
                if char < " ":
                    out += (text[start:index], _ESCAPES.get(char, f"\\u{ord(char):04x}"))
                    start = index + 1
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self._mode = "complete"
                    text = text[: index + 1] + _significant(text[index + 1 :])
                    break
        out.append(text[start:])
        passed = "".join(out)
        self._parts.append(passed)
        return passed

    @property
    def text(self) -> str:
        """All that has come, as far as it counts."""
        return "".join(self._parts)

    @property
    def passed(self) -> str:
        """What has been passed on so far."""
        return self.text if self._mode in ("object", "complete") else ""

    def finish(self) -> tuple[str, str | None]:
        """The call is over.

        Returns:
            Text still to be passed on, and what is wrong with the arguments, or `None`.
        """
        text = self.text
        if self._mode in ("start", "whole"):
            normal = normalise_arguments(text)
            if normal is None:
                return text, "the arguments are not a JSON object"
            self._parts = [normal]
            return normal, None
        if self._mode == "object":
            return "", "the arguments break off"
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            return "", f"the arguments are not valid JSON: {error}"
        return "", None


def _significant(text: str) -> str:
    """What follows a complete object: nothing, if it is white space or the end of a code fence."""
    return text if text.strip().strip("`") else ""
