"""The terminal: two consoles, and what may be written to them."""

from __future__ import annotations

from typing import Final

from rich.console import Console

__all__ = ["GRAY", "errors", "output", "printable"]

GRAY: Final = "bright_black"
# A model's text and a server's may hold sequences that a terminal obeys.
_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160)), "�")
del _CONTROLS[ord("\n")], _CONTROLS[ord("\t")]


def output() -> Console:
    """Standard output."""
    return Console(highlight=False)


def errors() -> Console:
    """Standard error, for everything that is not the result."""
    return Console(highlight=False, stderr=True)


def printable(text: str) -> str:
    """The text without signs that a terminal would obey."""
    return text.translate(_CONTROLS)
