"""Words as the brain compares them: lower case, without the common ones, cut to a stem."""

from __future__ import annotations

import re

__all__ = ["WORD", "alike", "matches", "shared", "stem", "stems"]

WORD = re.compile(r"[^\W_]+", re.UNICODE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SUFFIXES = ("ization", "ations", "ation", "ings", "ing", "ies", "ers", "ed", "er", "es", "s", "e", "y")
_COMMON = frozenset(
    "a about after all also am an and any are as ask at be been before but by call called can could do does done each "
    "every first for from function get give given gives had has have he her hers him his how i if in input into is it "
    "its just let make may me more most my next no not now of on one only or our out output over own parallel please "
    "return returns run same say second she should show so some step such tell than that the their them then there "
    "these they third this those to tool tools up us use used uses using value values very was we were what when "
    "where which while who whom whose why will with would you your yours".split()
)
_OPERATORS = (
    (re.compile(r"\d\s*\+\s*\d|\bplus\b|\bsum\b|\badd"), "add plus sum adder addition"),
    (re.compile(r"\d\s*[*×x]\s*\d|\btimes\b|\bmultipl|\bproduct\b"), "multiply times product multiplication"),
    (
        re.compile(r"\d\s+[-−]\s*\d|\bminus\b|\bsubtract|\bdifference\b"),
        "subtract minus difference subtraction",
    ),
    (re.compile(r"\d\s*[/÷]\s*\d|\bdivide"), "divide division quotient"),
    (re.compile(r"\d\s*[-+*/×÷^]\s*\d"), "calculate calculator compute math arithmetic expression"),
    (re.compile(r"\d\s*°?\s?[CF]\b|\bcelsius\b|\bfahrenheit\b"), "celsius fahrenheit"),
    (re.compile(r"\bwhat time\b|\btime is it\b|\bcurrent time\b|\bo'clock\b"), "time clock"),
    (re.compile(r"\b(?:rain|sunny|forecast|umbrella|how warm|how cold|how hot)\b"), "weather forecast"),
    (re.compile(r"\b(?:search|find|look up|lookup|look for)\b"), "search find lookup"),
)


def stem(word: str) -> str:
    """A crude English stem; words of other languages pass through."""
    word = word.lower()
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    # "running", "runs": one stem.
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou" else word


def stems(text: str, *, expand: bool = False) -> list[str]:
    """The stems of a text's telling words in order; `expand` adds what its signs and phrases mean."""
    extra = [words for pattern, words in _OPERATORS if pattern.search(text)] if expand else []
    found = [word.lower() for word in WORD.findall(_CAMEL.sub(" ", text))]
    plain = [stem(word) for word in found if word not in _COMMON and (len(word) > 1 or word.isdigit())]
    return plain + [stem(word) for words in extra for word in words.split()]


def alike(left: str, right: str) -> bool:
    """Whether two stems mean the same word: equal, or one begins the other and neither is short."""
    return left == right or (
        min(len(left), len(right)) >= 4 and (left.startswith(right) or right.startswith(left))
    )


def matches(word: str, others: frozenset[str] | set[str]) -> bool:
    """Whether the stem is like one of the others."""
    return word in others or any(alike(word, other) for other in others)


def shared(left: str, right: str) -> float:
    """The part of the left text's telling words that the right text has too; 0 if there are none."""
    words, others = set(stems(left)), frozenset(stems(right))
    return sum(matches(word, others) for word in words) / len(words) if words else 0.0
