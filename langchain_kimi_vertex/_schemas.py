"""Schemas of structured output, of every kind that users have: as JSON schema on the way out, as a reader on the way back."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.utils.function_calling import convert_to_openai_function
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, TypeAdapter
from typing_extensions import is_typeddict

from kimi_vertex import InvalidRequestError
from kimi_vertex.schemas import ObjectSchema, rooted

__all__ = ["Wanted", "first_line", "is_recursive", "read_schema"]

_KEYWORDS: Final = frozenset("type properties $ref anyOf oneOf allOf enum const items".split())


@dataclass(frozen=True, slots=True)
class Wanted(ObjectSchema):
    """What a schema asks for: a JSON schema, pydantic's own where it is a type, and a reader of decoded JSON."""

    read: Callable[[Any], Any] = lambda value: value
    """Makes the object. Raises `ValueError` if the JSON does not fit."""


def read_schema(schema: Any) -> Wanted:
    """Read a schema.

    Args:
        schema: A pydantic class, dataclass, TypedDict, Enum, union or other type that pydantic knows, a JSON schema, or
            a function in OpenAI's or Anthropic's form.

    Raises:
        InvalidRequestError: It is none of these.
    """
    try:
        return _read(schema)
    except Exception as error:
        name = getattr(schema, "__name__", None) or f"a {type(schema).__name__}"
        raise InvalidRequestError(
            f"{name} cannot be a schema of structured output: use a pydantic class, a dataclass, a TypedDict or a JSON "
            f"schema. {first_line(error)}"
        ) from error


def _read(schema: Any) -> Wanted:
    if isinstance(schema, Mapping):
        return _from_mapping(schema)
    if is_typeddict(schema):
        try:
            return _from_function(convert_to_openai_function(schema))
        except (RecursionError, TypeError, ValueError):
            # One that contains itself. Its values are dicts, so what pydantic knows of them is their schema.
            return Wanted.of(_schema_of(TypeAdapter(schema)), schema.__name__)
    if isinstance(schema, type) and is_basemodel_subclass(schema) and not issubclass(schema, BaseModel):
        old: Any = schema  # of pydantic's first version
        return replace(
            Wanted.of(old.schema(), schema.__name__, (schema.__doc__ or "").strip()), read=old.parse_obj
        )
    if inspect.isroutine(schema) or hasattr(schema, "args_schema"):
        return _from_function(convert_to_openai_function(schema))
    return _from_type(schema)


def _from_mapping(schema: Mapping[str, Any]) -> Wanted:
    if isinstance(schema.get("function"), Mapping):
        schema = schema["function"]
    if {"parameters", "input_schema", "inputSchema", "toolSpec"} & schema.keys():
        return _from_function(convert_to_openai_function(dict(schema)))
    name, inner = schema.get("name") or schema.get("title"), schema
    if isinstance(schema.get("schema"), Mapping):
        inner = schema["schema"]
        name = name or inner.get("title")
    if not _KEYWORDS & inner.keys():
        raise ValueError(f"It has none of {', '.join(sorted(_KEYWORDS))}.")
    return Wanted.of(_without_nullable(inner), name and str(name), schema.get("description"))


def _from_function(function: Mapping[str, Any]) -> Wanted:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Wanted.of(_without_nullable(parameters), function["name"], function.get("description"))


def _from_type(kind: Any) -> Wanted:
    adapter = TypeAdapter(kind)
    schema = _schema_of(adapter)

    def validated(value: Any) -> Any:
        # As JSON, in which dates and enums are texts, also for classes that are strict about Python's types.
        return adapter.validate_json(json.dumps(value))

    named = str(schema.get("title") or getattr(kind, "__name__", None) or "")
    return replace(Wanted.of(schema, named), read=validated)


def _schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    schema = rooted(adapter.json_schema())
    if not _KEYWORDS & schema.keys():
        raise ValueError("It admits anything.")
    return schema


def first_line(error: Exception) -> str:
    """The first line of what an error says, as a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0].rstrip('.')}."


def is_recursive(schema: Mapping[str, Any]) -> bool:
    """Whether a definition in a schema contains itself."""
    definitions: Mapping[str, Any] = schema.get("$defs") or {}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in _references(definitions.get(waiting.pop())):
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
        return seen

    return any(name in reached(name) for name in definitions)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix("#/$defs/")
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _without_nullable(value: Any) -> Any:
    """A schema in which OpenAPI's `nullable`, which JSON schema does not know, is a type."""
    if isinstance(value, list):
        return [_without_nullable(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    plain = {key: _without_nullable(inner) for key, inner in value.items()}
    if plain.get("nullable") is not True:
        if plain.get("nullable") is False:
            del plain["nullable"]
        return plain
    del plain["nullable"]
    kind = plain.get("type")
    if isinstance(kind, str):
        plain["type"] = [kind, "null"]
        if isinstance(plain.get("enum"), list) and None not in plain["enum"]:
            plain["enum"] = [*plain["enum"], None]
        return plain
    return {"anyOf": [plain, {"type": "null"}]}
