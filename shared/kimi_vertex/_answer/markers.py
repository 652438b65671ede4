"""Finds Kimi's special tokens in streamed text, whole or cut at any point.

Works on characters alone: what a token means is decided by `_thinking`. Tokens inside Markdown code are text
that somebody asked for, and stay text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kimi_vertex._surrogates import has_surrogates

from .code_spans import MarkdownCode, settled_length

__all__ = ["Scanner", "Token", "is_plain"]

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
_ANGLED: Final = "<(?:{})".format("|".join(re.escape(text[1:]) for text in _MEANING if text[0] == "<"))
# One literal at the beginning lets `re` skip much faster than a choice of two.
_ANGLED_TOKEN: Final = re.compile(_ANGLED)
_TOKEN: Final = re.compile(f"{_ANGLED}|◁/?think▷")
_HALF_TOKEN: Final = re.compile(r"<\|[a-z]")
_HALF_TAG: Final = re.compile("<thin|</thi|◁[t/]")
_LONGEST_CHAIN: Final = 8
# Code that stays open this long after a token in it was not meant to be code; bounds what is held.
_CODE_LIMIT: Final = 16_384


@dataclass(frozen=True, slots=True)
class Token:
    """A special token in the text."""

    kind: str
    """The canonical spelling of what it means; empty for tokens that only need to be hidden."""
    text: str
    """As it was written."""


class Scanner:
    """Splits one channel's text into plain pieces and tokens.

    What `feed` returns, joined, is what was fed in. An undecided end is held back, and so is everything from a
    token in open code on, until the code's end, or its absence, says whether the token was meant literally.
    """

    __slots__ = ("_code", "_held", "_in_code", "_read", "markdown", "pass_by")

    def __init__(self) -> None:
        self._held = ""
        self._code = MarkdownCode()
        self._in_code = False  # what is held begins with a token in open code
        self._read = 0  # how far what is held has been searched for the end of that code
        self.pass_by = self._code.feed
        """Takes note of a plain piece that nobody needs to `feed`, because the scanner is idle."""
        self.markdown = True
        """To be set to `False`, between two items, while a tool section is open: backticks mean nothing there."""

    @property
    def idle(self) -> bool:
        """True if nothing is held."""
        return not self._held

    def feed(self, text: str, *, last: bool = False) -> Iterator[str | Token]:
        """Yield what can be decided by now; with `last`, all that is left."""
        text, self._held = self._held + text, ""
        tokens = _TOKEN if "◁" in text else _ANGLED_TOKEN
        position, end = 0, len(text)
        settled = end if last else settled_length(text)
        while position < end:
            if self._in_code:
                code_end = self._end_of_code(text, position, settled, last=last)
                if code_end < 0:
                    break
                self._in_code = False
                if code_end > position:
                    yield text[position:code_end]
                    position = code_end
                    continue
            match = tokens.search(text, position)
            start = end if match is None else match.start()
            cut = _undecided(text, position, start)
            if cut > position:
                if self.markdown:
                    self._code.feed(text[position:cut])
                yield text[position:cut]
                position = cut
            if match is None and (cut == end or not last):
                break
            if self.markdown and self._code.is_open():
                self._in_code, self._read = True, 0
                continue
            if match is None:
                yield _half(text[cut:])
                return
            kind, found = _MEANING[match.group()], match.group()
            if cut < start:
                # The beginning of a token before a whole one would join with what follows, once that is hidden.
                yield Token(HALF_TAG if kind in (THINK_BEGIN, THINK_END) else HALF, text[cut:start])
                position = start
            if not last and end - start < _LONGEST and text[start:] in _PREFIXES:
                break
            yield Token(kind, found)
            position = match.end()
        self._held = text[position:]
        self._code.move_on(position)

    def _end_of_code(self, text: str, position: int, stop: int, *, last: bool) -> int:
        """Where the code ends that is open at the token at `position`; there if it was none, -1 if it is still open."""
        code = self._code
        reach = min(stop, position + _CODE_LIMIT)
        end = code.leave(text, position + self._read, reach)
        self._read = stop - position
        if end >= 0:
            return end if code.literal else position
        if last and code.ends():
            return len(text)
        if not last and self._read < _CODE_LIMIT:
            return -1
        code.give_up(reach)
        return position


def is_plain(text: str) -> bool:
    """Whether there is nothing to find in a text: no token, whole or begun at its end, and no half of a character.

    Most pieces are plain, so this is what they cost.
    """
    if "<" in text and (text[text.rfind("<") :][:_LONGEST] in _PREFIXES or _may_hold_token(text)):
        return False
    return text.isascii() or ("◁" not in text and not has_surrogates(text))


def _may_hold_token(text: str) -> bool:
    return ("|" in text and "<|" in text) or "think>" in text


def _undecided(text: str, start: int, end: int) -> int:
    """Where text up to `end` ends with what may be the beginning of a token, or several; `end` if it does not."""
    cut = end
    for _ in range(_LONGEST_CHAIN):
        low = max(start, cut - _LONGEST)
        last = max(text.rfind("<", low, cut), text.rfind("◁", low, cut))
        if last < 0 or text[last:cut] not in _PREFIXES:
            break
        outer = text.rfind("<", low, last)  # a role's name stands between two tokens
        cut = outer if outer >= 0 and text[outer:cut] in _PREFIXES else last
    return cut


def _half(text: str) -> str | Token:
    """What an answer ends with that may be the beginning of a token: text if it can be anything else."""
    if _HALF_TOKEN.search(text):
        return Token(HALF, text)
    return Token(HALF_TAG, text) if _HALF_TAG.search(text) else text
