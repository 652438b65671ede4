"""Arguments judged by a tool's schema: what is repaired, what is reported, and what is left alone."""

from __future__ import annotations

import cProfile
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from kimi_vertex._answer.validation import check_arguments


def object_of(**properties: Any) -> dict[str, Any]:
    """A tool's parameters with these properties."""
    return {"type": "object", "properties": properties}


TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
BOOLEAN, NULL = {"type": "boolean"}, {"type": "null"}
POINT = {"type": "object", "properties": {"x": INTEGER, "y": INTEGER}, "required": ["x", "y"]}


def list_of(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def optional(*schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*schemas, NULL]}


# The schema of the property `p`, the value that the model wrote, and the value that it can only have meant.
REPAIRS: list[tuple[str, Mapping[str, Any], Any, Any]] = [
    ("integer in a string", INTEGER, "5", 5),
    ("negative integer in a string", INTEGER, "-5", -5),
    ("integer as float in a string", INTEGER, "5.0", 5),
    ("number in a string", NUMBER, "2.5", 2.5),
    ("whole number in a string stays a number", NUMBER, "5.0", 5.0),
    ("boolean in a string", BOOLEAN, "true", True),
    ("Python's boolean in a string", BOOLEAN, "False", False),
    ("null in a string", NULL, "null", None),
    ("null in a string, optional", optional(INTEGER), "null", None),
    ("Python's None in a string, optional", optional(INTEGER), "None", None),
    ("integer in a string, optional", optional(INTEGER), "5", 5),
    ("several types", {"type": ["integer", "null"]}, "5", 5),
    ("enum of numbers", {"enum": [1, 2]}, "2", 2),
    ("const", {"const": 5}, "5", 5),
    ("integral float", INTEGER, 5.0, 5),
    ("integral float, optional", optional(INTEGER), 5.0, 5),
    ("encoded list", list_of(TEXT), '["a", "b"]', ["a", "b"]),
    ("encoded empty list", list_of(TEXT), "[]", []),
    ("encoded object", POINT, '{"x": 1, "y": 2}', {"x": 1, "y": 2}),
    ("encoded object with encoded values", POINT, '{"x": "1", "y": 2.0}', {"x": 1, "y": 2}),
    ("encoded list of encoded objects", list_of(POINT), '["{\\"x\\": 1, \\"y\\": 2}"]', [{"x": 1, "y": 2}]),
    ("encoded with a raw line break", list_of(TEXT), '["a\nb"]', ["a\nb"]),
    ("values in a list", list_of(INTEGER), ["1", 2, 3.0], [1, 2, 3]),
    ("values in objects in a list", list_of(POINT), [{"x": "1", "y": 2}], [{"x": 1, "y": 2}]),
    ("lone text", list_of(TEXT), "a", ["a"]),
    ("lone number", list_of(INTEGER), 5, [5]),
    ("lone number in a string", list_of(INTEGER), "5", [5]),
    ("lone text of digits", list_of(TEXT), "5", ["5"]),
    ("lone boolean", list_of(BOOLEAN), True, [True]),
    ("lone object", list_of(POINT), {"x": 1, "y": 2}, [{"x": 1, "y": 2}]),
    ("lone object, encoded", list_of(POINT), '{"x": 1, "y": 2}', [{"x": 1, "y": 2}]),
    ("lone object to be repaired", optional(list_of(POINT)), {"x": "1", "y": 2}, [{"x": 1, "y": 2}]),
    ("inside an alternative", optional(POINT), {"x": "1", "y": 2}, {"x": 1, "y": 2}),
    (
        "inside the alternative that its mark names",
        {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"kind": {"const": "a"}, "n": INTEGER},
                    "required": ["kind"],
                },
                {
                    "type": "object",
                    "properties": {"kind": {"const": "b"}, "n": INTEGER},
                    "required": ["kind"],
                },
            ]
        },
        {"kind": "b", "n": "5"},
        {"kind": "b", "n": 5},
    ),
    ("the nearer of two readings", {"anyOf": [list_of(INTEGER), INTEGER]}, "5", 5),
    ("by reference", {"$ref": "#/$defs/Point"}, {"x": "1", "y": 2}, {"x": 1, "y": 2}),
]


@pytest.mark.parametrize(("schema", "value", "meant"), [c[1:] for c in REPAIRS], ids=[c[0] for c in REPAIRS])
def test_repairs(schema: Mapping[str, Any], value: Any, meant: Any) -> None:
    """A value that can mean only one thing is written as the schema wants it, and the place is named."""
    given = json.dumps({"other": "5", "p": value})
    checked = check_arguments(
        {**object_of(other=TEXT, p=schema), "$defs": {"Point": POINT}}, given, repair=True
    )
    assert checked.error is None
    assert json.dumps(json.loads(checked.arguments)) == json.dumps({"other": "5", "p": meant})
    assert all(place.startswith("p") for place in checked.repaired)
    assert len(checked.repaired) >= 1


@pytest.mark.parametrize(("schema", "value", "meant"), [c[1:] for c in REPAIRS], ids=[c[0] for c in REPAIRS])
def test_repairs_only_if_asked(schema: Mapping[str, Any], value: Any, meant: Any) -> None:
    """Without repair such a value is reported, except for a whole number as float, which JSON schema admits."""
    given = json.dumps({"p": value})
    checked = check_arguments({**object_of(p=schema), "$defs": {"Point": POINT}}, given, repair=False)
    assert checked.arguments == given
    assert checked.repaired == ()
    if isinstance(value, float):
        assert checked.error is None
    else:
        assert checked.error is not None
        assert checked.error.startswith("p")


# The schema of the property `p`, the value that the model wrote, and what is said about it.
DOUBTS: list[tuple[str, Mapping[str, Any], Any, str]] = [
    ("text that is not a number", INTEGER, "five", "p: 'five' is not of type 'integer'"),
    ("number with leading zeros", INTEGER, "007", "p: '007' is not of type 'integer'"),
    ("number with a unit", INTEGER, "5 km", "p: '5 km' is not of type 'integer'"),
    ("fraction for an integer", INTEGER, 5.5, "p: 5.5 is not of type 'integer'"),
    ("fraction for an integer, in a string", INTEGER, "5.5", "p: '5.5' is not of type 'integer'"),
    ("no finite number", NUMBER, "1e999", "p: '1e999' is not of type 'number'"),
    ("boolean for an integer", INTEGER, True, "p: True is not of type 'integer'"),
    ("one for true", BOOLEAN, 1, "p: 1 is not of type 'boolean'"),
    ("yes for true", BOOLEAN, "yes", "p: 'yes' is not of type 'boolean'"),
    ("number for a text", TEXT, 5, "p: 5 is not of type 'string'"),
    ("object for a text", TEXT, {"a": 1}, "p: {'a': 1} is not of type 'string'"),
    ("case of an enum", {"enum": ["celsius"]}, "Celsius", "p: 'Celsius' is not one of ['celsius']"),
    ("white space of an enum", {"enum": ["a", "b"]}, " a", "p: ' a' is not one of ['a', 'b']"),
    ("null for a list", list_of(TEXT), None, "p: None is not of type 'array'"),
    ("null in a string for a list", list_of(TEXT), "null", "p: 'null' is not of type 'array'"),
    ("nothing for a list", list_of(TEXT), "", "p: '' is not of type 'array'"),
    ("perhaps several items", list_of(TEXT), "a, b", "p: 'a, b' is not of type 'array'"),
    ("a damaged list", list_of(TEXT), '["a", "b"', "p: '[\"a\", \"b\"' is not of type 'array'"),
    ("a list for one item", TEXT, ["a"], "p: ['a'] is not of type 'string'"),
    ("an item in two lists", list_of(list_of(INTEGER)), 5, "p: 5 is not of type 'array'"),
    ("too large", {"type": "integer", "maximum": 9}, "10", "p: '10' is not of type 'integer'"),
    ("missing inside", POINT, {"x": 1}, "p: 'y' is a required property"),
    ("wrong in a list", list_of(POINT), [{"x": 1, "y": "2"}, {"x": 1, "y": "two"}], "p[1].y: 'two' is not of type 'integer'"),
    ("two readings", {"anyOf": [{"type": "array", "items": INTEGER}, list_of(TEXT)]}, "5", "p: '5' is not"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "said"), [c[1:] for c in DOUBTS], ids=[c[0] for c in DOUBTS])
def test_doubts(schema: Mapping[str, Any], value: Any, said: str) -> None:
    """What would have to be guessed stays as it is, and one line says where it is wrong."""
    given = json.dumps({"p": value})
    checked = check_arguments(object_of(p=schema), given, repair=True)
    assert checked.arguments == given
    assert checked.repaired == ()
    assert checked.error is not None
    assert checked.error.startswith(said)
    assert "\n" not in checked.error


@pytest.mark.parametrize("repair", [False, True])
def test_valid(repair: bool) -> None:
    """Valid arguments come back as the same text, byte for byte."""
    given = '{ "p" : "5",  "q": "caf\\u00e9" }'
    checked = check_arguments(object_of(p=TEXT), given, repair=repair)
    assert (checked.arguments, checked.error, checked.repaired) == (given, None, ())


@pytest.mark.parametrize(
    ("given", "normal"),
    [("", "{}"), ("null", "{}"), ('"{\\"p\\": 1}"', '{"p": 1}'), ('```json\n{"p": 1}\n```', '{"p": 1}')],
)
def test_form(given: str, normal: str) -> None:
    """Arguments that are an object in another form are judged as that object."""
    assert check_arguments(object_of(p=INTEGER), given, repair=False).arguments == normal


@pytest.mark.parametrize("given", ["[1]", "5", "true", "{", '{"p": 1'])
@pytest.mark.parametrize("repair", [False, True])
def test_no_object(given: str, repair: bool) -> None:
    """Arguments that are not a JSON object are reported as such, with their text."""
    checked = check_arguments({}, given, repair=repair)
    assert (checked.arguments, checked.error) == (given, "the arguments are not a JSON object")


def test_missing_argument() -> None:
    """An error of the whole call names the arguments."""
    checked = check_arguments({**object_of(p=TEXT), "required": ["p"]}, "{}", repair=True)
    assert checked.error == "arguments: 'p' is a required property"


def test_root_that_is_no_object() -> None:
    """The arguments stay an object even where a schema would have a list of them."""
    checked = check_arguments(list_of(POINT), '{"x": 1, "y": 2}', repair=True)
    assert checked.error == "arguments: {'x': 1, 'y': 2} is not of type 'array'"


def test_partly_repairable() -> None:
    """A call that stays wrong is not changed in part; what is said is what cannot be repaired."""
    given = '{"a": "1", "b": "two"}'
    checked = check_arguments(object_of(a=INTEGER, b=INTEGER), given, repair=True)
    assert (checked.arguments, checked.repaired) == (given, ())
    assert checked.error == "b: 'two' is not of type 'integer'"


def test_repaired_places() -> None:
    """Every repaired place is named with its path."""
    schema = object_of(a=INTEGER, b=list_of(POINT), c=list_of(TEXT))
    checked = check_arguments(schema, '{"a": "1", "b": [{"x": 1, "y": "2"}], "c": "z"}', repair=True)
    assert checked.repaired == ("a", "b[0].y", "c")


def test_long_value() -> None:
    """A long value is cut in the reason, so that what is wrong with it can be read."""
    checked = check_arguments(object_of(p=INTEGER), json.dumps({"p": "x" * 10_000}), repair=True)
    assert checked.error is not None
    assert len(checked.error) < 200
    assert checked.error.endswith("... is not of type 'integer'")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": "object", "required": "p"},
        object_of(p={"$ref": "https://example.com/schema.json"}),
        object_of(p={"$ref": "#/$defs/gone"}),
        {"$ref": "#"},
    ],
    ids=["unknown type", "wrong keyword", "elsewhere", "nowhere", "endless"],
)
@pytest.mark.parametrize("repair", [False, True])
def test_unusable_schema(schema: dict[str, Any], repair: bool) -> None:
    """A schema that cannot be applied never blames the model, and nothing is fetched for it."""
    checked = check_arguments(schema, '{"p": 1}', repair=repair)
    assert (checked.arguments, checked.error) == ('{"p": 1}', None)


def test_older_drafts() -> None:
    """`$schema` says by which rules the schema is read."""
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        **object_of(p={"type": "number", "minimum": 0, "exclusiveMinimum": True}),
    }
    assert check_arguments(schema, '{"p": 0}', repair=True).error is not None
    assert check_arguments(schema, '{"p": "1"}', repair=True).arguments == '{"p": 1}'


def test_recursive_schema() -> None:
    """A schema that could be met by ever deeper lists ends the search."""
    endless = {"type": "array", "items": {"$ref": "#/$defs/endless"}}
    schema = {**object_of(p={"$ref": "#/$defs/endless"}), "$defs": {"endless": endless}}
    assert check_arguments(schema, '{"p": {"a": 1}}', repair=True).error is not None


def test_bounded_work() -> None:
    """A repair does not multiply a check's work with each level at which alternatives stand in alternatives."""
    node = {"$ref": "#/$defs/node"}
    alternatives = [object_of(a=node, n=INTEGER), object_of(a=node, m=INTEGER), object_of(a=node), INTEGER]
    schema = {**object_of(p=node), "$defs": {"node": {"anyOf": alternatives}}}

    def calls(depth: int, *, repair: bool) -> int:
        """How many functions are called for a value that is nested so deep."""
        value: Any = "five"
        for _ in range(depth):
            value = {"a": value, "n": "1"}
        profile, given = cProfile.Profile(), json.dumps({"p": value})
        assert profile.runcall(check_arguments, schema, given, repair=repair).error is not None
        return sum(entry.callcount for entry in profile.getstats())

    calls(1, repair=True)  # the schema is read once
    shallow, deep = (calls(depth, repair=True) / calls(depth, repair=False) for depth in (2, 4))
    assert deep < shallow


def test_schema_is_not_changed() -> None:
    """The tool's schema is only read."""
    schema = object_of(p=list_of(POINT))
    before = json.dumps(schema)
    check_arguments(schema, '{"p": {"x": "1", "y": 2}}', repair=True)
    assert json.dumps(schema) == before


def test_missing_package() -> None:
    """Without jsonschema the error names the extra to install; importing the core does not need it."""
    code = (
        "import sys; sys.modules['jsonschema'] = None\n"
        "import kimi_vertex\n"
        "from kimi_vertex._answer.validation import check_arguments\n"
        "try:\n"
        "    check_arguments({}, '{}', repair=True)\n"
        "except kimi_vertex.ConfigurationError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )
    assert "kimi-vertex[validate]" in done.stdout


def test_many_repairs() -> None:
    """The work is bounded by how values nest, not by how many there are."""
    checked = check_arguments(object_of(p=list_of(INTEGER)), json.dumps({"p": ["1"] * 2000}), repair=True)
    assert checked.error is None
    assert len(checked.repaired) == 2000
