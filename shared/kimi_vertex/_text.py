"""Text of strangers, made fit for one line of an error or a log."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["kept", "plain", "shown"]

_BLANKS: Final = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"
# Signs that a terminal obeys, that turn the direction of the text, or that cannot be printed at all.
_UNPRINTABLE: Final = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
)
_SIGNS: Final = {**dict.fromkeys(_UNPRINTABLE, "\ufffd"), **dict.fromkeys(map(ord, _BLANKS), " ")}

_LONGEST_SHOWN: Final = 80
_DEEPEST: Final = 20
_MOST_ITEMS: Final = 2_000
_MOST_TEXT: Final = 65_536


def plain(text: str, limit: int) -> str:
    """Return the text on one line, with nothing in it that a terminal obeys, and cut to `limit` characters."""
    if len(text) > limit:
        text = f"{text[: limit - 3]}..."
    return text if text.isascii() and text.isprintable() else text.translate(_SIGNS)


def shown(value: object) -> str:
    """Return what a user gave, as an error's text has it: short, and whatever its `repr` does."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a class of the user's, a number of 5,000 digits, a nest that is too deep
        text = f"a {type(value).__name__}"
    return plain(text, _LONGEST_SHOWN)


def kept(value: Any) -> Any:
    """Return decoded JSON from a stranger so that it can be kept: every later reader prints and pickles it.

    Of what is nested more than 20 deep, of more than 2,000 items and of more than 64 KB of text, the rest is left out.
    """
    return _kept(value, 0, [_MOST_ITEMS, _MOST_TEXT])


def _kept(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if isinstance(value, str):
        text = value[: max(0, left[1])]
        left[1] -= len(text)
        return text
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float("inf") if value > 0 else float("-inf")
    if not isinstance(value, dict | list):
        return value
    if depth >= _DEEPEST:
        return "..."
    if isinstance(value, list):
        items = []
        for item in value:
            if min(left) <= 0:
                break
            items.append(_kept(item, depth + 1, left))
        return items
    entries = {}
    for key, item in value.items():
        if min(left) <= 0:
            break
        entries[_kept(key, depth + 1, left)] = _kept(item, depth + 1, left)
    return entries
