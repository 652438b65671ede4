"""JSON objects that a model wrote as text: alone, in a code fence, or among words. Pure functions."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ._arguments import LENIENT

__all__ = ["find_json_object"]

_FENCE: Final = re.compile(r"```[\w-]*\s*\Z")
_FENCE_LENGTH: Final = 40


def find_json_object(text: str) -> dict[str, Any] | None:
    """Find the JSON object that an answer consists of or contains.

    Part of an object is never taken for one: from an object that was cut off, or that breaks off in the middle,
    nothing is read.

    Args:
        text: The whole answer.

    Returns:
        The object that stands alone; else the last one that opens a code fence; else the first one. `None` if
        there is none, or if the text as a whole is some other JSON value.
    """
    stripped = text.strip()
    if stripped.startswith("[") and _decode(stripped, 0)[1] == len(stripped):
        return None
    first: dict[str, Any] | None = None
    fenced: dict[str, Any] | None = None
    start = stripped.find("{")
    while start >= 0:
        value, end = _decode(stripped, start)
        if isinstance(value, dict):
            first = value if first is None else first
            if _FENCE.search(stripped, max(0, start - _FENCE_LENGTH), start):
                fenced = value
        start = stripped.find("{", end)
    return first if fenced is None else fenced


def _decode(text: str, start: int) -> tuple[Any, int]:
    """The value that starts here and its end; or `None` and how far the text could be read.

    Nothing after NaN, a number of thousands of digits or a nest of thousands of objects is read.
    """
    try:
        return LENIENT.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return None, max(error.pos, start + 1)
    except (ValueError, RecursionError):
        return None, len(text)
