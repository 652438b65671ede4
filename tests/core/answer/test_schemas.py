"""Schemas of strangers: what they cannot do to whoever checks a call by them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from kimi_vertex import KimiVertexClient
from kimi_vertex._answer.schemas import validators_for
from kimi_vertex._answer.validation import check_arguments
from kimi_vertex_emulator import Call, Emulator, Turn

from ..support_core import each_form, perform


def doubling(depth: int, how: str, **more: Any) -> dict[str, Any]:
    """A schema whose references double with each level."""
    levels = {f"a{n}": {how: [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, depth)}
    return {"$defs": {"a0": {"type": "object"}, **levels}, "$ref": f"#/$defs/a{depth - 1}", **more}


def deep(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"p": schema}}
    return schema


def of(**schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"p": schema}}


SELF = {"$ref": "#/$defs/s"}
HOLDS_ITSELF = {"allOf": [SELF, SELF], "$defs": {"s": {"properties": {"p": {"allOf": [SELF, SELF]}}}}}
DEAR: dict[str, tuple[dict[str, Any], Any]] = {
    "references that double": (doubling(40, "allOf"), {}),
    "references beside unevaluated parts": (doubling(40, "allOf", unevaluatedProperties=False), {"p": 1}),
    "a schema that holds itself twice": (HOLDS_ITSELF, json.loads('{"p":' * 40 + "1" + "}" * 40)),
    "a repeated repetition": (of(pattern="(a+)+$"), {"p": "a" * 40 + "b"}),
    "a repeated choice": (of(pattern="^(a|a)*$"), {"p": "a" * 40 + "b"}),
    "many repetitions": (of(pattern="a*" * 20 + "$"), {"p": "a" * 200 + "b"}),
    "three repetitions": (of(pattern="a*a*a*$"), {"p": "a" * 5_000 + "b"}),
    "one repetition": (of(pattern="a+$"), {"p": "a" * 200_000 + "b"}),
    "an echo": (of(pattern=r"^(a*)*\1$"), {"p": "a" * 40 + "b"}),
    "a name's pattern": ({"patternProperties": {"(a+)+$": {}}}, {"a" * 40 + "b": 1}),
    "a name's pattern, and no others": (
        {"patternProperties": {"(a+)+$": {}}, "additionalProperties": False},
        {"a" * 40 + "b": 1},
    ),
    "a long pattern": (of(pattern="[" * 100_000), {"p": "x"}),
}
STRANGE: dict[str, dict[str, Any]] = {
    "a broken pattern": of(pattern="("),
    "a broken name's pattern": {"patternProperties": {"(": {}}},
    "a broken pattern in draft 4": {"$schema": "http://json-schema.org/draft-04/schema#", **of(pattern="(")},
    "depth": deep(100),
    "great depth": deep(300),
    "a number for a dialect": {"$schema": 5},
    "a list for a dialect": {"$schema": []},
    "an id that is no address": {"$id": "http://[::1", "$ref": "#/$defs/x"},
    "a reference to nowhere": {"$ref": "#/$defs/x"},
    "a reference elsewhere": {"$ref": "http://127.0.0.1:9/x"},
    "itself": {"$ref": "#"},
    "a type that is none": {"type": 5},
    "properties that are none": {"properties": []},
    "a size that is none": of(maxLength="x"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("name", DEAR)
def test_bounded(name: str, repair: bool) -> None:
    """What would take for ever is not checked: the call goes through."""
    schema, arguments = DEAR[name]
    assert check_arguments(schema, json.dumps(arguments), repair=repair).error is None


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("name", STRANGE)
def test_strange(name: str, repair: bool) -> None:
    """Whatever a schema is, nothing is raised, and calls go unchecked rather than refused."""
    assert check_arguments(STRANGE[name], '{"p": "x"}', repair=repair).error is None


def test_a_number_without_end() -> None:
    """An integer that no float holds goes through where it would have to be divided."""
    assert check_arguments(of(multipleOf=0.01), f'{{"p": {"9" * 400}}}', repair=False).error is None


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"^[a-z]+@[a-z]+\.[a-z]{2,}$", "me@here.org", "me"),
        (r"^\d{4}-\d{2}-\d{2}$", "2026-01-01", "today"),
        ("^(red|green)$", "red", "blue"),
        ("x+", "axxb", "ab"),
        (r"^[(*+|]$", "|", "a"),
    ],
)
def test_ordinary_patterns_are_checked(pattern: str, good: str, bad: str) -> None:
    """A pattern whose work is bounded counts as before."""
    schema = of(pattern=pattern)
    assert check_arguments(schema, json.dumps({"p": good}), repair=False).error is None
    assert "does not match" in str(check_arguments(schema, json.dumps({"p": bad}), repair=False).error)


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 1.0], False),
        ([1, True], True),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}], False),
        ([{"a": [1]}, {"a": [2]}], True),
        ([[], {}, "", None, False, 0], True),
        ([{"n": n} for n in range(5_000)], True),
        ([*({"n": n} for n in range(5_000)), {"n": 0}], False),
    ],
)
def test_unique_items(items: list[Any], unique: bool) -> None:
    """Thousands of objects are compared at once, by JSON Schema's own idea of equal."""
    schema = of(type="array", uniqueItems=True)
    assert (check_arguments(schema, json.dumps({"p": items}), repair=False).error is None) is unique


@each_form
def test_named_once(emulator: Emulator, form: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log names a schema that cannot be used, once, whatever number of calls; they reach the caller."""
    validators_for.cache_clear()
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": 5}}}
    emulator.enqueue(*[Turn(tool_calls=[Call("f", '{"a": 1}')])] * 2)
    caplog.set_level(logging.WARNING, "kimi_vertex")
    for _ in range(2):
        client = KimiVertexClient(base_url=emulator.base_url, tool_validation="flag")
        completion = perform(client, form, tools=[tool]).completion
        assert completion is not None
        assert [call.name for call in completion.tool_calls] == ["f"]
    said = [record for record in caplog.records if "cannot be used" in record.getMessage()]
    assert len(said) == 1
