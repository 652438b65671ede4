"""Tool calls that a server let through as text: Kimi's native notation, whole or damaged.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:N<|tool_call_argument_begin|>{...}<|tool_call_end|>...

Servers leak it into thinking and content when their parser is off or loses track (MoonshotAI/Kimi-K2#89,
vllm-project/vllm#33646). This module collects; `tool_calls` decides what a call is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, Literal

from .arguments import ArgumentStream
from .code_spans import MarkdownCode
from .markers import ARGUMENTS_BEGIN, CALL_BEGIN, CALL_END, SECTION_BEGIN, Token

__all__ = ["BareCalls", "LeakCollector", "LeakedCall"]

_LONGEST_ID: Final = 256
_UNMARKED: Final = re.compile(rf"([^\s{{]{{1,{_LONGEST_ID}}})\s{{0,8}}(?={{)")
_UNMARKED_NATIVE: Final = re.compile(rf"([^\s{{]{{1,{_LONGEST_ID}}}:\d+)\s{{0,8}}(?={{)")
_INDENT: Final = re.compile(r"\s*")
_DECODER: Final = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class LeakedCall:
    """A call that was found in text and has not been checked."""

    id: str
    """The text in the id's place: `functions.NAME:N`, or whatever the model wrote there."""
    arguments: str


class LeakCollector:
    """Takes the text and tokens of one channel while a tool section is open.

    Text that turns out not to belong to a call is given back, to be shown.
    """

    __slots__ = ("_id", "_parts", "_state", "calls")

    def __init__(self) -> None:
        self.calls: list[LeakedCall] = []
        self._state: Literal["outside", "section", "id", "arguments"] = "outside"
        self._id = ""
        self._parts: list[str] = []

    @property
    def open(self) -> bool:
        """Whether text belongs to a tool section."""
        return self._state != "outside"

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
            written = before + ("".join(self._parts) if self._state == "id" else self._end_call())
            given_back, _, self._id = written.rstrip().rpartition(" ")
            self._parts, self._state = [], "arguments"
            return given_back if given_back.strip() else ""
        given_back = before + self._end_call()
        if kind == CALL_BEGIN:
            self._state = "id"
        elif kind == SECTION_BEGIN or (kind == CALL_END and self._state != "outside"):
            self._state = "section"
        else:
            self._state = "outside"
        return given_back

    def text(self, text: str) -> str:
        """Take text while `open`; return text that is to be shown."""
        self._parts.append(text)
        if self._state == "arguments":
            return ""
        held = "".join(self._parts).lstrip()
        match = (_UNMARKED if self._state == "id" else _UNMARKED_NATIVE).match(held)
        if match is not None:
            # The token between id and arguments is missing.
            self._id, self._parts, self._state = match.group(1), [held[match.end() :]], "arguments"
            return ""
        self._parts = [held]
        if len(held) <= _LONGEST_ID:
            return ""
        self._parts, self._state = [], "outside"
        return held

    def flush(self) -> str:
        """Close what is open at the channel's end; return text that belonged to no call."""
        rest = self._end_call()
        self._state = "outside"
        return rest

    def _end_call(self) -> str:
        text, self._parts = "".join(self._parts), []
        if self._state == "arguments":
            arguments, rest = _split_object(text)
            self.calls.append(LeakedCall(self._id, arguments))
            return rest
        stripped = text.strip()
        if self._state == "id" and stripped and not re.search(r"\s", stripped):
            self.calls.append(LeakedCall(stripped, ""))
            return ""
        return text if stripped else ""


def _split_object(text: str) -> tuple[str, str]:
    """Separate a JSON object from the text behind it, where the end marker is missing."""
    start = len(text) - len(text.lstrip())
    if not text.startswith("{", start):
        return text.strip(), ""
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return text.strip(), ""
    rest = text[end:]
    if rest.lstrip().startswith("{"):
        return text.strip(), ""  # two objects are not two calls
    return text[start:end], rest if rest.strip() else ""


class BareCalls:
    """Finds calls whose tokens were stripped: `functions.NAME:N{...}` at the start of a line.

    Servers that decode with `skip_special_tokens` write them. Only the names of declared tools count, and not in
    Markdown code, so that ordinary text is never taken for a call.
    """

    __slots__ = (
        "_arguments",
        "_code",
        "_head",
        "_held",
        "_initials",
        "_later",
        "_line_start",
        "_partial",
        "_prefixes",
        "_raw",
        "_started",
        "_trim",
        "calls",
    )

    def __init__(self, names: frozenset[str]) -> None:
        self.calls: list[LeakedCall] = []
        choice = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        head = rf"(?:functions\.)?(?:{choice}):\d{{1,9}}[ \t]{{0,8}}"
        self._head = re.compile(rf"{head}(?=\{{)")
        self._later = re.compile(rf"\n(?=[^\S\n]*{head}\{{)")
        self._partial = re.compile(head)
        starts = [prefix + name + ":" for name in names for prefix in ("", "functions.")]
        self._initials = frozenset(start[0] for start in starts)
        self._prefixes = frozenset(start[:n] for start in starts for n in range(1, len(start) + 1))
        self._held = ""
        self._code = MarkdownCode()
        self._line_start = True
        self._arguments: ArgumentStream | None = None  # of the call that is being read
        self._started = ""  # its id, and the white space after it
        self._raw: list[str] = []  # the arguments as they came
        self._trim = False  # white space after a call belongs to it

    def outside_code(self) -> None:
        """Note that no code is open here, whatever the text looks like."""
        self._code.close()

    def take_held(self) -> str:
        """Return what is held: what follows shows that it is text."""
        held, self._held = self._held, ""
        self._line_start = self._trim = False
        if self._arguments is not None:
            held, self._arguments = self._started + "".join(self._raw), None
        self._code.feed(held)
        return held

    def finish(self) -> str:
        """Return what is held at the end. A call that breaks off stays a call if its id begins with `functions.`."""
        if self._arguments is not None and self._started.startswith("functions."):
            self.calls.append(LeakedCall(self._started.strip(), "".join(self._raw)))
            self._arguments = None
        return self.take_held()

    def feed(self, text: str) -> str:
        """Take text without tokens; return the part that is certainly text."""
        if not (self._line_start or self._held or self._arguments is not None or "\n" in text):
            self._code.feed(text)
            return text
        text, self._held = self._held + text, ""
        shown: list[str] = []
        position = start = 0
        while position < len(text):
            if self._arguments is not None:
                text, position, start = self._read_call(text, position, shown), 0, 0
                continue
            if not self._line_start:
                position = self._next_line(text, position)
                continue
            indent = _INDENT.match(text, position)
            position = indent.end() if indent else position
            start = position if self._trim else start
            self._trim = self._trim and position == len(text)
            if position == len(text):
                break
            begins = text[position] in self._initials
            match = self._head.match(text, position) if begins else None
            if match is None and not (begins and self._undecided(text, position)):
                self._line_start = False
                continue
            self._show(text[start:position], shown)
            start = position
            if self._code.is_open():
                self._line_start = False
            elif match is None:
                self._held = text[position:]
                return "".join(shown)
            else:
                self._started, self._raw, self._arguments = match.group(), [], ArgumentStream()
                position = match.end()
        self._show(text[start:], shown)
        return "".join(shown)

    def _show(self, text: str, shown: list[str]) -> None:
        self._code.feed(text)
        shown.append(text)

    def _next_line(self, text: str, position: int) -> int:
        """Where the next line begins that may be a call: the last line, unless there is a call before it."""
        newline = text.rfind("\n", position)
        if newline > text.find("\n", position):
            match = self._later.search(text, position)
            newline = newline if match is None else match.start()
        self._line_start = newline >= 0
        return newline + 1 if newline >= 0 else len(text)

    def _undecided(self, text: str, position: int) -> bool:
        if len(text) - position > _LONGEST_ID:
            return False
        rest = text[position:]
        return rest in self._prefixes or self._partial.fullmatch(rest) is not None

    def _read_call(self, text: str, position: int, shown: list[str]) -> str:
        """Read on in the arguments of a call; return the text after it."""
        assert self._arguments is not None
        piece = text[position:]
        _, rest = self._arguments.take(piece)
        self._raw.append(piece[: len(piece) - len(rest)])
        if not self._arguments.complete:
            return ""
        arguments, self._arguments = "".join(self._raw), None
        try:
            _DECODER.decode(arguments)
        except (ValueError, RecursionError):
            self._show(self._started + arguments, shown)
            self._line_start = False
        else:
            self.calls.append(LeakedCall(self._started.strip(), arguments))
            self._trim = True
        return rest
