"""Whether work grows with the square of a text: two sizes, by ratio."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache

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

SMALL, LARGE = 500, 6_000


def seconds(work: Callable[[str], object], text: str) -> float:
    """The least CPU time of two runs."""
    best = float("inf")
    for _ in range(2):
        began = time.thread_time()
        work(text)
        best = min(best, time.thread_time() - began)
    return best


@cache
def least_of_a_square() -> float:
    """Less than any work takes here that grows with the square of the larger text: a quarter of the fastest."""
    return seconds(re.compile("a+b").search, "a" * LARGE) / 4


def grows_with_the_square(work: Callable[[str], object], unit: str) -> bool:
    """Whether 12 times the text costs more than 50 times the work."""
    large, small = unit * (LARGE // len(unit)), unit * (SMALL // len(unit))
    began = time.thread_time()
    work(large)
    if time.thread_time() - began < least_of_a_square():
        return False
    return all(seconds(work, large) >= 50 * seconds(work, small) for _ in range(3))
