"""Tool calls that a server let through as text: Kimi's native notation, whole or damaged.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:N<|tool_call_argument_begin|>{...}<|tool_call_end|>...

Servers leak it into thinking and content when their parser is off or loses track (MoonshotAI/Kimi-K2#89,
vllm-project/vllm#33646). This module collects; `tool_calls` decides what a call is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from .arguments import ArgumentStream
from .code_spans import MarkdownCode
from .markers import ARGUMENTS_BEGIN, CALL_BEGIN, CALL_END, ELEMENT_BEGIN, SECTION_BEGIN, SECTION_END, Token

__all__ = ["UNMARKED", "UNMARKED_NATIVE", "BareCalls", "Judge", "LeakCollector", "LeakedCall"]

_LONGEST_ID: Final = 256
UNMARKED: Final = re.compile(rf"([^\s{{]{{1,{_LONGEST_ID}}})\s{{0,8}}")
"""What stands between the token that opens a call and its object, if the token between them is missing."""
UNMARKED_NATIVE: Final = re.compile(rf"([\w.\-]{{1,{_LONGEST_ID}}}:\d+)\s{{0,8}}")
"""The same, if the first token is missing, too."""
# The ids that models copy from elsewhere.
_FOREIGN_IDS: Final = ("call_", "chatcmpl-", "toolu_", "functions.")
_AN_ID: Final = re.compile(r"(?:functions\.|call_|chatcmpl-|toolu_)[^<{]*|[\w.\-]{1,128}:\d{0,9}|\d{1,9}")
_ID_ENDS: Final = "0123456789"
_HALF_TOKEN: Final = re.compile(r"<\|?\Z")
_CUT_ID: Final = re.compile(r"functions\.\w\S*\s*")
_INDENT: Final = re.compile(r"\s*")
_DECODER: Final = json.JSONDecoder(strict=False)


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
        raise NotImplementedError


class LeakCollector:
    """Takes the text and tokens of one channel while a tool section is open.

    Text that turns out not to belong to a call is given back, to be shown. So is a quotation, as it was written.
    """

    __slots__ = (
        "_error",
        "_id",
        "_judge",
        "_parts",
        "_pending",
        "_since",
        "_spaces",
        "_state",
        "_written",
        "calls",
        "shows_end",
        "waits",
    )

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
        self._since: list[str] = []  # all that was written since the first of them began
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
        """Whether calls wait for what follows them."""
        return bool(self._pending)

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
            if len(self._id) > _LONGEST_ID:
                self._id = ""  # a word without blanks, such as a quotation that has just been told
            # What stands amid calls and is no native id may be the rest of a string that was cut.
            lost = amid and UNMARKED_NATIVE.fullmatch(self._id) is None
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
            given_back += self.end([*self._written, token]) if kind == SECTION_END else ""
            self._state, self._written, self.shows_end = "outside", [], False
        return given_back

    def end(self, written: Sequence[str | Token]) -> str:
        """Take the end of a section or of thinking, and the white space before it; return text that is to be shown."""
        text = _text(written)
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
        if len(held) <= _LONGEST_ID:
            return ""
        self._parts, self._written, self._state, self.shows_end = [], [], "outside", False
        return self.after(written)

    def after(self, text: str) -> str:
        """Take text that stands outside of calls; return what is to be shown, with what waited for it."""
        if not self._pending or not text:
            return text
        if text.isspace():
            self._since.append(text)
            self._spaces.append(text)
            return ""
        self._judge.note(self._pending)
        quoted = "".join(self._since)
        self._pending, self._since, self._spaces, self.shows_end = [], [], [], self.open
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
            shown = self.after(_text(written))
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
        self._since.append(_text(written))
        if not rest:
            return ""
        self.shows_end = True
        return self.after(rest)[: -len(rest)]  # which is part of what was written


def _opens_section(token: Token) -> bool:
    return token.kind == SECTION_BEGIN or (token.kind == ELEMENT_BEGIN and token.element == "tools")


def _text(written: Iterable[str | Token]) -> str:
    return "".join(item if isinstance(item, str) else item.text for item in written)


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
    """Finds calls whose tokens were stripped: `functions.NAME:N{...}` at the start of a line, at the end of an answer.

    Servers that decode with `skip_special_tokens` write them. Only the names of declared tools count, and not in
    Markdown code, and only where nothing but calls follows, so that ordinary text is never taken for a call.

    Of calls that keep some of their tokens, the id may stand alone at the end of a piece: it is held, too.
    """

    __slots__ = (
        "_arguments",
        "_closed",
        "_code",
        "_head",
        "_held",
        "_initials",
        "_inside",
        "_judge",
        "_later",
        "_line_start",
        "_partial",
        "_prefixes",
        "_raw",
        "_since",
        "_started",
        "_word",
        "calls",
    )

    def __init__(self, names: frozenset[str], judge: Judge) -> None:
        self.calls: list[LeakedCall] = []
        self._judge = judge
        choice = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        head = rf"(?:functions\.)?(?:{choice}):\d{{1,9}}[ \t]{{0,8}}"
        self._head = re.compile(rf"{head}(?=\{{)")
        self._later = re.compile(rf"\n(?=[^\S\n]*{head}\{{)")
        self._partial = re.compile(head)
        starts = [prefix + name + ":" for name in names for prefix in ("", "functions.")]
        self._initials = frozenset(start[0] for start in starts)
        self._prefixes = frozenset(
            start[:n] for start in (*starts, *_FOREIGN_IDS) for n in range(1, len(start) + 1)
        )
        self._held = ""
        self._word = ""  # shown text's last word, which may be an id
        self._inside = False  # the text before it does not end with white space
        self._code = MarkdownCode()
        self._line_start = True
        self._arguments: ArgumentStream | None = None  # of the call that is being read
        self._started = ""  # its id, and the white space after it
        self._raw: list[str] = []  # the arguments as they came
        self._closed: list[LeakedCall] = []  # calls behind which nothing has come
        self._since: list[str] = []  # what was written since the first of them

    @property
    def in_string(self) -> bool:
        """Whether a call is being read whose arguments end in an open string."""
        return self._arguments is not None and self._arguments.in_string

    def outside_code(self) -> None:
        """Note that no code is open here, whatever the text looks like."""
        self._code.close()

    def take_held(self) -> str:
        """Return what is held: what follows shows that it is text."""
        held, self._held = self._held, ""
        self._line_start = False
        if self._arguments is not None:
            held, self._arguments = self._started + "".join(self._raw), None
        shown: list[str] = []
        self._show(held, shown)
        word, self._word, self._inside = self._word, "", False
        return word + "".join(shown)

    def finish(self, *, cut: bool) -> str:
        """Return what is held at the end. A call that breaks off stays a call if its id begins with `functions.`.

        Args:
            cut: Whether the answer was cut off, so that an id alone is a call, too.
        """
        broken = None
        if self._arguments is not None and self._started.startswith("functions."):
            broken = LeakedCall(self._started.strip(), "".join(self._raw))
            self._arguments = None
        elif cut and _CUT_ID.fullmatch(self._held):
            broken, self._held = LeakedCall(self._held.strip(), ""), ""
        rest = self.take_held()
        self.calls += self._closed if broken is None else [*self._closed, broken]
        self._closed = []
        return rest

    def feed(self, text: str) -> str:
        """Take text without tokens; return the part that is certainly text."""
        if not (
            self._line_start or self._word or self._held or self._closed or self._arguments or "\n" in text
        ):
            word = text[text.rfind(" ") + 1 :]
            if word and not (
                word in self._prefixes or word[-1] in _ID_ENDS or ":" in word or word.startswith(_FOREIGN_IDS)
            ):
                self._inside = True
                self._code.feed(text)
                return text
        shown = self._word + self._read(text)
        stripped = shown.rstrip()
        start = len(stripped) - len(stripped.rsplit(None, 1)[-1]) if stripped else 0
        if (
            (start or not self._inside)
            and len(shown) - start < _LONGEST_ID
            and self._may_be_id(stripped[start:])
        ):
            shown, self._word = shown[:start], shown[start:]
        else:
            self._word = ""
        self._inside = not shown[-1].isspace() if shown else self._inside
        return shown

    def _may_be_id(self, word: str) -> bool:
        return word in self._prefixes or _AN_ID.fullmatch(word) is not None

    def _read(self, text: str) -> str:
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
        """Show text, and before it the calls that it follows: they were quotations."""
        if self._closed and text:
            self._since.append(text)
            if text.isspace():
                return
            self._judge.note(self._closed)
            text, self._closed = "".join(self._since), []
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
        leak = LeakedCall(self._started.strip(), arguments)
        try:
            _DECODER.decode(arguments)
            is_text = self._judge.holds(leak)
        except (ValueError, RecursionError):
            is_text = True
        if is_text:
            self._show(self._started + arguments, shown)
            self._line_start = False
            return rest
        if not self._closed:
            self._since = []
        self._closed.append(leak)
        self._since.append(self._started + arguments)
        return rest
