"""Finds Kimi's special tokens in streamed text, whole or cut at any point.

Works on characters alone: what a token means is decided by `_thinking`. Tokens inside Markdown code are text
that somebody asked for, and stay text.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Code", "Scanner", "Token", "join_surrogates", "may_matter", "without_surrogates"]

SECTION_BEGIN: Final = "<|tool_calls_section_begin|>"
SECTION_END: Final = "<|tool_calls_section_end|>"
CALL_BEGIN: Final = "<|tool_call_begin|>"
ARGUMENTS_BEGIN: Final = "<|tool_call_argument_begin|>"
CALL_END: Final = "<|tool_call_end|>"
THINK_BEGIN: Final = "<think>"
THINK_END: Final = "</think>"
HALF: Final = "<|"
"""A token that was cut, by the end of the answer or by another token."""
HALF_TAG: Final = "<think"
"""A think tag that was cut."""

# Spellings seen in the wild, by what they mean. The singular section tokens: ggml-org/llama.cpp#17376; the
# triangles: SGLang's documentation of Kimi's delimiters. Kimi's template writes the name of a role between two
# tokens, which makes it part of them.
_MEANING: Final[dict[str, str]] = {
    SECTION_BEGIN: SECTION_BEGIN,
    "<|tool_call_section_begin|>": SECTION_BEGIN,
    SECTION_END: SECTION_END,
    "<|tool_call_section_end|>": SECTION_END,
    CALL_BEGIN: CALL_BEGIN,
    ARGUMENTS_BEGIN: ARGUMENTS_BEGIN,
    CALL_END: CALL_END,
    THINK_BEGIN: THINK_BEGIN,
    THINK_END: THINK_END,
    "◁think▷": THINK_BEGIN,
    "◁/think▷": THINK_END,
    "<|im_end|>": "",
    "<|im_user|>user<|im_middle|>": "",
    "<|im_user|>": "",
    "<|im_assistant|>assistant<|im_middle|>": "",
    "<|im_assistant|>": "",
    "<|im_system|>system<|im_middle|>": "",
    "<|im_system|>tool<|im_middle|>": "",
    "<|im_system|>": "",
    "<|im_middle|>": "",
}
_PREFIXES: Final = frozenset(text[:n] for text in _MEANING for n in range(1, len(text)))
_LONGEST: Final = max(map(len, _MEANING))
_LONGEST_RUN: Final = 64
_ANY: Final = "|".join(re.escape(text) for text in _MEANING)
_TOKEN: Final = re.compile(_ANY)
# A branch that begins with a plain character lets `re` skip to the first characters that count.
_RUN: Final = f"``{{0,{_LONGEST_RUN - 1}}}"
_OUTSIDE: Final = re.compile(f"{_ANY}|{_RUN}")
_INSIDE: Final = re.compile(f"{_ANY}|{_RUN}|\n")
_HALF_TOKEN: Final = re.compile(r"<\|[a-z]")
_HALF_TAG: Final = re.compile("<thin|</thi|◁[t/]")
_LONGEST_CHAIN: Final = 8
_OPENER: Final = re.compile("[<◁]")
_FENCE_END: Final = re.compile(r"[ \t>]*(`+)[ \t\r]*")
# Code that stays open this long after a token in it was not meant to be code; bounds what is held.
_CODE_LIMIT: Final = 16_384
_LINE_LIMIT: Final = 100
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HIGH: Final = re.compile("[\ud800-\udbff]\\Z")

may_matter: Final = re.compile("[<`◁\ud800-\udfff]").search
"""Whether a piece of text needs a closer look; most do not."""


@dataclass(frozen=True, slots=True)
class Token:
    """A special token in the text."""

    kind: str
    """The canonical spelling of what it means; empty for tokens that only need to be hidden."""
    text: str
    """As it was written."""


class Code(str):
    """Plain text inside Markdown code."""

    __slots__ = ()


class Scanner:
    """Splits one channel's text into plain pieces, code and tokens.

    What `feed` returns, joined, is what was fed in. An undecided end is held back, and so is everything from a
    token in open code on, until the code's end, or its absence, says whether the token was meant literally.
    """

    __slots__ = ("_code", "_held", "_line", "_opening", "_parked", "_parked_length", "markdown")

    def __init__(self) -> None:
        self._held = ""
        self._code = 0  # length of the run of backticks that opened the code we are in; 0 outside of code
        self._opening = False  # the line on which the code began has not ended
        self._line = ""  # in a fenced block: the current line, to see whether it ends the block
        self._parked: list[str | Token] = []
        self._parked_length = 0
        self.markdown = True
        """To be set to `False`, between two items, while a tool section is open: backticks mean nothing there."""

    @property
    def idle(self) -> bool:
        """True if plain text may pass by without being looked at: nothing is held, no code is open."""
        return not (self._held or self._code)

    def feed(self, text: str, *, last: bool = False) -> Iterator[str | Token]:
        """Yield what can be decided by now; with `last`, all that is left."""
        text, self._held = self._held + text, ""
        for piece in self._pieces(text, last=last):
            if not (self._code or self._parked) and (isinstance(piece, Token) or piece[0] != "`"):
                yield piece
            else:
                yield from self._settle([piece])
        while last and self._parked:
            if self._fence_ends():
                self._code = 0
                yield self._unpark_code()
            else:
                yield from self._settle(self._unpark())

    def _pieces(self, text: str, *, last: bool) -> Iterator[str | Token]:
        """Cut text at everything that has a meaning, and hold the end back if it may get one."""
        position, end = 0, len(text)
        while position < end:
            pattern = _TOKEN if not self.markdown else _INSIDE if self._code else _OUTSIDE
            match = pattern.search(text, position)
            if match is None:
                cut = _undecided(text, position, end)
                if cut > position:
                    yield text[position:cut]
                if cut < end and last:
                    yield _half(text[cut:])
                elif cut < end:
                    self._held = text[cut:]
                return
            start, found = match.start(), match.group()
            kind = _MEANING.get(found)
            # The beginning of a token before a whole one would join with what follows, once that is hidden.
            cut = start if kind is None else _undecided(text, position, start)
            if cut > position:
                yield text[position:cut]
            if cut < start:
                yield Token(HALF_TAG if kind in (THINK_BEGIN, THINK_END) else HALF, text[cut:start])
            if not last and _may_grow(text, match):
                self._held = text[start:]
                return
            yield found if kind is None else Token(kind, found)
            position = match.end()

    def _settle(self, pieces: list[str | Token]) -> Iterator[str | Token]:
        todo = deque(pieces)
        while todo:
            piece = todo.popleft()
            if self._parked:
                self._park(piece)
                if self._track(piece):
                    yield self._unpark_code()
                elif not self._code or self._parked_length >= _CODE_LIMIT:
                    todo.extendleft(reversed(self._unpark()))
                continue
            if isinstance(piece, Token):
                if self._code and not self._opening and self._fence_ends():
                    self._code = 0
                if not self._code:
                    yield piece
                    continue
                self._park(piece)
                self._track(piece)
                continue
            in_code = self._code > 0
            closes = self._track(piece)
            # A line's end that ends a span shows that the span was none.
            yield Code(piece) if in_code and (closes or self._code) else piece

    def _park(self, piece: str | Token) -> None:
        self._parked.append(piece)
        self._parked_length += len(piece.text if isinstance(piece, Token) else piece)

    def _unpark(self) -> list[str | Token]:
        """It was no code after all."""
        parked, self._parked, self._parked_length, self._code = self._parked, [], 0, 0
        return parked

    def _unpark_code(self) -> Code:
        parked, self._parked, self._parked_length = self._parked, [], 0
        return Code("".join(piece.text if isinstance(piece, Token) else piece for piece in parked))

    def _track(self, piece: str | Token) -> bool:
        """Follow where code begins and ends; return whether it ends, as code does, with this piece."""
        text = piece.text if isinstance(piece, Token) else piece
        if text[0] == "`" and self.markdown:
            if not self._code:
                self._code, self._opening, self._line = len(text), True, ""
                return False
            if self._opening:
                closes = len(text) == self._code
                self._code = 0 if closes else self._code
                return closes
        if not self._code:
            return False
        if text == "\n":
            return self._end_line()
        if not self._opening and len(self._line) <= _LINE_LIMIT:
            self._line += text[: _LINE_LIMIT + 1]
        return False

    def _end_line(self) -> bool:
        """A span does not go on in the next line, and a fenced block ends with a line of its own."""
        if self._opening:
            self._opening = False
            if self._code < 3:
                self._code = 0
            return False
        closes = self._fence_ends()
        self._line = ""
        self._code = 0 if closes else self._code
        return closes

    def _fence_ends(self) -> bool:
        match = None if self._opening else _FENCE_END.fullmatch(self._line)
        return match is not None and len(match.group(1)) >= self._code


def _may_grow(text: str, match: re.Match[str]) -> bool:
    """Whether what was found at the end of the text may be the beginning of something longer."""
    if len(text) - match.start() >= _LONGEST_RUN:
        return False
    found = match.group()
    if found[0] == "`":
        return match.end() == len(text)
    return found[0] != "\n" and text[match.start() :] in _PREFIXES


def _undecided(text: str, start: int, end: int) -> int:
    """Where text up to `end` ends with what may be the beginning of a token, or several; `end` if it does not."""
    cut = end
    for _ in range(_LONGEST_CHAIN):
        for match in _OPENER.finditer(text, max(start, cut - _LONGEST), cut):
            if text[match.start() : cut] in _PREFIXES:
                cut = match.start()
                break
        else:
            break
    return cut


def _half(text: str) -> str | Token:
    """What an answer ends with that may be the beginning of a token: text if it can be anything else."""
    if _HALF_TOKEN.search(text):
        return Token(HALF, text)
    return Token(HALF_TAG, text) if _HALF_TAG.search(text) else text


def join_surrogates(held: str, text: str) -> tuple[str, str]:
    """Repair characters that the server cut in half between two JSON strings.

    Args:
        held: The high surrogate that the previous piece ended with, or nothing.
        text: The next piece.

    Returns:
        The text without surrogates (a half that never finds its other half becomes U+FFFD), and a high
        surrogate at its end to be held for the next piece.
    """
    if not held and (text.isascii() or not _SURROGATE.search(text)):
        return text, ""
    text = held + text
    match = _HIGH.search(text)
    rest = match.group() if match else ""
    if rest:
        text = text[:-1]
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), rest


def without_surrogates(text: str) -> str:
    """A text that is whole, with the halves of characters in it joined or replaced."""
    text, rest = join_surrogates("", text)
    return text + "\ufffd" if rest else text
