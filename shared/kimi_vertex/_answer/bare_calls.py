"""Calls whose tokens a server stripped: it decodes with `skip_special_tokens`, and `NAME:N{...}` is left."""

from __future__ import annotations

import re
from typing import Final

from kimi_vertex._json import LENIENT

from .arguments import ArgumentStream
from .code_spans import MarkdownCode
from .leaked_calls import LONGEST_ID, Judge, LeakedCall

__all__ = ["BareCalls"]

# The ids that models copy from elsewhere.
_FOREIGN_IDS: Final = ("call_", "chatcmpl-", "toolu_", "functions.")
_AN_ID: Final = re.compile(r"(?:functions\.|call_|chatcmpl-|toolu_)[^<{]*|[\w.\-]{1,128}:\d{0,9}|\d{1,9}")
_ID_ENDS: Final = "0123456789"
_CUT_ID: Final = re.compile(r"functions\.\w\S*\s*")
_INDENT: Final = re.compile(r"\s*")


class BareCalls:
    """Finds calls whose tokens were stripped: `functions.NAME:N{...}` at the start of a line, at the end of an answer.

    Only the names of declared tools count, and not in Markdown code, and only where nothing but calls follows, so that
    ordinary text is never taken for a call.

    Of calls that keep some of their tokens, the id may stand alone at the end of a piece: it is held, too.
    """

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
        self._torn = False  # a token in them is not shown
        self._closed: list[LeakedCall] = []  # calls behind which nothing has come
        self._since: list[str] = []  # what was written since the first of them

    @property
    def in_string(self) -> bool:
        """Whether a call is being read whose arguments end in an open string."""
        return self._arguments is not None and self._arguments.in_string

    def take_token(self, text: str) -> None:
        """Take a token in the open string, of which it is a part: the call is not executed without it."""
        assert self._arguments is not None
        self._arguments.take(text)
        self._torn = True

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
            and len(shown) - start < LONGEST_ID
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
                self._torn = False
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
        if len(text) - position > LONGEST_ID:
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
            LENIENT.decode(arguments)
            is_text = self._torn or self._judge.holds(leak)
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
