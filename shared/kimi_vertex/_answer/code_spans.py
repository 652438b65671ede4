"""Follows where Markdown code begins and ends, in text that comes in pieces.

Spans, which a line's end breaks, and fenced blocks, which end with a line of their own.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MarkdownCode", "settled_length"]

_LONGEST_RUN: Final = 64
_RUN: Final = re.compile(f"`{{1,{_LONGEST_RUN}}}")
# A branch that begins with a plain character lets `re` skip to the first characters that count.
_RUN_OR_LINE: Final = re.compile(f"``{{0,{_LONGEST_RUN - 1}}}|\n")
_FENCE_END: Final = re.compile(r"[ \t>]*(`+)[ \t\r]*")
_LINE_LIMIT: Final = 100
_MOST_UNREAD: Final = 1_000


def settled_length(text: str) -> int:
    """How much of the text does not depend on what follows: a run of backticks at its end may become longer."""
    if text[-1:] != "`":
        return len(text)
    run = len(text) - len(text.rstrip("`"))
    return len(text) - run % _LONGEST_RUN


class MarkdownCode:
    """The code that is open at the end of a text.

    Text is only looked at when somebody asks: few answers hold anything whose meaning depends on it.
    """

    __slots__ = ("_barren", "_length", "_line", "_opening", "_unread", "literal")

    def __init__(self) -> None:
        self._unread: list[str] = []
        self._length = 0  # of the run of backticks that opened the code we are in; 0 outside of code
        self._opening = False  # the line on which the code began has not ended
        self._line = (
            ""  # in a fenced block: the beginning of the current line, to see whether it ends the block
        )
        # How far in the text given to `leave` no block ends that was opened by so long a run, or a longer one:
        # many blocks that never end would else be searched to the same place each.
        self._barren: dict[int, int] = {}
        self.literal = False
        """After `leave`: whether what ended was code; a span that its line does not close is none."""

    def feed(self, text: str) -> None:
        """Take the next piece of text."""
        unread = self._unread
        unread.append(text)
        if len(unread) > _MOST_UNREAD:
            joined = "".join(unread)
            end = settled_length(joined)
            self._read(joined[:end])
            self._unread = [joined[end:]]

    def is_open(self) -> bool:
        """Whether the text so far ends inside code, if something follows that is no text."""
        if self._unread:
            text, self._unread = "".join(self._unread), []
            self._read(text)
        return self._length > 0 and not self.ends()

    def ends(self) -> bool:
        """Whether the text so far ends with the end of a fenced block, if no more is on that line."""
        if self._opening or not self._length or not self._closes(self._line):
            return False
        self._length = 0
        return True

    def close(self) -> None:
        """What may be open is no code."""
        self._unread.clear()
        self._length = 0

    def give_up(self, end: int) -> None:
        """What is open, and has been searched for its end as far as `end`, is no code."""
        self._barren[self._length] = end
        self._length = 0

    def move_on(self, length: int) -> None:
        """The text that is given to `leave` will no longer have its first `length` characters."""
        if self._barren:
            self._barren = {run: to - length for run, to in self._barren.items() if to > length}

    def _read(self, text: str) -> None:
        position = 0
        while position >= 0:
            if not self._length:
                start = text.find("`", position)
                run = _RUN.match(text, start) if start >= 0 else None
                if run is None:
                    return
                position = run.end()
                self._length, self._opening, self._line = position - start, True, ""
            position = self._leave(text, position, len(text), 0)

    def leave(self, text: str, start: int, end: int) -> int:
        """Read `text` from `start`, where code is open, to the end of that code; return where it is, or -1."""
        barren = max((to for run, to in self._barren.items() if run <= self._length), default=0)
        return self._leave(text, start, end, barren)

    def _leave(self, text: str, position: int, end: int, barren: int) -> int:
        while self._opening:
            match = _RUN_OR_LINE.search(text, position, end)
            if match is None:
                return -1
            position = match.end()
            if text[position - 1] == "\n":
                self._opening = False
                if self._length < 3:
                    self._length, self.literal = 0, False
                    return position
            elif position - match.start() == self._length:
                self._length, self.literal = 0, True
                return position
        line = text.rfind("\n", position, barren) + 1
        if line:
            position, self._line = line, ""
        return self._leave_block(text, position, end)

    def _leave_block(self, text: str, position: int, end: int) -> int:
        fence = "`" * self._length
        while True:
            if not self._line:
                found = text.find(fence, position, end)
                position = max(position, text.rfind("\n", position, end if found < 0 else found) + 1)
            newline = text.find("\n", position, end)
            line = self._line + text[position : min(end if newline < 0 else newline, position + _LINE_LIMIT)]
            self._line = line[:_LINE_LIMIT]
            if newline < 0:
                return -1
            position = newline + 1
            closes, self._line = self._closes(self._line), ""
            if closes:
                self._length, self.literal = 0, True
                return position

    def _closes(self, line: str) -> bool:
        match = _FENCE_END.fullmatch(line)
        return match is not None and len(match.group(1)) >= self._length
