"""Property tests: whatever tools and prompts a client sends, the brain answers and comes to an end."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LEAVES = st.sampled_from(
    [
        {},
        True,
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": 3},
        {"type": ["number", "null"]},
        {"type": "null"},
        {"enum": ["a", "b"]},
        {"const": 1},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "#"},
    ]
)


def _grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["a", "city", "date", "query", "unit"])
    objects = st.dictionaries(names, inner, max_size=4)
    return st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"allOf": parts}),
        objects.map(lambda found: {"type": "object", "properties": found, "required": list(found)[:2]}),
    )


SCHEMAS = st.recursive(LEAVES, _grown, max_leaves=8)
WORDS = st.sampled_from(
    "Paris weather add 3 -4.5 'x' { {\"a\":1} step 1: then and in parallel Context: Question: ----------\n "
    "Query: (3+4)*5 1/0 get_weather(1,2) <context> </context> keys json schema 你好 \u2028".split(" ")
)
PROMPTS = st.lists(WORDS, max_size=25).map(" ".join)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=PROMPTS, schema=SCHEMAS)
def test_any_tool_can_be_forced(kimi: Any, tool: Any, question: str, schema: Any) -> None:
    """A forced call of any schema is one call with an object that has the required property."""
    declared = [tool("get_weather", question, value=schema)]
    ((name, arguments),) = kimi.calls(question, tools=declared, tool_choice="required")
    assert name == "get_weather"
    assert set(arguments) == {"value"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=PROMPTS, schema=SCHEMAS)
def test_any_schema_gets_json(kimi: Any, question: str, schema: Any) -> None:
    """A structured answer to any schema is JSON text."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    json.loads(kimi.text(question, response_format=wanted))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=PROMPTS)
def test_any_loop_ends(kimi: Any, tool: Any, question: str) -> None:
    """Whatever the question and the results say, a tool loop ends."""
    number = {"type": "number"}
    tools = [tool("add", "Add", a=number, b=number), tool("get_weather", "Weather", city={"type": "string"})]
    kimi.loop(question, tools, dict.fromkeys(("add", "get_weather"), lambda **_: question), rounds=30)
