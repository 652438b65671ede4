"""Checks a tool call's arguments against the tool's JSON schema, and repairs what is certain.

A repair changes how a value is written, never what it says: a value encoded as a string, a whole number written
as `5.0`, one item where a list of such items is wanted. Nothing is looked up outside the schema.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from kimi_vertex._json import normalize_arguments
from kimi_vertex._tools import missing_arguments
from kimi_vertex.errors import ConfigurationError
from kimi_vertex.options import ToolValidation

from .schemas import Validators, bounded, module, refuse, validators_for

__all__ = [
    "CheckedArguments",
    "can_validate",
    "check_arguments",
    "check_plainly",
    "check_validators",
]

logger = logging.getLogger("kimi_vertex")

_PYTHON: Final = {"True": True, "False": False, "None": None}
_ENCODED: Final = re.compile(r'\s*(?:[\[{"].*|-?\d.*|true|false|null)\s*', re.DOTALL)
_FIXABLE: Final = frozenset({"type", "enum", "const", "anyOf", "oneOf"})
_LONGEST_REASON: Final = 300
_LONGEST_VALUE: Final = 80
_DEPTH: Final = 3
_MOST_ERRORS: Final = 100
_LARGEST_INTEGER: Final = 2**53


@dataclass(frozen=True, slots=True)
class CheckedArguments:
    """The verdict on a call's arguments."""

    arguments: str
    """The JSON text; the given one itself unless something was repaired."""
    error: str | None = None
    """Why the call must not be executed, in one line that names the place; `None` if it may."""
    repaired: tuple[str, ...] = ()
    """The places that were repaired."""


def check_arguments(schema: Mapping[str, Any], arguments: str, *, repair: bool) -> CheckedArguments:
    """Judge the arguments of one call.

    A schema that is not valid, that refers to a schema elsewhere, or that cannot be judged at a bounded cost, admits
    everything: the model is not blamed for the tool's mistake. A log line names a schema that cannot be used, once.

    Args:
        schema: The JSON schema of the tool's parameters.
        arguments: JSON text as the model wrote it.
        repair: Whether to repair values whose meaning is certain but whose form is not the schema's.

    Raises:
        ConfigurationError: The package jsonschema is not installed.
    """
    validators = _validators(schema)
    normal = normalize_arguments(arguments)
    if normal is None:
        return CheckedArguments(arguments, "the arguments are not a JSON object")
    if validators is None:
        return CheckedArguments(normal)
    value = json.loads(normal)
    bounded()
    try:
        if not repair:
            return CheckedArguments(normal, _reason(validators.judge, value))
        repaired = _repair(value, validators.strict.iter_errors(value), validators.strict)
        better = repaired if isinstance(repaired, dict) else value
        reason = _reason(validators.judge, better)
    except Exception:
        logger.debug("The arguments of a call were not checked.", exc_info=True)
        return CheckedArguments(normal)
    if reason is not None:
        return CheckedArguments(normal, reason)
    places = tuple(_changed(value, better, ""))
    return CheckedArguments(json.dumps(better, ensure_ascii=False) if places else normal, repaired=places)


def check_plainly(schema: Mapping[str, Any], arguments: str) -> str | None:
    """Why a call cannot be executed, as far as that can be said without jsonschema; `None` if it may."""
    normal = normalize_arguments(arguments)
    if normal is None:
        return "the arguments are not a JSON object"
    missing = missing_arguments(schema, json.loads(normal))
    return f"arguments: {missing[0]!r} is a required property" if missing else None


def check_validators(validation: ToolValidation) -> None:
    """Find the package jsonschema, if the setting cannot do without it.

    Raises:
        ConfigurationError: It is not installed.
    """
    if validation in ("flag", "repair") and importlib.util.find_spec("jsonschema") is None:
        refuse()


def can_validate() -> bool:
    """Whether jsonschema is installed; it is imported then."""
    try:
        module("jsonschema")
    except ConfigurationError:
        return False
    return True


def _validators(schema: Mapping[str, Any]) -> Validators | None:
    try:
        text = json.dumps(schema, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return None
    return validators_for(text)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _reason(validator: Any, value: Any) -> str | None:
    error = module("jsonschema.exceptions").best_match(islice(validator.iter_errors(value), _MOST_ERRORS))
    if error is None:
        return None
    message, shown = error.message, repr(error.instance)
    if len(shown) > _LONGEST_VALUE:
        message = message.replace(shown, f"{shown[:_LONGEST_VALUE]}...")
    return f"{_place(error.absolute_path)}: {' '.join(message.split())}"[:_LONGEST_REASON]


def _place(path: Any) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "arguments"


def _repair(value: Any, errors: Iterable[Any], validator: Any, depth: int = _DEPTH) -> Any:
    """A copy of the value in which each wrong place is written as the schema wants it, if that is certain.

    Args:
        value: The value.
        errors: What is wrong with it.
        validator: The schema.
        depth: How many repairs may be made one inside the other.
    """
    changes: dict[tuple[Any, ...], Any] = {}
    for error in errors if depth else ():
        path = tuple(error.path)
        if error.validator in _FIXABLE and path not in changes:
            for readings in _readings(error, validator.evolve(schema=error.schema), depth - 1):
                if readings:
                    if all(_same(reading, readings[0]) for reading in readings):
                        changes[path] = readings[0]
                    break
    if changes:
        value = copy.deepcopy(value)
    for path in sorted(changes, key=len, reverse=True):
        value = _put(value, path, changes[path])
    return value


def _readings(error: Any, validator: Any, depth: int) -> Iterator[list[Any]]:
    """What a wrong value can stand for, as far as the schema admits it; the most likely first.

    The value that is encoded in a string, or what an alternative makes of an object or list; a whole number that
    is written as a float; one item where a list is wanted.
    """
    value = error.instance
    decoded = _decoded(value) if isinstance(value, str) else value
    if isinstance(value, dict | list):
        yield list(_by_alternatives(value, error, validator, depth))
    elif decoded is not value:
        yield _admitted([decoded], validator, depth)
    if isinstance(decoded, float) and decoded.is_integer() and abs(decoded) <= _LARGEST_INTEGER:
        yield _admitted([int(decoded)], validator, depth)
    if decoded is not None and not isinstance(decoded, list):
        items = [value] if decoded is value else [value, decoded]
        if isinstance(value, str) and not _is_one_item(value):
            items.remove(value)
        lists = _admitted([[item] for item in items], validator, depth)
        yield [item for item in lists if not isinstance(item[0], list)]


def _by_alternatives(value: Any, error: Any, validator: Any, depth: int) -> Iterator[Any]:
    """The value as each alternative of the schema would have it."""
    alternatives = error.validator_value if error.validator in ("anyOf", "oneOf") else ()
    for number, schema in enumerate(alternatives):
        errors = [inner for inner in error.context if inner.schema_path[0] == number]
        better = _repair(value, errors, validator, depth)
        fits = better is not value and validator.evolve(schema=schema).is_valid(better)
        if fits and validator.is_valid(better):
            yield better


def _admitted(candidates: list[Any], validator: Any, depth: int) -> list[Any]:
    """Those that the schema admits, as they are or, if they hold other values, repaired."""
    better = [
        item
        if not isinstance(item, dict | list) or validator.is_valid(item)
        else _repair(item, validator.iter_errors(item), validator, depth)
        for item in candidates
    ]
    return [item for item in better if validator.is_valid(item)]


def _decoded(text: str) -> Any:
    """The JSON value in a string, or the string itself."""
    if text in _PYTHON:
        return _PYTHON[text]
    if not _ENCODED.fullmatch(text):
        return text
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
        return text
    return value


def _is_one_item(text: str) -> bool:
    """Whether a string is one item, and not a list in disguise such as `a, b` or a damaged `["a", "b"`."""
    return bool(text.strip()) and not re.search(r"[,;\n]|^\s*[\[{(]", text)


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """`value`, changed at `path`; at no path, the new value itself."""
    if not path:
        return new
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return value


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON text: 1 is neither true nor 1.0."""
    return type(one) is type(other) and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _changed(old: Any, new: Any, path: str) -> Iterator[str]:
    """The places where two values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            yield from _changed(value, new[key], f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, value in enumerate(old):
            yield from _changed(value, new[index], f"{path}[{index}]")
    elif not _same(old, new):
        yield path.removeprefix(".")
