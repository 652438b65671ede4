"""JSON: on the wire, as a call's arguments, and as models write it into their text.

orjson does the work on the wire. JSON that only the standard parser accepts is accepted, too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

import orjson

from ._surrogates import without_surrogates

__all__ = [
    "LENIENT",
    "canonical",
    "culprit",
    "encode",
    "find_json_object",
    "is_object",
    "load_json",
    "loads",
    "normalize_arguments",
]


def loads(data: str | bytes) -> Any:
    """Decode JSON; lone surrogates in it are kept. Integers beyond 64 bits become floats.

    Args:
        data: Text, or its bytes in UTF-8, of which invalid ones become U+FFFD.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data if isinstance(data, str) else data.decode("utf-8-sig", "replace"))


def encode(body: Mapping[str, Any], *, messages: str | None = None) -> bytes:
    """Write `body` as compact JSON in UTF-8.

    Mappings of any kind are objects. Halves of a surrogate pair that meet in the text become the character that
    they are halves of; lone ones, which UTF-8 does not have, become U+FFFD.

    Args:
        body: The object.
        messages: The key under which it has messages that hold text and nothing else, but for a `content` that is
            not text, or `tools` in its place: the bulk of most bodies, which is then written faster.

    Raises:
        ValueError: It holds something that JSON cannot; the text says what, and where.
    """
    try:
        # orjson writes null for NaN, and values of types that JSON lacks: it gets only what cannot hold any.
        return orjson.dumps(
            {
                key: list(map(_quick, value)) if key == messages else orjson.Fragment(_dumps(value))
                for key, value in body.items()
            }
        )
    except (TypeError, ValueError, RecursionError):
        pass  # keys that are not text, and lone surrogates, are acceptable here
    try:
        return _dumps(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(culprit(body) or f"{error}") from None


def culprit(body: Mapping[str, Any]) -> str | None:
    """Name the first thing in `body` that JSON cannot hold, or that lies more than 200 levels deep.

    How deep `encode` can write depends on the version of Python, so what is kept and written by others is asked here.
    """
    return next(_culprits(body, "", ()), None)


def _quick(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if type(content) is str:
        return message
    key = "content" if "content" in message else "tools"
    return {**message, key: orjson.Fragment(_dumps(message[key]))}


def _dumps(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_object)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _object(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__}")


def _culprits(value: Any, path: str, above: tuple[int, ...]) -> Iterator[str]:
    """What cannot be written, each with its path."""
    if value is None or isinstance(value, str | bool | int):
        return
    place = path.lstrip(".") or "the body"
    if id(value) in above:
        yield f"{place} contains itself"
    elif len(above) > 200:
        yield f"{place[:80]}... is nested too deeply"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{place} is {value}, which JSON cannot write"
    elif isinstance(value, Mapping):
        for key, child in value.items():
            if not (key is None or isinstance(key, str | int | float)):
                yield f"{place} has a key of type {type(key).__name__}"
            yield from _culprits(child, f"{path}.{key}", (*above, id(value)))
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from _culprits(child, f"{path}[{index}]", (*above, id(value)))
    else:
        yield f"{place} is a value of type {type(value).__name__}"


_SAFE_DEPTH: Final = 500
_FENCE: Final = re.compile(r"```\w*\s*")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_STRICT: Final = json.JSONDecoder(parse_constant=_refuse)
LENIENT: Final = json.JSONDecoder(strict=False, parse_constant=_refuse)
"""The standard's rules, except that raw control characters may stand in strings: models write them."""


def load_json(text: str, *, strict: bool = True) -> Any:
    """Decode JSON by the standard's rules: Python's own takes NaN and Infinity for numbers.

    Args:
        text: JSON text.
        strict: Whether raw control characters inside strings are errors.

    Raises:
        ValueError: It is not JSON, or nested too deeply to be read.
    """
    try:
        return (_STRICT if strict else LENIENT).decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_object(text: str) -> bool:
    """Whether a text is one JSON object by the standard's rules."""
    # orjson reads deeper nesting than the standard parser, by which others will read this.
    if len(text) <= _SAFE_DEPTH or text.count("{") + text.count("[") <= _SAFE_DEPTH:
        try:
            return type(orjson.loads(text)) is dict
        except orjson.JSONDecodeError:
            pass  # it also refuses lone surrogates, which are acceptable here
    try:
        return isinstance(load_json(text), dict)
    except ValueError:
        return False


def normalize_arguments(text: str) -> str | None:
    """Turn a call's whole arguments into the text of one JSON object.

    Args:
        text: JSON text of an object; the same encoded a second time as a string, in a Markdown code fence, with
            raw control characters; or nothing or `null` for no arguments.

    Returns:
        The object's JSON text, the given text itself where that is valid already; `None` if it is not an object.
    """
    stripped = text.strip()
    fence = _FENCE.match(stripped)
    if fence:
        stripped = stripped[fence.end() :].removesuffix("```").strip()
        if not stripped:
            return None
    if stripped in ("", "null"):
        return "{}"
    if is_object(stripped):
        return stripped
    try:
        value = load_json(stripped, strict=False)
        if isinstance(value, str):
            return normalize_arguments(value) if len(value) < len(text) else None
        if not isinstance(value, dict):
            return None
        return without_surrogates(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return None


def canonical(arguments: Any) -> str:
    """Arguments in a form in which they can be compared."""
    try:
        value = load_json(arguments, strict=False) if isinstance(arguments, str) else arguments
        return json.dumps(value, sort_keys=True)
    except (ValueError, RecursionError):
        return str(arguments).strip()


_OPENING_FENCE: Final = re.compile(r"```[\w-]*\s*\Z")
_OBJECT_BEGIN: Final = re.compile(r'\{(?=\s*+["}])')
_OPENING_LENGTH: Final = 40
_FIRST_WINDOW: Final = 256
_LONGEST_WORD: Final = 16


def find_json_object(text: str) -> dict[str, Any] | None:
    """Find the JSON object that an answer consists of or contains.

    Part of an object never counts: nothing is read from one that was cut off, or that breaks off in the middle.

    Args:
        text: The whole answer.

    Returns:
        The object that stands alone; else the last one that opens a code fence; else the first one. `None` if
        there is no object, or if the text as a whole is another JSON value.
    """
    stripped = text.strip()
    if stripped.startswith("[") and _decode(stripped, 0)[1] == len(stripped):
        return None
    first: dict[str, Any] | None = None
    fenced: dict[str, Any] | None = None
    begun = _OBJECT_BEGIN.search(stripped)
    while begun is not None:
        start = begun.start()
        value, end = _decode(stripped, start)
        if isinstance(value, dict):
            first = value if first is None else first
            if _OPENING_FENCE.search(stripped, max(0, start - _OPENING_LENGTH), start):
                fenced = value
        begun = _OBJECT_BEGIN.search(stripped, end)
    return first if fenced is None else fenced


def _decode(text: str, start: int) -> tuple[Any, int]:
    """The value that starts here and its end; or `None` and how far the text could be read.

    Nothing is read behind NaN, a number of thousands of digits, or thousands of nested objects.
    """
    # An error of json's counts the lines of all that it was given, so it is given little at first.
    size = _FIRST_WINDOW
    while True:
        window = text[start : start + size]
        try:
            value, end = LENIENT.raw_decode(window)
        except json.JSONDecodeError as error:
            is_cut = error.msg.startswith("Unterminated") or error.pos > size - _LONGEST_WORD
            if len(window) < size or not is_cut:
                return None, start + max(error.pos, 1)
        except (ValueError, RecursionError):
            return None, len(text)
        else:
            return value, start + end
        size *= 4
