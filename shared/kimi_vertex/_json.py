"""Reads and writes JSON on the wire, and says where in a request something is that JSON cannot hold.

orjson does the work; what it refuses and the standard parser tolerates stays tolerated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from .errors import InvalidRequestError

__all__ = ["Texts", "encode", "loads"]


class Texts(list[dict[str, Any]]):
    """Objects that hold text and nothing else, which every JSON encoder writes alike."""


def loads(data: str | bytes) -> Any:
    """Decode JSON; lone surrogates in it are kept. Integers beyond 64 bits become floats.

    Args:
        data: Text, or its bytes in UTF-8; what is no UTF-8 in them becomes U+FFFD.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data if isinstance(data, str) else data.decode("utf-8-sig", "replace"))


def encode(body: Mapping[str, Any]) -> bytes:
    """Write `body` as compact JSON in UTF-8.

    Mappings of any kind are objects. Halves of a surrogate pair that meet in the text become the character that
    they are halves of; lone ones, which UTF-8 does not have, become U+FFFD.

    Raises:
        InvalidRequestError: It holds something that JSON cannot.
    """
    try:
        # orjson writes null for NaN, and values of types that are no JSON: it gets only what cannot hold any.
        return orjson.dumps(
            {
                key: value if type(value) is Texts else orjson.Fragment(_dumps(value))
                for key, value in body.items()
            }
        )
    except (TypeError, ValueError, RecursionError):
        pass  # keys that are no text, and lone surrogates, are no fault
    try:
        return _dumps(body)
    except (TypeError, ValueError, RecursionError) as error:
        what = next(_culprits(body, "", ()), None) or f"{error}"
        raise InvalidRequestError(f"The request cannot be written as JSON: {what}.") from None


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
            yield f"{place} is {value}, which is no number in JSON"
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
