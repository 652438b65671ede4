"""Finds a model's special tokens in streamed text, whole or cut at any point.

Works on characters alone: `channels` decides what a token means for the answer. A token inside Markdown code is
text that the user asked for, and stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kimi_vertex._surrogates import has_surrogates

from .code_spans import MarkdownCode

__all__ = [
    "ARGUMENTS_BEGIN",
    "CALL_BEGIN",
    "CALL_END",
    "HALF",
    "HALF_TAG",
    "HIDDEN",
    "K2",
    "SECTION_BEGIN",
    "SECTION_END",
    "THINK_BEGIN",
    "THINK_END",
    "Markers",
    "Scanner",
    "Token",
]

# What a token means.
SECTION_BEGIN: Final = "section begin"
SECTION_END: Final = "section end"
CALL_BEGIN: Final = "call begin"
ARGUMENTS_BEGIN: Final = "arguments begin"
CALL_END: Final = "call end"
THINK_BEGIN: Final = "think begin"
THINK_END: Final = "think end"
HIDDEN: Final = ""
"""Nothing for the answer: the token only must not be shown."""
HALF: Final = "half"
"""A token that was cut, by the end of the answer or by another token."""
HALF_TAG: Final = "half tag"
"""A think tag that was cut."""

_OF_CALLS: Final = (SECTION_BEGIN, SECTION_END, CALL_BEGIN, ARGUMENTS_BEGIN, CALL_END)
_LONGEST_CHAIN: Final = 8
_HALF_TOKEN: Final = re.compile(r"<\|[a-z]")
_HALF_TAG: Final = re.compile("<thin|</thi|◁[t/]")


class Markers:
    """The special tokens of a family of models. All begin with `<` or `◁`."""

    __slots__ = ("_angled", "_any", "_prefixes", "calls", "longest", "meaning")

    def __init__(self, meaning: Mapping[str, str]) -> None:
        """Take the table.

        Args:
            meaning: What each spelling means.
        """
        self.meaning = meaning
        self.longest = max(map(len, meaning))
        told = [re.escape(text) for text, kind in meaning.items() if kind in _OF_CALLS]
        self.calls = re.compile("|".join(told))
        """Finds the tokens that calls are made of."""
        self._prefixes = frozenset(text[:n] for text in meaning for n in range(1, len(text)))
        angled = "|".join(re.escape(text[1:]) for text in meaning if text[0] == "<")
        other = "|".join(re.escape(text) for text in meaning if text[0] != "<")
        # One literal at the beginning lets `re` skip much faster than a choice of two.
        self._angled = re.compile(f"<(?:{angled})")
        self._any = re.compile(f"<(?:{angled})|{other}") if other else self._angled

    def is_plain(self, text: str) -> bool:
        """Whether there is nothing to find in a text: no token, whole or begun at its end, and no half of a character.

        Most pieces are plain, so this is what they cost.
        """
        if "<" in text and (
            text[text.rfind("<") :][: self.longest] in self._prefixes
            or ("|" in text and "<|" in text)
            or "think>" in text
        ):
            return False
        return text.isascii() or ("◁" not in text and not has_surrogates(text))

    def search(self, text: str, position: int) -> re.Match[str] | None:
        """The first token from `position` on."""
        return (self._any if "◁" in text else self._angled).search(text, position)

    def begins(self, text: str) -> bool:
        """Whether a text is the beginning of a token, and more may follow."""
        return text in self._prefixes

    def undecided(self, text: str, start: int, end: int) -> int:
        """Where text up to `end` ends with what may be the beginning of tokens; `end` if it does not."""
        cut = end
        for _ in range(_LONGEST_CHAIN):
            low = max(start, cut - self.longest)
            last = max(text.rfind("<", low, cut), text.rfind("◁", low, cut))
            if last < 0 or text[last:cut] not in self._prefixes:
                break
            outer = text.rfind("<", low, last)  # a role's name stands between two tokens
            cut = outer if outer >= 0 and text[outer:cut] in self._prefixes else last
        return cut


# Spellings seen in the wild. The singular section tokens: ggml-org/llama.cpp#17376; the triangles: SGLang's
# documentation of Kimi's delimiters. Kimi's template writes the name of a role between two tokens, which makes it
# part of them.
K2: Final = Markers(
    {
        "<|tool_calls_section_begin|>": SECTION_BEGIN,
        "<|tool_call_section_begin|>": SECTION_BEGIN,
        "<|tool_calls_section_end|>": SECTION_END,
        "<|tool_call_section_end|>": SECTION_END,
        "<|tool_call_begin|>": CALL_BEGIN,
        "<|tool_call_argument_begin|>": ARGUMENTS_BEGIN,
        "<|tool_call_end|>": CALL_END,
        "<think>": THINK_BEGIN,
        "</think>": THINK_END,
        "◁think▷": THINK_BEGIN,
        "◁/think▷": THINK_END,
        "<|im_end|>": HIDDEN,
        "<|im_user|>user<|im_middle|>": HIDDEN,
        "<|im_user|>": HIDDEN,
        "<|im_assistant|>assistant<|im_middle|>": HIDDEN,
        "<|im_assistant|>": HIDDEN,
        "<|im_system|>system<|im_middle|>": HIDDEN,
        "<|im_system|>tool<|im_middle|>": HIDDEN,
        "<|im_system|>": HIDDEN,
        "<|im_middle|>": HIDDEN,
    }
)


@dataclass(frozen=True, slots=True)
class Token:
    """A special token in the text."""

    kind: str
    """What it means."""
    text: str
    """As it was written."""


class Scanner:
    """Splits one channel's text into plain pieces and tokens.

    What `feed` returns, joined, is what was fed in. An undecided end is held back, and so is everything from a
    token in open code on, until the code's end, or its absence, says whether the token was meant literally.
    """

    __slots__ = ("_code", "_held", "_in_code", "_markers", "markdown", "pass_by")

    def __init__(self, markers: Markers) -> None:
        self._markers = markers
        self._held = ""
        self._code = MarkdownCode()
        self._in_code = False  # what is held begins with a token in open code
        self.pass_by = self._code.feed
        """Takes note of a plain piece that does not have to be scanned, because nothing is held."""
        self.markdown = True
        """Set to `False`, between two items, while a tool section is open: backticks mean nothing there."""

    @property
    def holds(self) -> bool:
        """Whether text is held back."""
        return bool(self._held)

    def feed(self, text: str, *, last: bool = False) -> Iterator[str | Token]:
        """Yield what can be decided by now; with `last`, all that is left."""
        markers, code = self._markers, self._code
        if text and not self._held and markers.is_plain(text):
            if self.markdown:
                code.feed(text)
            yield text
            return
        text, self._held = self._held + text, ""
        position, end = 0, len(text)
        while position < end:
            if self._in_code:
                code_end = code.find_end(text, position, last=last)
                if code_end < 0:
                    break
                self._in_code = False
                if code_end > position:
                    yield text[position:code_end]
                    position = code_end
                    continue
            match = markers.search(text, position)
            start = end if match is None else match.start()
            cut = markers.undecided(text, position, start)
            if cut > position:
                if self.markdown:
                    code.feed(text[position:cut])
                yield text[position:cut]
                position = cut
            if match is None and (cut == end or not last):
                break
            if self.markdown and code.is_open():
                self._in_code = True
                continue
            if match is None:
                yield _half(text[cut:])
                return
            kind = markers.meaning[match.group()]
            if cut < start:
                # The beginning of a token before a whole one would join with what follows, once that is hidden.
                yield Token(HALF_TAG if kind in (THINK_BEGIN, THINK_END) else HALF, text[cut:start])
                position = start
            if not last and end - start < markers.longest and markers.begins(text[start:]):
                break
            yield Token(kind, match.group())
            position = match.end()
        self._held = text[position:]


def _half(text: str) -> str | Token:
    """What an answer ends with that may be the beginning of a token: text if it can be anything else."""
    if _HALF_TOKEN.search(text):
        return Token(HALF, text)
    return Token(HALF_TAG, text) if _HALF_TAG.search(text) else text
