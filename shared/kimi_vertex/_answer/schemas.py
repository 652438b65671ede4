"""Validators for tools' schemas, whose work is bounded whatever a schema says.

Schemas come from strangers too, as an MCP server's do, and what they judge is written by a model. So references are followed a
bounded number of times, and a pattern is not tried on a text that it could take too long for: that part then admits
everything. A schema that cannot be used at all is named once in the log, and its tool's calls go unchecked.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple, NoReturn

from kimi_vertex.errors import ConfigurationError

__all__ = ["TooMuchWork", "Validators", "bounded", "module", "refuse", "validators_for"]

logger = logging.getLogger("kimi_vertex")

_MOST_REFERENCES: Final = 20_000
"""How often references are followed for one call's arguments."""
_MOST_STEPS: Final = 10.0**7
"""How many steps an expression may take, as far as its repetitions tell."""
_MOST_REPETITIONS: Final = 4
_LONGEST_PATTERN: Final = 1_000
_DEEPEST: Final = 60
_left: ContextVar[list[int]] = ContextVar("kimi_vertex_references_left")


class TooMuchWork(Exception):
    """Arguments cannot be judged at a bounded cost."""


class Validators(NamedTuple):
    """The validators of one schema."""

    judge: Any
    """Says what the schema says."""
    strict: Any
    """The same, except that `5.0` is not an integer, so that it is found and repaired."""


@cache
def module(name: str) -> Any:
    """A module of jsonschema's.

    Raises:
        ConfigurationError: The package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        refuse()


def refuse() -> NoReturn:
    """Say what to install."""
    raise ConfigurationError(
        "Checking tool calls needs the package jsonschema: pip install 'kimi-vertex[validate]'."
    ) from None


def bounded() -> None:
    """Begin to judge one call's arguments."""
    _left.set([_MOST_REFERENCES])


@lru_cache(maxsize=256)
def validators_for(schema_text: str) -> Validators | None:
    """The validators for a schema; `None` if it cannot be used, which is logged once."""
    try:
        return _validators(schema_text)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - jsonschema raises what a strange schema makes of its code
        logger.warning(
            "A tool's schema cannot be used, so that calls of the tool are not checked: %s: %s. It begins with %s",
            type(error).__name__,
            str(error).partition("\n")[0][:200],
            schema_text[:200],
        )
        return None


def _validators(schema_text: str) -> Validators:
    jsonschema, schema = module("jsonschema"), _without_dear_patterns(json.loads(schema_text), 0)
    if _is_dear(schema_text):
        raise ValueError("it has unevaluated parts beside many references")
    base = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    base.check_schema(schema)
    checker = base.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    judge = jsonschema.validators.extend(base, _keywords(base))
    strict = jsonschema.validators.extend(judge, type_checker=checker)
    # It holds only the meta-schemas. The default registry would fetch what a schema refers to.
    registry = module("jsonschema_specifications").REGISTRY
    return Validators(judge(schema, registry=registry), strict(schema, registry=registry))


def _is_dear(schema_text: str) -> bool:
    return "unevaluated" in schema_text and schema_text.count('Ref"') + schema_text.count('$ref"') > 50


def _keywords(base: Any) -> dict[str, Any]:
    """What jsonschema checks without a bound, with one."""
    known = base.VALIDATORS
    counted = {
        name: _counted(known[name]) for name in ("$ref", "$dynamicRef", "$recursiveRef") if name in known
    }
    return {**counted, "pattern": _pattern, "uniqueItems": _unique_items}


def _counted(follow: Any) -> Any:
    def counted(validator: Any, reference: Any, value: Any, schema: Any) -> Iterator[Any]:
        left = _left.get()
        left[0] -= 1
        if left[0] < 0:
            raise TooMuchWork
        yield from follow(validator, reference, value, schema)

    return counted


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[Any]:
    if isinstance(value, str) and len(value) <= _longest_text(pattern) and not re.search(pattern, value):
        yield module("jsonschema").ValidationError(f"{value!r} does not match {pattern!r}")


def _unique_items(_: Any, unique: Any, value: Any, __: Any) -> Iterator[Any]:
    if unique is True and isinstance(value, list) and len(set(map(_key, value))) < len(value):
        yield module("jsonschema").ValidationError(f"{value!r} has non-unique elements")


def _key(value: Any) -> Any:
    """Equal for values that JSON Schema takes for equal: 1 is 1.0 and not true."""
    if isinstance(value, dict):
        return ("object", frozenset((name, _key(item)) for name, item in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(_key, value)))
    return (isinstance(value, bool), value)


def _without_dear_patterns(schema: Any, depth: int) -> Any:
    """The schema without patterns that could take for ever on a short text, and what depends on them."""
    if depth > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} deep")
    if isinstance(schema, list):
        return [_without_dear_patterns(item, depth + 1) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    left_out: set[str] = set()
    if isinstance(pattern := schema.get("pattern"), str) and not _longest_text(pattern):
        left_out = {"pattern"}
    names = schema.get("patternProperties")
    if isinstance(names, Mapping) and not all(map(_longest_text, names)):
        left_out |= {"patternProperties", "additionalProperties", "unevaluatedProperties"}
    return {
        name: item
        if name in ("enum", "const", "default", "examples")
        else _without_dear_patterns(item, depth + 1)
        for name, item in schema.items()
        if name not in left_out
    }


@lru_cache(maxsize=1024)
def _longest_text(pattern: str) -> int:
    """How long a text may be that a pattern is tried on; 0 for one that repeats a repetition, or is not an expression."""
    repetitions, nested = _repetitions(pattern[:_LONGEST_PATTERN])
    if (
        len(pattern) > _LONGEST_PATTERN
        or nested
        or repetitions > _MOST_REPETITIONS
        or re.search(r"\\[1-9]|\(\?P=", pattern)
    ):
        return 0
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return 0
    # Wherever it begins, each repetition can end anywhere behind.
    return int(_MOST_STEPS ** (1 / (repetitions + (not pattern.startswith("^")) or 1)))


_PART: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+(?:\]|\Z)|\(|\)[*+?{]?|[*+]|\{\d*(?:,\d*)?\}|.", re.DOTALL
)


def _repetitions(pattern: str) -> tuple[int, bool]:
    """How many repetitions a pattern has, and whether one of them repeats another or a choice."""
    count, nested, groups = 0, False, [False]
    for part in _PART.findall(pattern):
        if part == "(":
            groups.append(False)
        elif part[0] == ")":
            inner = groups.pop() if len(groups) > 1 else False
            nested = nested or (inner and part[-1] in "*+{")
            repeats = part[-1] in "*+{"
            count += repeats
            groups[-1] = groups[-1] or inner or repeats
        elif part in "*+" or (part[0] == "{" and len(part) > 2 and "," in part):
            count += 1
            groups[-1] = True
        elif part == "|":
            groups[-1] = True
    return count, nested
