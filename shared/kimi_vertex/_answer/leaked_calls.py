"""Tool calls that a server let through as text: Kimi's native notation, whole or damaged.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:N<|tool_call_argument_begin|>{...}<|tool_call_end|>...

Servers leak it into thinking and content when their parser is off or loses track (MoonshotAI/Kimi-K2#89,
vllm-project/vllm#33646). This module collects; `tool_calls` decides what a call is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from kimi_vertex._json import LENIENT

from .markers import (
    ARGUMENTS_BEGIN,
    CALL_BEGIN,
    CALL_END,
    ELEMENT_BEGIN,
    SECTION_BEGIN,
    SECTION_END,
    Token,
    text_of,
)

__all__ = ["LONGEST_ID", "UNMARKED", "UNMARKED_NATIVE", "Judge", "LeakCollector", "LeakedCall"]

LONGEST_ID: Final = 256
UNMARKED: Final = re.compile(rf"([^\s{{]{{1,{LONGEST_ID}}})\s{{0,8}}")
"""What stands between the token that opens a call and its object, if the token between them is missing."""
UNMARKED_NATIVE: Final = re.compile(rf"([\w.\-]{{1,{LONGEST_ID}}}:\d+)\s{{0,8}}")
"""The same, if the first token is missing, too."""
_WORD: Final = re.compile(r"\w++(?:[.\-]++\w++)*+(?::\d+)?")
_HALF_TOKEN: Final = re.compile(r"<\|?\Z")


@dataclass(frozen=True, slots=True)
class LeakedCall:
    """A call that was found in text and has not been checked."""

    id: str
    """The text in the id's place: `functions.NAME:N`, or whatever the model wrote there."""
    arguments: str
    named: bool = False
    """Whether `id` is the tool's name, because the notation has no ids."""
    error: str | None = None
    """Why it cannot be executed."""


class Judge(Protocol):
    """Says what a text that looks like a call is."""

    @property
    def recovers(self) -> bool:
        """Whether such a text can be a call at all."""
        raise NotImplementedError

    def holds(self, leak: LeakedCall) -> bool:
        """Whether the request holds the same call as text. It is noted as a quotation then."""
        raise NotImplementedError

    def note(self, leaks: Iterable[LeakedCall]) -> None:
        """Note that these are quotations."""


class LeakCollector:
    """Takes the text and tokens of one channel while a tool section is open.

    Text that turns out not to belong to a call is given back, to be shown. So is a quotation, as it was written.
    """

    def __init__(self, judge: Judge) -> None:
        self.calls: list[LeakedCall] = []
        self.waits = False
        """Whether a call counts only if nothing but calls follows it: a model that thinks on has only mentioned it."""
        self.shows_end = False
        """Whether the open section began with a quotation, so that its end is part of one."""
        self._judge = judge
        self._state: Literal["outside", "section", "id", "arguments"] = "outside"
        self._id = ""
        self._error: str | None = None  # of the open call
        self._parts: list[str] = []
        self._written: list[str | Token] = []  # the open call, with what led to it
        self._pending: list[LeakedCall] = []  # calls that wait for what follows
        self._since: list[str] = []  # all that was written since the first of them began, or a tag before it
        self._spaces: list[str] = []  # the white space in it that is shown if they are calls

    @property
    def open(self) -> bool:
        """Whether text belongs to a tool section."""
        return self._state != "outside"

    @property
    def in_arguments(self) -> bool:
        """Whether text belongs to a call's arguments."""
        return self._state == "arguments"

    @property
    def pending(self) -> bool:
        """Whether something waits for what follows it."""
        return bool(self._since)

    def token(self, token: Token, before: str = "") -> str:
        """Take a token.

        Args:
            token: Any token but an opening or closing think tag.
            before: The held text right before the token: the call's id, if the token that opens a call is missing.

        Returns:
            Text that is to be shown.
        """
        kind = token.kind
        if kind == ARGUMENTS_BEGIN:
            # What stands before it is the id, even if the call's first token or the previous call's last is missing.
            named, amid = self._state == "id", self._state in ("arguments", "section")
            written = before + ("".join(self._parts) if named else self._end_call())
            stripped = written.rstrip()
            self._id = stripped.rsplit(None, 1)[-1] if stripped else ""
            if len(self._id) > LONGEST_ID:
                self._id = ""  # a word without blanks, such as a quotation that has just been told
            # What is no id may be the rest of a string that was cut. Amid calls, so may any word that is no native id.
            lost = not named and (UNMARKED_NATIVE if amid else _WORD).fullmatch(self._id) is None
            self._error = "the call names no tool" if lost else None
            start = len(stripped) - len(self._id)
            given_back = written[:start] if stripped[:start].strip() else ""
            if given_back or not named:
                self._written = [written[start:]]
            self._written.append(token)
            self._parts, self._state = [], "arguments"
            return self.after(given_back)
        given_back = self.after(before) + self._end_call(token if kind == CALL_END else None)
        if kind == CALL_BEGIN:
            self._state = "id"
            self._written.append(token)
        elif kind == SECTION_BEGIN:
            self._state, self.shows_end = "section", False
            self._written = [token]
        elif kind == CALL_END and self.open:
            self._state = "section"
        else:
            given_back += self.close_section([*self._written, token]) if kind == SECTION_END else ""
            self._state, self._written, self.shows_end = "outside", [], False
        return given_back

    def hold(self, tag: str) -> None:
        """Take a tag that is text only if text follows it."""
        self._since.append(tag)

    def close_section(self, written: Sequence[str | Token]) -> str:
        """Take the end of a section, and the white space before it; return text that is to be shown."""
        text = text_of(written)
        if self._pending:
            self._since.append(text)
        return text if self.shows_end and not self._pending else ""

    def text(self, text: str) -> str:
        """Take text while `open`; return text that is to be shown."""
        self._parts.append(text)
        self._written.append(text)
        if self._state == "arguments" or text.isspace():
            return ""
        written = "".join(self._parts)
        held = written.lstrip()
        match = (UNMARKED if self._state == "id" else UNMARKED_NATIVE).match(held)
        if match is not None and held.startswith("{", match.end()):
            # The token between id and arguments is missing.
            self._id, self._parts, self._state = match.group(1), [held[match.end() :]], "arguments"
            self._error = None
            return ""
        self._parts = [written]
        if len(held) <= LONGEST_ID:
            return ""
        self._parts, self._written, self._state, self.shows_end = [], [], "outside", False
        return self.after(written)

    def after(self, text: str) -> str:
        """Take text that stands outside of calls; return what is to be shown, with what waited for it."""
        if not self._since or not text:
            return text
        if text.isspace():
            self._since.append(text)
            self._spaces += [text] if self._pending else []
            return ""
        self._judge.note(self._pending)
        quoted, self.shows_end = "".join(self._since), self.open and bool(self._pending)
        self._pending, self._since, self._spaces = [], [], []
        return quoted + text

    def settle(self) -> str:
        """Note that nothing follows but what the open section holds; return that, and the white space that waited."""
        held = self._end_call() if self._state == "section" else ""
        self.calls += self._pending
        spaces = "".join(self._spaces)
        self._pending, self._since, self._spaces = [], [], []
        return held + spaces

    def flush(self) -> str:
        """Close what is open at the channel's end; return text that belonged to no call."""
        rest = self._end_call()
        self._state, self._written = "outside", []
        return rest + self.settle()

    def _end_call(self, end: Token | None = None) -> str:
        """Judge the open call; return text that is to be shown."""
        text, self._parts = "".join(self._parts), []
        if self._state != "arguments":
            text = _HALF_TOKEN.sub("", text)
        stripped, rest = text.strip(), ""
        if self._state == "arguments":
            arguments, rest = _split_object(text)
            rest = "" if rest.strip() in ("<", "<|") else rest
            leak = LeakedCall(self._id, arguments, error=self._error)
        elif self._state == "id" and len(stripped.split()) == 1:
            leak = LeakedCall(stripped, "")
        else:
            if stripped:
                self._written = []
            return self.after(text) if stripped else ""
        written, self._written = [*self._written, *([] if end is None else [end])], []
        return self.judge(leak, written, rest)

    def judge(self, leak: LeakedCall, written: Sequence[str | Token], rest: str = "") -> str:
        """Keep a call, unless it is a quotation; return text that is to be shown.

        Args:
            leak: The call.
            written: Everything that it was made of.
            rest: The text at the end of it that is none of the call's.
        """
        if self._judge.holds(leak):
            shown = self.after(text_of(written))
            self.shows_end = self.shows_end or any(
                not isinstance(item, str) and _opens_section(item) for item in written
            )
            return shown
        if not self._judge.recovers:
            self._judge.note([leak])
            return "".join(item for item in written if isinstance(item, str))
        if not self.waits:
            self.calls.append(leak)
            return rest
        self._pending.append(leak)
        self._since.append(text_of(written))
        if not rest:
            return ""
        self.shows_end = True
        return self.after(rest)[: -len(rest)]  # which is part of what was written


def _opens_section(token: Token) -> bool:
    return token.kind == SECTION_BEGIN or (token.kind == ELEMENT_BEGIN and token.element == "tools")


def _split_object(text: str) -> tuple[str, str]:
    """Separate a JSON object from the text behind it, where the end marker is missing."""
    start = len(text) - len(text.lstrip())
    if not text.startswith("{", start):
        return text.strip(), ""
    try:
        _, end = LENIENT.raw_decode(text, start)
    except (ValueError, RecursionError):
        return text.strip(), ""
    rest = text[end:]
    if rest.lstrip().startswith("{"):
        return text.strip(), ""  # two objects are not two calls
    return text[start:end], rest if rest.strip() else ""
