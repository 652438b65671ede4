"""Judges a tool call's arguments by the tool's JSON schema, and repairs what leaves no doubt.

A repair changes how a value is written, never what it says: a value encoded as a string, a whole number written
as `5.0`, one item where a list of such items is wanted. Nothing is looked up outside the schema.
"""

from __future__ import annotations

import copy
import importlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from kimi_vertex._json import normalize_arguments
from kimi_vertex.errors import ConfigurationError

__all__ = ["CheckedArguments", "check_arguments", "load_validators"]

_PYTHON: Final = {"True": True, "False": False, "None": None}
_ENCODED: Final = re.compile(r'\s*(?:[\[{"].*|-?\d.*|true|false|null)\s*', re.DOTALL)
_FIXABLE: Final = frozenset({"type", "enum", "const", "anyOf", "oneOf"})
_LONGEST_REASON: Final = 300
_LONGEST_VALUE: Final = 80
_PASSES: Final = 8
_DEPTH: Final = 8
_STEPS: Final = 300
_LARGEST_INTEGER: Final = 2**53


@dataclass(frozen=True, slots=True)
class CheckedArguments:
    """What became of a call's arguments."""

    arguments: str
    """JSON text of an object that the schema admits; the given text itself if nothing was repaired, or could be."""
    error: str | None = None
    """Why the call must not be executed, in one line that names the place; `None` if it may."""
    repaired: tuple[str, ...] = ()
    """The places that were repaired."""


def check_arguments(schema: Mapping[str, Any], arguments: str, *, repair: bool) -> CheckedArguments:
    """Judge the arguments of one call.

    A schema that is none itself, or that refers to others elsewhere, admits everything: a tool's mistake is not
    the model's.

    Args:
        schema: The JSON schema of the tool's parameters.
        arguments: JSON text as the model wrote it.
        repair: Whether to repair values that are certain but written in another way than the schema wants.

    Raises:
        ConfigurationError: The package jsonschema is not installed.
    """
    validators = _validators(json.dumps(schema, sort_keys=True, default=_plain))
    normal = normalize_arguments(arguments)
    if normal is None:
        return CheckedArguments(arguments, "the arguments are not a JSON object")
    if validators is None:
        return CheckedArguments(normal)
    value = json.loads(normal)
    try:
        if not repair:
            return CheckedArguments(normal, _reason(validators.judge, value))
        repaired = _Repairer().repair(value, validators.strict)
        better = repaired if isinstance(repaired, dict) else value
        reason = _reason(validators.judge, better)
    except (_module("referencing.exceptions").Unresolvable, RecursionError):
        return CheckedArguments(normal)
    if reason is not None:
        return CheckedArguments(normal, reason)
    places = tuple(_changed(value, better, ""))
    return CheckedArguments(json.dumps(better, ensure_ascii=False) if places else normal, repaired=places)


def load_validators() -> None:
    """Import the package jsonschema now, so that it is known to be there.

    Raises:
        ConfigurationError: It is not installed.
    """
    _module("jsonschema")


class _Validators(NamedTuple):
    judge: Any
    """Says what the schema says."""
    strict: Any
    """The same, but `5.0` is no integer, so that it is found and repaired."""


@cache
def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(
            "Checking tool calls needs the package jsonschema: pip install 'kimi-vertex[validate]'."
        ) from None


@lru_cache(maxsize=256)
def _validators(schema_text: str) -> _Validators | None:
    """The validators for a schema; `None` if it is no valid schema."""
    jsonschema, schema = _module("jsonschema"), json.loads(schema_text)
    base = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        base.check_schema(schema)
    except jsonschema.exceptions.SchemaError:
        return None
    checker = base.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    strict = jsonschema.validators.extend(base, type_checker=checker)
    # Holds the meta-schemas only. The default would fetch what a schema refers to.
    registry = _module("jsonschema_specifications").REGISTRY
    return _Validators(base(schema, registry=registry), strict(schema, registry=registry))


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _reason(validator: Any, value: Any) -> str | None:
    error = _module("jsonschema.exceptions").best_match(validator.iter_errors(value))
    if error is None:
        return None
    message, shown = error.message, repr(error.instance)
    if len(shown) > _LONGEST_VALUE:
        message = message.replace(shown, f"{shown[:_LONGEST_VALUE]}...")
    return f"{_place(error.absolute_path)}: {' '.join(message.split())}"[:_LONGEST_REASON]


def _place(path: Any) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "arguments"


_NONE: Final = object()
_WRAPPED: Final = 3


class _Fit(NamedTuple):
    """A value that a schema admits, and how far it is from the given one."""

    distance: int
    value: Any


class _Repairer:
    """Finds the one value that a schema can have meant; gives up when that takes too long."""

    def __init__(self) -> None:
        self._steps = 0  # tries inside of tries, which is what can explode
        self._depth = 0

    def repair(self, value: Any, validator: Any) -> Any:
        """The value with all certain repairs made; it may still be wrong. The given one is not changed."""
        if self._depth == _DEPTH or self._steps > _STEPS:
            return value
        self._depth += 1
        for _ in range(_PASSES):
            changes = self._changes(value, validator)
            if not changes:
                break
            value = copy.deepcopy(value)
            for path in sorted(changes, key=len, reverse=True):
                value = _put(value, path, changes[path])
        self._depth -= 1
        return value

    def _changes(self, value: Any, validator: Any) -> dict[tuple[Any, ...], Any]:
        changes: dict[tuple[Any, ...], Any] = {}
        for error in validator.iter_errors(value):
            path = tuple(error.path)
            if self._steps > _STEPS:
                break
            if error.validator in _FIXABLE and path not in changes:
                best = _single(list(self._fits(error, validator.evolve(schema=error.schema))))
                if best is not None:
                    changes[path] = best.value
        return changes

    def _fits(self, error: Any, validator: Any) -> Iterator[_Fit]:
        """All that the value can stand for and that the schema at its place admits; at least the nearest."""
        value, found = error.instance, _WRAPPED
        for candidate in sorted(_candidates(value), key=lambda fit: fit.distance):
            if candidate.distance > found:
                break
            self._steps += self._depth > 1
            better = self._admitted(candidate.value, validator)
            if better is _NONE or (candidate.distance == _WRAPPED and _is_wrapped_twice(better, value)):
                continue
            found = candidate.distance
            yield _Fit(found, better)
        if error.validator in ("anyOf", "oneOf") and isinstance(value, dict | list):
            for branch in error.validator_value:
                self._steps += self._depth > 1
                better = self.repair(value, validator.evolve(schema=branch))
                if type(better) is type(value) and not _same(better, value) and validator.is_valid(better):
                    yield _Fit(1, better)

    def _admitted(self, candidate: Any, validator: Any) -> Any:
        if validator.is_valid(candidate):
            return candidate
        if isinstance(candidate, list | dict):
            candidate = self.repair(candidate, validator)
            if validator.is_valid(candidate):
                return candidate
        return _NONE


def _single(fits: list[_Fit]) -> _Fit | None:
    """The nearest fit, if no other is as near."""
    nearest = [fit for fit in fits if fit.distance == min(other.distance for other in fits)]
    return nearest[0] if nearest and all(_same(fit.value, nearest[0].value) for fit in nearest) else None


def _candidates(value: Any) -> Iterator[_Fit]:
    """What else a value may have been meant to be: the value inside a string, an integer, or a list of it."""
    items = [value]
    if isinstance(value, str):
        decoded = _decoded(value)
        if decoded is not value:
            yield _Fit(1, decoded)
            items.append(decoded)
        if decoded is None or not _is_one_item(value):
            items.remove(value)
    for item in items:
        if isinstance(item, float) and item.is_integer() and abs(item) <= _LARGEST_INTEGER:
            yield _Fit(2, int(item))
        if item is not None and not isinstance(item, list):
            yield _Fit(_WRAPPED, [item])


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
    """Whether a string is no list in disguise, such as `a, b` or a damaged `["a", "b"`."""
    return bool(text.strip()) and not re.search(r"[,;\n]|^\s*[\[{(]", text)


def _is_wrapped_twice(better: list[Any], value: Any) -> bool:
    return bool(better) and isinstance(better[0], list) and not isinstance(value, list)


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
    """Equality as JSON has it, where neither 1 and true nor 1 and 1.0 are the same text."""
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
