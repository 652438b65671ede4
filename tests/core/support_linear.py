"""Whether work grows with the square of a text: two sizes, by ratio."""

from __future__ import annotations

import time
from collections.abc import Callable

WRITTEN = (
    "a ",
    "`",
    "``a",
    "```\n",
    "\n```",
    "<",
    "<|",
    "[",
    "{",
    '{"a":',
    '"',
    "\\",
    "f:1",
    "f:1 {",
    "\n",
    " ",
    "◁",
)

SMALL, LARGE = 1_000, 12_000
FASTER_THAN_ANY_SQUARE = 0.03
"""Seconds: in these, no work that grows with the square is done for the larger text."""


def seconds(work: Callable[[str], object], text: str) -> float:
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        work(text)
        best = min(best, time.perf_counter() - began)
        if best < FASTER_THAN_ANY_SQUARE:
            break
    return best


def grows_with_the_square(work: Callable[[str], object], unit: str) -> bool:
    """Whether 12 times the text costs more than 50 times the work."""
    for _ in range(3):
        large = seconds(work, unit * (LARGE // len(unit)))
        if large < FASTER_THAN_ANY_SQUARE or large < 50 * seconds(work, unit * (SMALL // len(unit))):
            return False
    return True
