"""Property tests: whatever tools and prompts a client sends, the brain answers and comes to an end."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=PROMPTS, schema=SCHEMAS)
def test_any_tool_can_be_forced(kimi: Any, tool: Any, question: str, schema: Any) -> None:
    """A forced call of any schema is one call with an object that has the required property."""
    declared = [tool("get_weather", question, value=schema)]
    ((name, arguments),) = kimi.calls(question, tools=declared, tool_choice="required")
    assert name == "get_weather"
    assert set(arguments) == {"value"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=PROMPTS, schema=SCHEMAS)
def test_any_schema_gets_json(kimi: Any, question: str, schema: Any) -> None:
    """A structured answer to any schema is JSON text."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    json.loads(kimi.text(question, response_format=wanted))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=PROMPTS)
def test_any_loop_ends(kimi: Any, tool: Any, question: str) -> None:
    """Whatever the question and the results say, a tool loop ends."""
    number = {"type": "number"}
    tools = [tool("add", "Add", a=number, b=number), tool("get_weather", "Weather", city={"type": "string"})]
    kimi.loop(question, tools, dict.fromkeys(("add", "get_weather"), lambda **_: question), rounds=30)


@pytest.mark.parametrize("piece", ["1 ", "{", "\n", " ", "'a ", "3+", "Paris, ", "-"])
def test_a_long_prompt_takes_no_age(kimi: Any, tool: Any, piece: str) -> None:
    """100,000 characters of anything take about as long as those of plain words: no pattern explodes."""

    def seconds(words: str) -> float:
        prompt = f"Context: {words * (100_000 // len(words))}"
        begin = time.perf_counter()
        kimi.post(prompt, tools=[tool("get_weather", "Weather", city={})])
        return time.perf_counter() - begin

    assert min(seconds(piece) for _ in "ab") < 50 * min(seconds("word ") for _ in "abc")
