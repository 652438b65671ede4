"""Finds a model's special tokens in streamed text, whole or cut at any point.

Works on characters alone: `channels` decides what a token means for the answer. A token inside Markdown code is
text that the user asked for, and stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kimi_vertex._surrogates import has_surrogates

from .code_spans import MarkdownCode

__all__ = [
    "ARGUMENTS_BEGIN",
    "CALL_BEGIN",
    "CALL_END",
    "ELEMENT_BEGIN",
    "ELEMENT_END",
    "HALF",
    "HALF_TAG",
    "HIDDEN",
    "K2",
    "KIMI",
    "OF_CALLS",
    "OF_ELEMENTS",
    "SECTION_BEGIN",
    "SECTION_END",
    "TAGS",
    "THINK_BEGIN",
    "THINK_END",
    "TURN_END",
    "Markers",
    "Scanner",
    "Token",
    "text_of",
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
ELEMENT_BEGIN: Final = "element begin"
"""What an element's opening means depends on its name."""
ELEMENT_END: Final = "element end"
TURN_END: Final = "turn end"
"""The end of a turn of elements: what follows is another's."""
HALF: Final = "half"
"""A token that was cut, by the end of the answer or by another token."""
HALF_TAG: Final = "half tag"
"""A think tag that was cut."""

OF_CALLS: Final = frozenset({SECTION_BEGIN, SECTION_END, CALL_BEGIN, ARGUMENTS_BEGIN, CALL_END})
OF_ELEMENTS: Final = frozenset({ELEMENT_BEGIN, ELEMENT_END, TURN_END})
TAGS: Final = frozenset({THINK_BEGIN, THINK_END, HALF_TAG})
_LONGEST_CHAIN: Final = 8
_HALF_TOKEN: Final = re.compile(r"<\|[a-z]")
_HALF_TAG: Final = re.compile("<thin|</thi|◁[t/]")

# K3 writes elements: `<|open|>NAME KEY="VALUE"<|sep|>BODY<|close|>NAME<|sep|>`. The words between the three tokens are
# ordinary text, and servers that join tokens by spaces leave spaces around them.
_OPEN, _CLOSE, _SEP = "<|open|>", "<|close|>", "<|sep|>"
_LONGEST_ELEMENT: Final = 512


def _begun_elements(names: Sequence[str]) -> re.Pattern[str]:
    """What an element's marker may begin with, up to a place inside of it."""
    starts = sorted({name[:n] for name in names for n in range(len(name))}, key=len, reverse=True)
    sep = "|".join(re.escape(_SEP[:n]) for n in range(len(_SEP) - 1, 0, -1))
    ends = rf'\s*(?:{sep})?|\s+\w+|\s+\w+=|\s+\w+="[^"]*'
    inside = rf'(?:{"|".join(names)})(?:\s+\w+="[^"]*")*(?:{ends})'
    return re.compile(rf"<\|(?:open|close)\|>\s*(?:{inside}|(?:{'|'.join(starts)}))")


@dataclass(frozen=True, slots=True)
class Token:
    """A special token in the text."""

    kind: str
    """What it means."""
    text: str
    """As it was written."""
    element: str = ""
    """The element that it opens or closes."""
    attributes: str = ""
    """The element's attributes, as they were written."""


def text_of(items: Iterable[str | Token]) -> str:
    """Text and tokens as they were written."""
    return "".join(item if isinstance(item, str) else item.text for item in items)


class Markers:
    """The special tokens of one family of models, or of several. All begin with `<` or `◁`."""

    def __init__(self, meaning: Mapping[str, str], elements: Sequence[str] = ()) -> None:
        """Take the table.

        Args:
            meaning: What each spelling means.
            elements: The names of the elements that the family writes.
        """
        self.meaning = meaning
        self._begun = _begun_elements(elements) if elements else None
        self.longest = max(map(len, meaning))
        told = [re.escape(text) for text, kind in meaning.items() if kind in OF_CALLS]
        self.calls = re.compile("|".join(told))
        """Finds the tokens that calls are made of."""
        heads = (_OPEN, _CLOSE) if elements else ()
        self._prefixes = frozenset(text[:n] for text in (*meaning, *heads) for n in range(1, len(text)))
        angled = "|".join(re.escape(text[1:]) for text in meaning if text[0] == "<")
        if elements:
            attributes = r'(?P<attributes>(?:\s+\w+="[^"]*")*)'
            angled += rf"|\|(?P<side>open|close)\|>\s*(?P<name>{'|'.join(elements)}){attributes}\s*<\|sep\|>"
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
        pattern = self._any if "◁" in text else self._angled
        match = pattern.search(text, position)
        while match is not None and match.end() - match.start() > _LONGEST_ELEMENT:
            match = pattern.search(text, match.start() + 1)
        return match

    def begins(self, text: str) -> bool:
        """Whether a text is the beginning of a token, and more may follow."""
        return text in self._prefixes

    def undecided(self, text: str, start: int, end: int) -> int:
        """Where text up to `end` ends with what may be the beginning of tokens; `end` if it does not."""
        cut = end
        for _ in range(_LONGEST_CHAIN):
            before = cut
            if self._begun is not None:
                cut = self._undecided_element(text, start, cut)
            low = max(start, cut - self.longest)
            last = max(text.rfind("<", low, cut), text.rfind("◁", low, cut))
            if last >= 0 and text[last:cut] in self._prefixes:
                outer = text.rfind("<", low, last)  # a role's name stands between two tokens
                cut = outer if outer >= 0 and text[outer:cut] in self._prefixes else last
            if cut == before:
                break
        return cut

    def _undecided_element(self, text: str, start: int, end: int) -> int:
        low = max(start, end - _LONGEST_ELEMENT)
        at = max(text.rfind(_OPEN, low, end), text.rfind(_CLOSE, low, end))
        assert self._begun is not None
        return at if at >= 0 and self._begun.fullmatch(text, at, end) else end

    def read(self, match: re.Match[str]) -> Token:
        """The token that was found."""
        side = match.groupdict().get("side")
        if side is None:
            return Token(self.meaning[match.group()], match.group())
        kind = ELEMENT_BEGIN if side == "open" else ELEMENT_END
        return Token(kind, match.group(), match["name"], match["attributes"])


# Spellings seen in the wild. The singular section tokens: ggml-org/llama.cpp#17376; the triangles: SGLang's
# documentation of Kimi's delimiters. Kimi's template writes the name of a role between two tokens, which makes it
# part of them.
_K2: Final = {
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
_K3: Final = {"<|end_of_msg|>": TURN_END}
_ELEMENTS: Final = ("think", "response", "tools", "message", "call", "argument", "json")
K2: Final = Markers(_K2)
KIMI: Final = Markers({**_K2, **_K3}, _ELEMENTS)
"""All that any Kimi writes: which one it is shows in what arrives."""


class Scanner:
    """Splits one channel's text into plain pieces and tokens.

    What `feed` returns, joined, is what was fed in. An undecided end is held back, and so is everything from a
    token in open code on, until the code's end, or its absence, says whether the token was meant literally.
    """

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
            token = markers.read(match)
            kind = token.kind
            if cut < start:
                # The beginning of a token before a whole one would join with what follows, once that is hidden.
                half = text[cut:start]
                if token.element:
                    # What follows is another element's, so that halves of it cannot meet.
                    yield Token(HALF, half) if "|>" in half else half
                else:
                    yield Token(HALF_TAG if kind in (THINK_BEGIN, THINK_END) else HALF, half)
                position = start
            if not last and end - start < markers.longest and markers.begins(text[start:]):
                break
            yield token
            position = match.end()
        self._held = text[position:]


def _half(text: str) -> str | Token:
    """What an answer ends with that may be the beginning of a token: text if it can be anything else."""
    if _HALF_TOKEN.search(text):
        return Token(HALF, text)
    return Token(HALF_TAG, text) if _HALF_TAG.search(text) else text
