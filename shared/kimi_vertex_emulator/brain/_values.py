"""Values that a question holds: numbers, quotations, names, dates; each can be taken once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["Values", "digest", "place_list", "squeezed"]

_STEP_MARK = re.compile(r"\b(?:step|part|task)\s*\d+\b[:.)]?|^\s*\d+[.)]\s", re.IGNORECASE | re.MULTILINE)
_DATE = re.compile(
    r"\b\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?Z?)?\b|\b(?:today|tomorrow|yesterday|tonight)\b|"
    r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\s+\d{1,2}"
    r"(?:st|nd|rd|th)?(?:,\s*\d{4})?\b"
)
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w.]*\w@)")
_QUOTED = re.compile(
    r"(?<!\w)'([^'\n]+)'(?!\w)|\"([^\"\n]+)\"|“([^”\n]+)”|‘([^’\n]+)’|「([^」\n]+)」|«([^»\n]+)»|`([^`\n]+)`"
)
_NAME_WORD = r"[A-ZÀ-ÖØ-Þ](?:[\w’'-]*\w)?"
_NAME = re.compile(
    rf"\b{_NAME_WORD}(?:\s+(?:of|de|del|la|le|von|van|der)?\s?{_NAME_WORD})*(?:,\s(?:[A-Z]{{2}}\b|{_NAME_WORD}))?"
)
_PLACED = re.compile(rf"\b(?:in|at|near|to|from|for|of|around)\s+(?:the\s+)?({_NAME.pattern})")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_URL = re.compile(r"https?://[^\s'\"<>)]*[^\s'\"<>).,;!?]")
_EXPRESSION = re.compile(r"[-(]*\d[\d\s.()]*(?:[-+*/^%×÷−]\s*[-(]*\d[\d\s.()]*)+")
_NO_NAMES = frozenset(
    "a according add after also an and answer ask are as at based book buy by calculate call can check compare compute convert could create do "
    "does double fetch find first for from get give greeting hello hey hi how i if in is it json just let list look "
    "lookup make me multiply my next now of on one or please query return search second send set show step subtract sum "
    "tell than that the then these third this to tool translate use using was we what what's when where which who why "
    "will with would write you your delete describe draw error explain generate invite none note open order plan play "
    "remind remove report schedule sell suggest summarise summarize track try turn unknown update finally afterwards sure yes no ok okay".split()
)


_MOST_READ = 6000
_LONG_BLANK = re.compile(r"\s{16,}")
_ABBREVIATIONS = {"celsius": ("°?C",), "fahrenheit": ("°?F",), "kelvin": ("K",)}


class Values:
    """The values in some text, looked up by kind; what was taken is not given out twice."""

    def __init__(self, text: str) -> None:
        self.text = digest(text)
        self._bare = _STEP_MARK.sub(lambda match: " " * len(match[0]), self.text)
        self._taken: set[tuple[int, int]] = set()

    def number(self, label: str | None = None, *, integer: bool = False) -> float | int | None:
        """The next number; with a label, the one that stands beside it (`5 days`, `limit 5`, `a=5`)."""
        text = _DATE.sub(
            lambda match: " " * len(match[0]), _QUOTED.sub(lambda match: " " * len(match[0]), self._bare)
        )
        if label is not None:
            words = "|".join(re.escape(word) for word in {label, label.replace("_", " "), label.rstrip("s")})
            sign = r"\s*(?:=|:|is|of|to|at)?\s*"
            pattern = rf"\b(?:{words})\b{sign}({_NUMBER.pattern})|({_NUMBER.pattern})\s+(?:{words})\b"
            found = re.finditer(pattern, text, re.IGNORECASE)
            candidates = [(match.span(match.lastindex or 0), match[match.lastindex or 0]) for match in found]
        else:
            candidates = [(match.span(), match[0]) for match in _NUMBER.finditer(text)]
        for span, raw in candidates:
            value = float(raw.replace(",", "").replace("−", "-"))
            if span in self._taken or (integer and not value.is_integer()):
                continue
            self._taken.add(span)
            return int(value) if value.is_integer() and (integer or "." not in raw) else value
        return None

    def quoted(self) -> str | None:
        """The next quotation, without its marks."""
        return self._take(
            (match.span(), next(filter(None, match.groups()))) for match in _QUOTED.finditer(self.text)
        )

    def place(self) -> str | None:
        """The next name after a word such as *in*, else the next name."""
        placed = ((match.span(1), match[1]) for match in _PLACED.finditer(self._bare))
        return self._take((span, name) for span, name in placed if _is_name(name)) or self.name()

    def name(self) -> str | None:
        """The next capitalised name; one that opens a sentence comes last, its capital says little."""
        names = list(_names(self._bare))
        return self._take(sorted(names, key=lambda found: _opens_sentence(self._bare, found[0][0])))

    def date(self) -> str | None:
        """The next date, as it is written."""
        return self._take((match.span(), match[0]) for match in _DATE.finditer(self.text))

    def email(self) -> str | None:
        """The next e-mail address."""
        return self._take((match.span(), match[0]) for match in _EMAIL.finditer(self.text))

    def url(self) -> str | None:
        """The next web address."""
        return self._take((match.span(), match[0]) for match in _URL.finditer(self.text))

    def expression(self) -> str | None:
        """The first arithmetic expression."""
        match = _EXPRESSION.search(self._bare)
        return match[0].strip() if match else None

    def labelled(self, label: str) -> str | None:
        """The text that stands as the label's value: `unit=celsius`, `unit: "celsius"`."""
        words = rf"(?:{re.escape(label)}|{re.escape(label.replace('_', ' '))})"
        match = re.search(
            rf"\b{words}\b[\"']?\s*(?:=|:|\bis\b)\s*(?:\"([^\"]+)\"|'([^']+)'|([^\s,;()]+))",
            self.text,
            re.IGNORECASE,
        )
        value = next((group for group in match.groups() if group), None) if match else None
        return value.rstrip(".?!") if value else None

    def option(self, choices: Iterable[Any], label: str = "") -> Any:
        """The next of the choices that the text names, `None` if it names none.

        A label such as `to_unit` prefers the one that stands after *to*.
        """
        named: list[tuple[bool, tuple[int, int], Any]] = []
        for choice in choices:
            spellings = [
                re.escape(str(choice)).replace("_", "[ _-]"),
                *_ABBREVIATIONS.get(str(choice).lower(), ()),
            ]
            for match in re.finditer(rf"(?<!\w)(?:{'|'.join(spellings)})(?!\w)", self.text, re.IGNORECASE):
                if (
                    not (len(str(choice)) == 1 and match[0] != str(choice))
                    and match.span() not in self._taken
                ):
                    aimed = re.search(r"\b(?:to|into|in|as)\s+$", self.text[: match.start()]) is not None
                    named.append((aimed is not _aims(label), match.span(), choice))
        if not named:
            return None
        _, span, choice = min(named, key=lambda found: found[:2])
        self._taken.add(span)
        return choice

    def unit(self, label: str) -> str | None:
        """A unit by its place: after a number, or after *to* for a label that aims at something."""
        pattern = r"\b(?:to|into)\s+([^\W\d_]+)" if _aims(label) else r"\d\s*([^\W\d_]+)|\bfrom\s+([^\W\d_]+)"
        match = re.search(pattern, self._bare)
        return next((group for group in match.groups() if group), None) if match else None

    def call_arguments(self, name: str) -> list[Any]:
        """The literal arguments of `NAME(...)` in the text; empty if there are none."""
        match = re.search(rf"\b{re.escape(name)}\(([^()]*)\)", self.text)
        if match is None or not match[1].strip():
            return []
        return [_literal(part.rpartition("=")[2].strip()) for part in match[1].split(",")]

    def _take(self, found: Iterable[tuple[tuple[int, int], str]]) -> str | None:
        for span, value in found:
            if not any(span[0] < end and start < span[1] for start, end in self._taken):
                self._taken.add(span)
                return value.strip()
        return None


def digest(text: str, most: int = _MOST_READ) -> str:
    """What the brain reads of a long text: its beginning and its end, where instructions stand."""
    text = squeezed(text)
    return text if len(text) <= most else f"{text[: most // 2]}\n{text[-most // 2 :]}"


def squeezed(text: str) -> str:
    """The text without long runs of blanks, on which patterns would spend quadratic time."""
    return _LONG_BLANK.sub(lambda match: "\n\n" if "\n" in match[0] else " ", text)


def place_list(text: str) -> list[str]:
    """The names of an enumeration after a preposition (`in Paris, London and Rome`); empty if there is none."""
    name = rf"{_NAME_WORD}(?:\s{_NAME_WORD})*"
    match = re.search(rf"\b(?:in|at|for|of)\s+({name}(?:,\s+{name})*,?\s+and\s+{name})", text)
    return [part for part in re.split(r",\s+and\s+|,\s+|\s+and\s+", match[1]) if part] if match else []


def _aims(label: str) -> bool:
    """Whether a property's name says that it is what something becomes."""
    return label.partition("_")[0] in ("to", "target", "into", "output") or label.endswith("_to")


def _is_name(text: str) -> bool:
    return text.partition(" ")[0].lower() not in _NO_NAMES


def _opens_sentence(text: str, start: int) -> bool:
    before = text[:start].rstrip()
    return not before or before[-1] in ".!?:;\n"


def _names(text: str) -> Iterable[tuple[tuple[int, int], str]]:
    for match in _NAME.finditer(text):
        start, words = match.start(), match[0]
        # A sentence opens with a capital that says nothing: "Tell Anna" names Anna.
        while words and not _is_name(words):
            head, _, rest = words.partition(" ")
            start, words = start + len(head) + 1, rest.lstrip()
        if words and words[0].isupper() and not re.fullmatch(r"[A-Z]", words):
            yield (start, match.end()), words


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip("'\"")
