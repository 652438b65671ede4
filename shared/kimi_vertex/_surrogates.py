"""Repairs characters that a server cut in half: the two halves of a surrogate pair, in one text or in two."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["has_surrogates", "join_surrogates", "without_surrogates"]

_HIGH: Final = re.compile("[\ud800-\udbff]\\Z")


def has_surrogates(text: str) -> bool:
    """Whether a text holds halves of characters."""
    try:
        # The quickest way to look at each character, however long the text is.
        text.encode("utf-16")
    except UnicodeEncodeError:
        return True
    return False


def join_surrogates(held: str, text: str) -> tuple[str, str]:
    """Repair characters that the server cut in half between two JSON strings.

    Args:
        held: The high surrogate that the previous piece ended with, or nothing.
        text: The next piece.

    Returns:
        The text without surrogates (a half that never finds its other half becomes U+FFFD), and a high
        surrogate at its end to be held for the next piece.
    """
    if not held and (text.isascii() or not has_surrogates(text)):
        return text, ""
    text = held + text
    match = _HIGH.search(text)
    rest = match.group() if match else ""
    if rest:
        text = text[:-1]
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), rest


def without_surrogates(text: str) -> str:
    """A whole text, with halves of characters joined, or replaced by U+FFFD."""
    text, rest = join_surrogates("", text)
    return text + "\ufffd" if rest else text
