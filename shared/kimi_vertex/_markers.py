"""Finds Kimi's special tokens in streamed text, whole or cut at any point.

Works on characters alone: what a token means is decided by `_thinking`. Tokens inside Markdown code are
text that somebody asked for, and stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Scanner", "Token", "join_surrogates"]

SECTION_BEGIN: Final = "<|tool_calls_section_begin|>"
SECTION_END: Final = "<|tool_calls_section_end|>"
CALL_BEGIN: Final = "<|tool_call_begin|>"
ARGUMENTS_BEGIN: Final = "<|tool_call_argument_begin|>"
CALL_END: Final = "<|tool_call_end|>"
THINK_BEGIN: Final = "<think>"
THINK_END: Final = "</think>"

# Spellings seen in the wild, by what they mean. The singular section tokens: ggml-org/llama.cpp#17376;
# the triangles: SGLang's documentation of Kimi's delimiters.
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
    "<|im_user|>": "",
    "<|im_assistant|>": "",
    "<|im_system|>": "",
    "<|im_middle|>": "",
}
_TOKEN: Final = re.compile("|".join(re.escape(text) for text in _MEANING))
_PREFIXES: Final = frozenset(text[:n] for text in _MEANING for n in range(1, len(text)))
_LONGEST: Final = max(map(len, _MEANING))
_CODE: Final = re.compile(r"`+|\n")
# Code that stays open this long after a token in it was not meant to be code; bounds what is held and rescanned.
_CODE_LIMIT: Final = 16_384
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HIGH: Final = re.compile("[\ud800-\udbff]$")


@dataclass(frozen=True, slots=True)
class Token:
    """A special token in the text."""

    kind: str
    """The canonical spelling of what it means; empty for tokens that only need to be hidden."""
    text: str
    """As it was written."""


class Scanner:
    """Splits one channel's text into plain pieces and tokens.

    Invariant: what `feed` and `flush` return, joined, is what was fed in; only an undecided end is held back.
    """

    __slots__ = ("_code", "_held", "_ticks")

    def __init__(self) -> None:
        self._held = ""
        self._code = 0  # length of the backtick run that opened the code we are in; 0 outside of code
        self._ticks = 0  # length of the backtick run that the text so far ends with

    @property
    def idle(self) -> bool:
        """True if plain text may pass by without being looked at: nothing is held, no code is open."""
        return not (self._held or self._code or self._ticks)

    @property
    def in_code(self) -> bool:
        """True inside a code span or a fenced block."""
        return self._code > 0

    def feed(self, text: str) -> list[str | Token]:
        """Return what can be decided by now."""
        return self._scan(self._held + text, last=False)

    def flush(self) -> list[str | Token]:
        """Return the rest: nothing more will come."""
        return self._scan(self._held, last=True)

    def _scan(self, text: str, *, last: bool) -> list[str | Token]:
        self._held = ""
        items: list[str | Token] = []
        start = 0  # of the plain text not yet returned
        position = 0  # from where code is tracked
        for match in _TOKEN.finditer(text):
            self._track(text[position : match.start()])
            position = match.start()
            if self._in_open_code():
                end = self._code_end(text, match.end())
                if end is None and not last and len(text) - match.start() < _CODE_LIMIT:
                    return self._hold(items, text, start, match.start())
                if end is not None and end >= 0:
                    continue
                self._code = 0
            if match.start() > start:
                items.append(text[start : match.start()])
            items.append(Token(_MEANING[match.group()], match.group()))
            start = position = match.end()
            self._ticks = 0
        cut = len(text) if last else _undecided(text, start)
        self._track(text[position:cut] if cut > position else "")
        return self._hold(items, text, start, cut)

    def _hold(self, items: list[str | Token], text: str, start: int, cut: int) -> list[str | Token]:
        if cut > start:
            items.append(text[start:cut])
        self._held = text[cut:]
        return items

    def _in_open_code(self) -> bool:
        self._settle()
        return self._code > 0

    def _settle(self) -> None:
        """The run of backticks is over: let it open or close code."""
        run, self._ticks = self._ticks, 0
        if not run:
            return
        if not self._code:
            self._code = run
        elif run == self._code or (self._code >= 3 and run >= self._code):
            self._code = 0

    def _track(self, text: str) -> None:
        if not text or not (self._code or self._ticks or "`" in text):
            return
        if self._ticks and text[0] != "`":
            self._settle()
        for match in _CODE.finditer(text):
            if match.group() == "\n":
                if self._code < 3:
                    self._code = 0
                continue
            self._ticks += len(match.group())
            if match.end() < len(text):
                self._settle()

    def _code_end(self, text: str, position: int) -> int | None:
        """Where the code that is open ends: an index, -1 for not at all, `None` for not known yet."""
        for match in _CODE.finditer(text, position):
            if match.group() == "\n":
                if self._code < 3:
                    return -1
            elif len(match.group()) == self._code or 3 <= self._code <= len(match.group()):
                return match.start()
        return None


def _undecided(text: str, start: int) -> int:
    """Index of an end that may be the beginning of a token; the length of the text if there is none."""
    for opener in "<◁":
        index = text.rfind(opener, max(start, len(text) - _LONGEST))
        if index >= 0 and text[index:] in _PREFIXES:
            return index
    return len(text)


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
