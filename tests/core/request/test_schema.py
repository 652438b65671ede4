"""Schemas in Moonshot's dialect: what a rewritten schema looks like, and that it admits what the original does."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_vertex._request.moonshot_schema import moonshot_schema, moonshot_tools
from kimi_vertex.errors import InvalidRequestError

ANY = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "object", "array", "null")]}
ALLOWED = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"enum", "minLength", "maxLength"},
    "number": {"enum", "minimum", "maximum"},
    "integer": {"enum", "minimum", "maximum"},
    "boolean": set[str](),
    "null": set[str](),
}

# One property's schema, and what becomes of it.
PROPERTIES: list[tuple[str, Any, dict[str, Any]]] = [
    ("plain", {"type": "string", "description": "d"}, {"type": "string", "description": "d"}),
    ("default stays", {"type": "integer", "default": 3}, {"type": "integer", "default": 3}),
    ("title goes", {"type": "string", "title": "City"}, {"type": "string"}),
    ("format and pattern go", {"type": "string", "format": "date", "pattern": "^2"}, {"type": "string"}),
    ("unknown keywords go", {"type": "string", "x-order": 1, "examples": ["a"]}, {"type": "string"}),
    ("anything", {}, ANY),
    ("anything, described", {"description": "d"}, {**ANY, "description": "d"}),
    ("true", True, ANY),
    ("const text", {"const": "a"}, {"type": "string", "enum": ["a"]}),
    ("const number", {"const": 5}, {"type": "integer", "enum": [5]}),
    ("const null", {"const": None}, {"type": "null"}),
    ("const boolean is no integer", {"const": True}, {"type": "boolean"}),
    ("enum without type", {"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
    ("enum of numbers", {"enum": [1, 2.5]}, {"type": "number", "enum": [1, 2.5]}),
    (
        "enum with null",
        {"enum": ["a", None]},
        {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]},
    ),
    (
        "enum of mixed types",
        {"enum": ["a", 1]},
        {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}]},
    ),
    ("enum values of another type go", {"type": "string", "enum": ["a", 1]}, {"type": "string", "enum": ["a"]}),
    ("enum of no such type goes", {"type": "string", "enum": [1]}, {"type": "string"}),
    ("several types", {"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    ("one type in a list", {"type": ["string"]}, {"type": "string"}),
    (
        "several types, each with its keywords",
        {"type": ["object", "null"], "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {
            "anyOf": [
                {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"type": "null"},
            ]
        },
    ),
    ("nullable", {"type": "string", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    ("told by properties", {"properties": {"a": {"type": "null"}}}, {"type": "object", "properties": {"a": {"type": "null"}}}),
    ("told by items", {"items": {"type": "string"}}, {"type": "array", "items": {"type": "string"}}),
    ("told by a length", {"minLength": 1}, {"type": "string", "minLength": 1}),
    ("told by a bound", {"maximum": 9}, {"type": "number", "maximum": 9}),
    ("oneOf", {"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
    (
        "type beside anyOf",
        {"type": "string", "anyOf": [{"minLength": 1}, {"enum": [""]}], "description": "d"},
        {"anyOf": [{"type": "string", "minLength": 1}, {"type": "string", "enum": [""]}], "description": "d"},
    ),
    (
        "anyOf in anyOf",
        {"anyOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "null"}]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
    ),
    ("anyOf of one", {"anyOf": [{"type": "string"}], "description": "d"}, {"type": "string", "description": "d"}),
    (
        "allOf",
        {"allOf": [{"type": "string", "minLength": 1}, {"minLength": 2, "maxLength": 9}]},
        {"type": "string", "minLength": 2, "maxLength": 9},
    ),
    (
        "allOf of objects",
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"type": "null"}}, "required": ["b"]},
            ]
        },
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "null"}},
            "required": ["a", "b"],
        },
    ),
    ("list without items", {"type": "array"}, {"type": "array"}),
    ("list of anything", {"type": "array", "items": {}}, {"type": "array"}),
    (
        "tuple",
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}, {"type": "string"}], "minItems": 3},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "minItems": 3},
    ),
    ("old tuple", {"type": "array", "items": [{"type": "string"}]}, {"type": "array", "items": {"type": "string"}}),
    ("bounds that are none", {"type": "string", "minLength": -1, "maxLength": "9"}, {"type": "string"}),
    ("bounds that exclude all", {"type": "string", "minLength": 5, "maxLength": 2}, {"type": "string"}),
    ("negative minimum", {"type": "number", "minimum": -90, "maximum": 90}, {"type": "number", "minimum": -90, "maximum": 90}),
    ("exclusive integers", {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9.5}, {"type": "integer", "minimum": 1, "maximum": 9}),
    ("exclusive numbers", {"type": "number", "exclusiveMinimum": 0}, {"type": "number", "minimum": 0}),
    ("map", {"type": "object", "additionalProperties": {"format": "uri", "type": "string"}}, {"type": "object", "additionalProperties": {"type": "string"}}),
    ("open map", {"type": "object", "additionalProperties": {}}, {"type": "object", "additionalProperties": True}),
    ("closed", {"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
    ("required but unknown", {"type": "object", "properties": {}, "required": ["a"]}, {"type": "object", "properties": {}}),
    ("conditions go", {"type": "string", "if": {}, "then": {}, "not": {}}, {"type": "string"}),
    ("a reference elsewhere", {"$ref": "https://example.com/s.json", "description": "d"}, {**ANY, "description": "d"}),
    ("a reference to nothing", {"$ref": "#/$defs/gone"}, ANY),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"), [case[1:] for case in PROPERTIES], ids=[c[0] for c in PROPERTIES]
)
def test_property(given: Any, expected: dict[str, Any]) -> None:
    """Each form of a property's schema has one form in Moonshot's dialect."""
    rewritten = moonshot_schema({"type": "object", "properties": {"p": given}})
    assert rewritten == {"type": "object", "properties": {"p": expected}}
    assert list(_faults(rewritten)) == []


EMPTY = {"type": "object", "properties": {}}
ROOTS: list[tuple[str, Any, dict[str, Any]]] = [
    ("nothing", None, EMPTY),
    ("empty", {}, EMPTY),
    ("untyped", {"properties": {"a": {"type": "null"}}}, {"type": "object", "properties": {"a": {"type": "null"}}}),
    ("no object", {"type": "string"}, EMPTY),
    ("nullable", {"type": ["object", "null"]}, EMPTY),
    ("meta data", {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T", "description": "d"}, {**EMPTY, "description": "d"}),
    (
        "definitions",
        {"type": "object", "properties": {"a": {"$ref": "#/definitions/A", "description": "d", "default": 1}}, "definitions": {"A": {"const": 1}, "B": {}}},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/A", "description": "d"}},
            "$defs": {"A": {"type": "integer", "enum": [1]}},
        },
    ),
    (
        "pydantic's reference in allOf",
        {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#/$defs/A"}], "description": "d"}}, "$defs": {"A": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/A", "description": "d"}}, "$defs": {"A": {"type": "string"}}},
    ),
    (
        "reference merged with more",
        {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#/$defs/A"}, {"maxLength": 3}]}}, "$defs": {"A": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}},
    ),
    (
        "recursion",
        {"$ref": "#/$defs/Node", "$defs": {"Node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}}},
        {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
            "$defs": {"Node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}},
        },
    ),
    (
        "recursion to the root",
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
    ),
    (
        "names with a slash",
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/x~1y"}}, "$defs": {"x/y": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/x_y"}}, "$defs": {"x_y": {"type": "string"}}},
    ),
    (
        "reference to a property",
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}}},
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}},
    ),
    (
        "alternatives",
        {
            "oneOf": [
                {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "string"}}, "required": ["kind", "x"]},
                {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]},
            ]
        },
        {
            "type": "object",
            "properties": {
                "kind": {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["b"]}]},
                "x": {"type": "string"},
            },
            "required": ["kind"],
        },
    ),
    (
        "alternatives of required names",
        {"type": "object", "properties": {"a": {"type": "null"}}, "anyOf": [{"required": ["a"]}, {}]},
        {"type": "object", "properties": {"a": {"type": "null"}}},
    ),
    (
        "properties with the names of keywords",
        {
            "type": "object",
            "properties": {
                name: {"type": "string", "title": name}
                for name in ("default", "format", "title", "const", "allOf", "properties", "items", "type", "enum")
            },
            "required": ["default", "title"],
        },
        {
            "type": "object",
            "properties": {
                name: {"type": "string"}
                for name in ("default", "format", "title", "const", "allOf", "properties", "items", "type", "enum")
            },
            "required": ["default", "title"],
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), [case[1:] for case in ROOTS], ids=[c[0] for c in ROOTS])
def test_root(given: Any, expected: dict[str, Any]) -> None:
    """The root is always an object, with every definition that is in use, and no other."""
    before = copy.deepcopy(given)
    rewritten = moonshot_schema(given)
    assert rewritten == expected
    assert list(_faults(rewritten)) == []
    assert given == before


def test_tools() -> None:
    """A tool keeps all but `strict` and its schema; one that is no function stays as it is."""
    tools: list[dict[str, Any]] = [
        {"type": "function", "function": {"name": "f", "description": "d", "strict": True, "parameters": {"$id": "x"}}},
        {"type": "function", "function": {"name": "g"}},
        {"type": "builtin"},
    ]  # fmt: skip
    assert moonshot_tools(tools) == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": EMPTY}},
        {"type": "function", "function": {"name": "g", "parameters": EMPTY}},
        {"type": "builtin"},
    ]


def test_endless_schema() -> None:
    """A schema that contains itself is refused with the tool's position."""
    endless: dict[str, Any] = {"type": "object"}
    endless["properties"] = {"a": endless}
    with pytest.raises(InvalidRequestError, match=r"tools\[0\] contains itself"):
        moonshot_tools([{"type": "function", "function": {"name": "f", "parameters": endless}}])


_bounds = st.fixed_dictionaries(
    {},
    optional={
        "minLength": st.integers(-2, 5),
        "maxLength": st.integers(-2, 5),
        "minimum": st.integers(-5, 5) | st.floats(-5, 5),
        "exclusiveMaximum": st.integers(-5, 5) | st.booleans(),
        "minItems": st.integers(0, 3),
        "format": st.just("date"),
        "title": st.text(max_size=3),
        "description": st.text(max_size=3) | st.none(),
        "default": st.none() | st.integers(),
        "nullable": st.booleans(),
        "enum": st.lists(st.none() | st.booleans() | st.integers() | st.text(max_size=2), max_size=3),
        "const": st.none() | st.booleans() | st.integers(),
    },
)
_kinds = st.sampled_from([*ALLOWED])
_names = st.sampled_from(["a", "b", "default", "type", "properties", "$defs"])
_references = st.sampled_from(
    ["#", "#/$defs/a", "#/$defs/b", "#/$defs/x~1y", "#/properties/a", "#/nothing", "http://x"]
)


def _nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    structure = st.fixed_dictionaries(
        {},
        optional={
            "type": _kinds | st.lists(_kinds, max_size=3),
            "properties": st.dictionaries(_names, children, max_size=3),
            "required": st.lists(_names, max_size=2),
            "additionalProperties": st.booleans() | children,
            "patternProperties": st.dictionaries(_names, children, max_size=1),
            "items": children | st.lists(children, max_size=2),
            "prefixItems": st.lists(children, max_size=2),
            "anyOf": st.lists(children, max_size=2),
            "oneOf": st.lists(children, max_size=2),
            "allOf": st.lists(children, max_size=2),
            "not": children,
            "$ref": _references,
        },
    )
    return st.builds(lambda one, other: {**one, **other}, structure, _bounds)


_schemas = st.recursive(st.booleans() | _bounds, _nested, max_leaves=8)


@settings(max_examples=150, deadline=None)
@given(_schemas, st.dictionaries(st.sampled_from(["a", "b", "x/y"]), _schemas, max_size=3))
def test_any_schema(schema: Any, definitions: dict[str, Any]) -> None:
    """Whatever the schema, the rewritten one keeps to the dialect, and the original is untouched."""
    if isinstance(schema, dict):
        schema = {**schema, "$defs": definitions}
    before = copy.deepcopy(schema)
    try:
        rewritten = moonshot_tools([{"function": {"name": "f", "parameters": schema}}])[0]["function"][
            "parameters"
        ]
    except InvalidRequestError:
        return
    assert list(_faults(rewritten)) == []
    assert json.dumps(schema) == json.dumps(before)


def _faults(root: Mapping[str, Any]) -> Iterator[str]:
    """What Moonshot's own checker would say, on its strictest level."""
    if root.get("type") != "object":
        yield "the root is no object"
    yield from _faults_in({key: value for key, value in root.items() if key != "$defs"}, "root", root)
    for name, schema in root.get("$defs", {}).items():
        if "/" in name:
            yield f"the name {name}"
        yield from _faults_in(schema, f"$defs.{name}", root)


def _faults_in(schema: Any, path: str, root: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield f"{path} is no object"
        return
    if not isinstance(schema.get("description", ""), str):
        yield f"{path} has a description that is no text"
    keys = set(schema) - {"description"}
    if "$ref" in keys:
        reference = schema["$ref"]
        if keys != {"$ref"} or not (reference == "#" or reference.removeprefix("#/$defs/") in root["$defs"]):
            yield f"{path} has {schema}"
    elif "anyOf" in keys:
        if keys != {"anyOf"} or not schema["anyOf"]:
            yield f"{path} has {sorted(keys)}"
        for index, branch in enumerate(schema["anyOf"]):
            yield from _faults_in(branch, f"{path}.anyOf[{index}]", root)
    elif not isinstance(schema.get("type"), str):
        yield f"{path} has no type"
    else:
        yield from _faults_of_type(schema, path, root)


def _faults_of_type(schema: dict[str, Any], path: str, root: Mapping[str, Any]) -> Iterator[str]:
    unknown = set(schema) - {"description", "default", "type"} - ALLOWED[schema["type"]]
    if unknown:
        yield f"{path} has {sorted(unknown)}"
    if not set(schema.get("required", ())) <= set(schema.get("properties", ())):
        yield f"{path} requires an unknown property"
    if len({type(value) for value in schema.get("enum", ())} - {int}) > 1 or schema.get("enum") == []:
        yield f"{path} has values of several types"
    for lowest, highest in (("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum")):
        if schema.get(lowest, 0) > schema.get(highest, schema.get(lowest, 0)):
            yield f"{path} admits nothing"
    for name, child in schema.get("properties", {}).items():
        yield from _faults_in(child, f"{path}.{name}", root)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key, True), dict):
            yield from _faults_in(schema[key], f"{path}.{key}", root)
