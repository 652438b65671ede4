"""Calls in Kimi K3's notation, which a server let through as text.

    <|open|>tools<|sep|><|open|>call tool="NAME" index="1"<|sep|>
    <|open|>argument key="KEY" type="string"<|sep|>VALUE<|close|>argument<|sep|>...<|close|>call<|sep|>...<|close|>tools<|sep|>

Values are raw: until its own end, everything in a value is part of it, whatever it looks like. A call counts once its
end has come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Final, Literal

from kimi_vertex._json import load_json

from .leaked_calls import LeakCollector, LeakedCall
from .markers import (
    CALL_BEGIN,
    ELEMENT_BEGIN,
    ELEMENT_END,
    HALF,
    SECTION_BEGIN,
    TURN_END,
    Token,
    text_of,
)

__all__ = ["ElementCalls"]

_ATTRIBUTE: Final = re.compile(r'\b(\w++)="([^"]*)"')
_CUT_CALL: Final = re.compile(r"<\|open\|>\s*call\b")
_CALL_PARTS: Final = ("argument", "json")
_OUTER: Final = ("think", "response", "tools", "message")
"""What does not open inside of a section: it does if text follows, so that no text is lost."""
_LEAVING: Final = (SECTION_BEGIN, CALL_BEGIN, TURN_END)
_BEGUN: Final = ("<", "<|")


class ElementCalls:
    """Takes the text and tokens of one channel while a tools section is open.

    What is to be shown, such as a quotation, is given back.
    """

    def __init__(self, leaks: LeakCollector) -> None:
        """Begin outside of a section.

        Args:
            leaks: Judges the calls and keeps them.
        """
        self._leaks = leaks
        self._state: Literal["outside", "section", "call", "value"] = "outside"
        self._written: list[str | Token] = []  # the open call, with what led to it
        self._name = ""
        self._error: str | None = None
        self._arguments: dict[str, str] = {}  # JSON by key
        self._json: str | None = None  # all arguments, where they came as one
        self._attributes: dict[str, str] = {}  # of the open value
        self._value: list[str | Token] = []
        self._orphan = False  # the section and the call have no beginning
        self._strays: list[
            str | Token
        ] = []  # what opened inside of the section, and the white space after it
        self.begun = False
        """Whether a section has come."""

    @property
    def open(self) -> bool:
        """Whether text belongs to a tools section."""
        return self._state != "outside"

    def begin(self, token: Token) -> None:
        """Take the token that opens a section, or one that only stands in a section whose opening has been lost."""
        self._orphan = token.element in _CALL_PARTS
        self._written = [token]
        self._state, self.begun = "section", True
        self._leaks.shows_end = False
        if token.element != "tools":
            self._begin_call("" if self._orphan else _read_attributes(token).get("tool", ""))
        if self._orphan:
            self._begin_value(token)

    def take(self, item: str | Token) -> tuple[str, list[str | Token]]:
        """Take text, or a token of any kind.

        Returns:
            Text that is to be shown, and what is still to be read, because it is none of the section's.
        """
        if self._state == "value":
            self._take_in_value(item)
            return "", []
        if isinstance(item, str):
            return self._take_text(item)
        if item.kind == HALF:
            if self._state == "section" and _CUT_CALL.match(item.text):
                self._begin_call("")
            return "", []
        if item.kind == ELEMENT_BEGIN and item.element in _OUTER:
            self._strays.append(item)
            return "", []
        if item.kind in (ELEMENT_BEGIN, ELEMENT_END):
            self._written += self._strays
            self._strays = []
        if item.kind == ELEMENT_BEGIN and item.element == "call":
            shown = self._end_call(cut=True)
            self._written.append(item)
            self._begin_call(_read_attributes(item).get("tool", ""))
            return shown, []
        if item.kind == ELEMENT_BEGIN and item.element in _CALL_PARTS:
            if self._state == "section":
                self._begin_call("")
            self._written.append(item)
            self._begin_value(item)
            return "", []
        if item.kind == ELEMENT_END and item.element == "call":
            self._written.append(item)
            shown = self._end_call(cut=False)
            if self._orphan:
                self._state = "outside"
            return shown, []
        if item.kind == ELEMENT_END and item.element == "tools":
            shown = self._end_call(cut=True)
            written, self._written, self._state = self._written, [], "outside"
            return shown + self._leaks.close_section([*written, item]), []
        if item.kind in _LEAVING or item.element == "message":
            return self._leave(item)
        return "", []  # an end of what was over before

    def _leave(self, item: str | Token) -> tuple[str, list[str | Token]]:
        """End the section at an item that is none of it."""
        shown = self._end_call(cut=True)
        strays, self._strays = self._strays, []
        self._state, self._written = "outside", []
        return shown, [*strays, item]

    def flush(self) -> str:
        """Close what is open at the channel's end; return text that belonged to no call."""
        if self._state == "value":
            self._cut_value()
        shown = self._end_call(cut=True)
        self._state, self._written, self._strays = "outside", [], []
        return shown

    def _take_text(self, text: str) -> tuple[str, list[str | Token]]:
        if text.isspace() or text.strip() in _BEGUN:
            (self._strays or self._written).append(text)
        elif self._strays:
            return self._leave(text)
        elif self._state == "call":
            self._written.append(text)
            self._error = self._error or "text stands between the arguments"
        else:
            while self._written and isinstance(before := self._written[-1], str):
                text = before + text
                self._written.pop()
            words = text.rstrip()
            self._written = [text[len(words) :]]
            return self._leaks.after(words), []
        return "", []

    def _begin_call(self, name: str) -> None:
        self._state, self._name, self._arguments, self._json = "call", name, {}, None
        self._error = None if name else "the call names no tool"

    def _begin_value(self, token: Token) -> None:
        self._state, self._value = "value", []
        self._attributes = {"": token.element, **_read_attributes(token)}

    def _take_in_value(self, item: str | Token) -> None:
        self._written.append(item)
        if isinstance(item, str) or item.kind != ELEMENT_END or item.element != self._attributes[""]:
            self._value.append(item)
            return
        self._end_value(text_of(self._value))

    def _end_value(self, value: str, *, cut: bool = False) -> None:
        self._state = "call"
        if self._attributes[""] == "json":
            self._json = value
            return
        key, kind = self._attributes.get("key", ""), self._attributes.get("type", "string")
        if not key:
            self._error = self._error or "an argument has no name"
        if cut:
            self._arguments[key] = _string(value)[:-1] if kind == "string" else value
        else:
            self._arguments[key] = _as_json(value, kind)

    def _cut_value(self) -> None:
        """Take what there is of a value without an end, up to what may be the end of its section or turn."""
        parts = takewhile(lambda part: isinstance(part, str) or not _ends_section(part), self._value)
        self._end_value(
            text_of(part for part in parts if isinstance(part, str) or part.kind != HALF), cut=True
        )

    def _end_call(self, *, cut: bool) -> str:
        """Judge the open call; return text that is to be shown."""
        if self._state != "call":
            return ""
        self._state = "section"
        written, self._written = self._written, []
        members = ", ".join(f"{_string(key)}: {value}" for key, value in self._arguments.items())
        arguments = self._json if self._json is not None else f"{{{members}}}"
        if cut and self._json is None:
            arguments = arguments[:-1] if members else ""
        error = "the call breaks off" if cut else self._error
        return self._leaks.judge(LeakedCall(self._name, arguments, named=True, error=error), written)


def _ends_section(token: Token) -> bool:
    return token.kind == TURN_END or (token.kind == ELEMENT_END and token.element in ("tools", "message"))


def _read_attributes(token: Token) -> dict[str, str]:
    found: Sequence[tuple[str, str]] = _ATTRIBUTE.findall(token.attributes)
    return {key: value.replace("&quot;", '"').replace("&amp;", "&") for key, value in found}


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _as_json(value: str, kind: str) -> str:
    """A value as JSON: a string is raw, anything else is JSON already, letter by letter; what is not is a string."""
    if kind != "string":
        with suppress(ValueError):
            load_json(value)
            return value.strip()
    return _string(value)
