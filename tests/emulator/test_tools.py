"""The brain and tools: whether it calls, what with, and that its loops end."""

from __future__ import annotations

from typing import Any

import pytest

STRING = {"type": "string"}
NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
UNIT = {"type": "string", "enum": ["celsius", "fahrenheit"]}


@pytest.fixture
def weather(tool: Any) -> dict[str, Any]:
    return tool("get_weather", "Get the weather at a location.", location=STRING)  # type: ignore[no-any-return]


@pytest.fixture
def everyday(tool: Any, weather: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        weather,
        tool("get_time", "Current time in a city", city=STRING),
        tool("convert_temperature", "Convert a temperature", value=NUMBER, from_unit=UNIT, to_unit=UNIT),
    ]


EVERYDAY = {
    "get_weather": lambda location: f"18 C and cloudy in {location}",
    "get_time": lambda city: f"10:00 in {city}",
    "convert_temperature": lambda value, from_unit, to_unit: (
        f"{value} {from_unit} is something else in {to_unit}"
    ),
}


@pytest.mark.parametrize("greeting", ["Hello!", "hi", "hello, how are you?", "Good morning", "Thank you!"])
def test_greetings_call_nothing(kimi: Any, everyday: Any, greeting: str) -> None:
    """A greeting is answered with words, though tools are declared."""
    assert kimi.calls(greeting, tools=everyday) == []
    assert "emulator" in kimi.text(greeting, tools=everyday)


def test_an_unrelated_question_calls_nothing(kimi: Any, everyday: Any) -> None:
    """No shared word, no call."""
    assert kimi.calls("Who painted the Mona Lisa?", tools=everyday) == []


def test_tool_choice_none_forbids_calls(kimi: Any, weather: Any) -> None:
    """With tool_choice none a matching tool stays uncalled."""
    assert kimi.calls("What is the weather in Paris?", tools=[weather], tool_choice="none") == []


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_time"}}])
def test_a_forced_choice_is_obeyed(kimi: Any, everyday: Any, choice: Any) -> None:
    """Even a greeting calls when a call is demanded, and the named tool if one is named."""
    ((name, _),) = kimi.calls("Hello!", tools=everyday, tool_choice=choice)
    assert choice == "required" or name == "get_time"


@pytest.mark.parametrize(
    ("question", "properties", "expected"),
    [
        (
            "What is the weather in San Francisco, CA?",
            {"location": STRING},
            {"location": "San Francisco, CA"},
        ),
        ("Is the weather fine in New York today?", {"city": STRING}, {"city": "New York"}),
        ("weather for 'são paulo'", {"place_name": STRING}, {"place_name": "são paulo"}),
        ("Weather at 5 places within -2.5 km", {"count": INTEGER, "km": NUMBER}, {"count": 5, "km": -2.5}),
        ("weather, limit 7 and page 3", {"page": INTEGER, "limit": INTEGER}, {"page": 3, "limit": 7}),
        ("weather in Rome in fahrenheit", {"unit": UNIT}, {"unit": "fahrenheit"}),
        ("weather on 2026-12-24", {"date": {"type": "string", "format": "date"}}, {"date": "2026-12-24"}),
        ("weather report to a.b@c.org", {"email": STRING}, {"email": "a.b@c.org"}),
        ("weather of https://x.org/a?b=1.", {"url": STRING}, {"url": "https://x.org/a?b=1"}),
        ("the weather for Anna please", {"user_name": STRING}, {"user_name": "Anna"}),
        ("weather: days=3", {"days": INTEGER}, {"days": 3}),
        ('weather with {"n": 4, "m": "x"}', {"n": INTEGER, "m": STRING}, {"n": 4, "m": "x"}),
        ("get_weather(7, 'b')", {"first": INTEGER, "second": STRING}, {"first": 7, "second": "b"}),
        ("weather", {"n": {"type": "integer", "minimum": 5}}, {"n": 5}),
        ("weather 99", {"n": {"type": "integer", "exclusiveMaximum": 10}}, {"n": 9}),
        ("weather for 7b", {"at": {"type": "string", "pattern": r"^\d[a-z]$"}}, {"at": "7b"}),
        ("weather", {"code": {"type": "string", "pattern": r"^[A-Z]{2}-\d+$"}}, {"code": "AB-12"}),
        ("weather", {"kind": {"const": "fixed"}, "on": {"type": "boolean"}}, {"kind": "fixed", "on": False}),
        ("weather of 1, 2 and 3", {"ids": {"type": "array", "items": INTEGER}}, {"ids": [1, 2, 3]}),
        ("weather", {}, {}),
    ],
)
def test_arguments_fit_schema_and_question(
    kimi: Any, tool: Any, question: str, properties: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Values come from the question and have the types and bounds of the schema."""
    declared = tool("get_weather", "Weather", **properties)
    assert kimi.calls(question, tools=[declared]) == [("get_weather", expected)]


def test_references_and_alternatives_are_followed(kimi: Any) -> None:
    """$ref, anyOf, allOf and nested objects give an instance of the right shape."""
    parameters = {
        "$defs": {
            "Address": {
                "type": "object",
                "properties": {"city": STRING, "zip": INTEGER},
                "required": ["city"],
            },
            "Item": {"allOf": [{"type": "object", "properties": {"count": INTEGER}, "required": ["count"]}]},
        },
        "type": "object",
        "properties": {
            "address": {"$ref": "#/$defs/Address"},
            "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
            "note": {"anyOf": [{"type": "null"}, STRING]},
        },
        "required": ["address", "items", "note"],
    }
    order = {"type": "function", "function": {"name": "create_order", "parameters": parameters}}
    ((_, arguments),) = kimi.calls("Create an order of 3 apples to Berlin", tools=[order])
    assert arguments["address"] == {"city": "Berlin"}
    assert arguments["items"] == [{"count": 3}]
    assert isinstance(arguments["note"], str)


def test_a_recursive_schema_ends(kimi: Any) -> None:
    """A schema that contains itself gives a finite instance."""
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/Node"}, "value": INTEGER},
        "required": ["next"],
    }
    parameters = {"$defs": {"Node": node}, "type": "object", "properties": {"root": {"$ref": "#/$defs/Node"}}}
    parameters["required"] = ["root"]
    walk = {"type": "function", "function": {"name": "walk_tree", "parameters": parameters}}
    assert kimi.calls("walk the tree", tools=[walk])[0][0] == "walk_tree"


def test_one_tool_per_turn_then_the_answer_from_the_results(kimi: Any, everyday: Any) -> None:
    """Two tools are called one after the other, and the answer has both results."""
    question = "What is the weather in Paris? Then convert 18 celsius to fahrenheit."
    rounds, answer = kimi.loop(question, everyday, EVERYDAY)
    assert rounds == [
        [("get_weather", {"location": "Paris"})],
        [("convert_temperature", {"value": 18, "from_unit": "celsius", "to_unit": "fahrenheit"})],
    ]
    assert "18 C and cloudy in Paris" in answer
    assert "something else in fahrenheit" in answer


def test_three_tools_make_three_rounds(kimi: Any, everyday: Any) -> None:
    """A question with three parts makes a loop of three rounds."""
    question = "What's the weather in Paris, what time is it there, and convert 20 C to F?"
    rounds, _ = kimi.loop(question, everyday, EVERYDAY)
    assert [[name for name, _ in calls] for calls in rounds] == [
        ["get_weather"],
        ["get_time"],
        ["convert_temperature"],
    ]


def test_named_tools_are_called_in_reading_order(kimi: Any, everyday: Any) -> None:
    """Tools that the question names are all called."""
    rounds, _ = kimi.loop("Use get_time, then get_weather for Oslo.", everyday, EVERYDAY)
    assert [calls[0][0] for calls in rounds] == ["get_time", "get_weather"]


def test_an_error_result_is_reported_not_retried(kimi: Any, weather: Any) -> None:
    """A failed call is part of the answer, and is not made again."""
    rounds, answer = kimi.loop(
        "Weather in Rome?", [weather], {"get_weather": lambda location: "Error: no network"}
    )
    assert len(rounds) == 1
    assert "Error: no network" in answer


def test_a_new_question_starts_a_new_plan(kimi: Any, weather: Any) -> None:
    """Calls before the user's last message do not count as made."""
    first = kimi.message("What is the weather in Paris?", tools=[weather])
    history = [
        {"role": "user", "content": "What is the weather in Paris?"},
        first,
        {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "Sunny"},
        {"role": "assistant", "content": "Sunny."},
        {"role": "user", "content": "And the weather in Rome?"},
    ]
    assert kimi.calls(history, tools=[weather]) == [("get_weather", {"location": "Rome"})]


def test_it_thinks_in_several_deltas_before_a_call(kimi: Any, weather: Any) -> None:
    """The thinking of a tool turn comes first, in pieces, and says who thinks."""
    events = kimi.events("What is the weather in Paris?", tools=[weather])
    kinds = [
        "call" if delta.get("tool_calls") else "thinking"
        for event in events
        for delta in [event["choices"][0]["delta"]]
        if delta.get("tool_calls") or delta.get("reasoning_content")
    ]
    thinking = "".join(event["choices"][0]["delta"].get("reasoning_content") or "" for event in events)
    assert kinds.count("thinking") >= 3
    assert kinds == sorted(kinds, reverse=True)
    assert "emulator" in thinking


def test_the_same_conversation_gets_the_same_answer(kimi: Any, everyday: Any) -> None:
    """The brain is deterministic."""
    question = "What's the weather in Paris, what time is it there, and convert 20 C to F?"
    assert kimi.message(question, tools=everyday) == kimi.message(question, tools=everyday)


def test_optional_arguments_are_left_out(kimi: Any, tool: Any) -> None:
    """A call has the required arguments and no others."""
    search = tool("search_docs", "Search", required=["query"], query=STRING, limit=INTEGER)
    ((_, arguments),) = kimi.calls("Search docs for x", tools=[search])
    assert list(arguments) == ["query"]
