"""The prompts of langchain-tests' integration suite, asked over plain HTTP.

The adapter's tests run the suite itself; these show that the server's half of it holds, without an adapter.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_tests.integration_tests import chat_models as suite

# What the suite's models are made with by default.
STANDARD = {"temperature": 0, "max_tokens": 100, "stop": []}


@tool
def get_weather(location: str) -> str:
    """Get weather at a location."""
    return "It's sunny."


@tool
def my_adder_tool(a: int, b: int) -> int:
    """Take two integers, a and b, and return their sum."""
    return a + b


@tool
def greeting_generator(answer_style: str) -> str:
    """Generate a greeting in a particular style of speaking."""
    return "hello matey"


def declared(*tools: Any) -> list[dict[str, Any]]:
    return [convert_to_openai_tool(one) for one in tools]


@pytest.fixture(params=["strict", "lenient"])
def asker(request: pytest.FixtureRequest) -> Any:
    """Asks the strict and the lenient emulator."""
    return request.getfixturevalue("kimi" if request.param == "strict" else "lenient_kimi")


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_magic_function(asker: Any, choice: str) -> None:
    """One call with the number of the question."""
    question = "What is the value of magic_function(3)? Use the tool."
    calls = asker.calls(question, tools=declared(suite.magic_function), tool_choice=choice, **STANDARD)
    assert calls == [("magic_function", {"input": 3})]


def test_magic_function_without_arguments(asker: Any) -> None:
    """One call with an empty object."""
    question = "What is the value of magic_function_no_args()? Use the tool."
    calls = asker.calls(
        question, tools=declared(suite.magic_function_no_args), tool_choice="required", **STANDARD
    )
    assert calls == [("magic_function_no_args", {})]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "magic_function"}}])
def test_forced_choice_on_a_greeting(asker: Any, choice: Any) -> None:
    """`Hello!` calls when it must, the named tool if there is one."""
    calls = asker.calls(
        "Hello!", tools=declared(suite.magic_function, get_weather), tool_choice=choice, **STANDARD
    )
    assert choice == "required" or calls[0][0] == "magic_function"
    assert len(calls) == 1


def test_runnable_as_tool(asker: Any) -> None:
    """The style is found in the question."""
    question = "Using the tool, generate a Pirate greeting."
    calls = asker.calls(question, tools=declared(greeting_generator), tool_choice="required", **STANDARD)
    assert calls == [("greeting_generator", {"answer_style": "Pirate"})]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Create a customer named '你好啊集团' (Hello Group) - a Chinese technology company", "你好啊集团"),
        (
            "Create a customer named 'こんにちは株式会社' (Hello Corporation) - a Japanese company",
            "こんにちは株式会社",
        ),
    ],
)
@pytest.mark.parametrize("choice", ["required", "auto"])
def test_unicode_customer(asker: Any, question: str, name: str, choice: str) -> None:
    """Names in other scripts arrive whole, within the suite's budget of 100 tokens."""
    tools = declared(suite.unicode_customer)
    response = asker.post(question, tools=tools, tool_choice=choice, **STANDARD).json()["choices"][0]
    assert response["finish_reason"] == "tool_calls"
    ((_, arguments),) = asker.calls(question, tools=tools, tool_choice=choice, **STANDARD)
    assert arguments["customer_name"] == name
    assert arguments["description"]


def test_agent_loop(asker: Any) -> None:
    """The weather is looked up once, then answered."""
    rounds, answer = asker.loop(
        "What is the weather in San Francisco, CA?",
        declared(get_weather),
        {"get_weather": lambda location: "It's sunny."},
        **STANDARD,
    )
    assert rounds == [[("get_weather", {"location": "San Francisco, CA"})]]
    assert "It's sunny." in answer


@pytest.mark.parametrize("result", ['{"result": 3}', "Error: Missing required argument 'b'."])
def test_tool_message_histories(asker: Any, result: str) -> None:
    """A history with a foreign id is answered from its result, not by another call."""
    call = {
        "id": "abc123",
        "type": "function",
        "function": {"name": "my_adder_tool", "arguments": '{"a": 1}'},
    }
    messages = [
        {"role": "user", "content": "What is 1 + 2"},
        {"role": "assistant", "content": "", "reasoning_content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abc123", "content": result},
    ]
    message = asker.message(messages, tools=declared(my_adder_tool), **STANDARD)
    assert message["tool_calls"] is None
    assert result in message["content"]


def test_few_shot_examples(asker: Any) -> None:
    """After an example exchange the new question is the one that is answered."""
    call = {
        "id": "x",
        "type": "function",
        "function": {"name": "my_adder_tool", "arguments": '{"a": 1, "b": 2}'},
    }
    messages = [
        {"role": "user", "content": "What is 1 + 2"},
        {"role": "assistant", "content": "", "reasoning_content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x", "content": '{"result": 3}'},
        {"role": "assistant", "content": '{"result": 3}'},
        {"role": "user", "content": "What is 3 + 4"},
    ]
    calls = asker.calls(messages, tools=declared(my_adder_tool), tool_choice="required", **STANDARD)
    assert calls == [("my_adder_tool", {"a": 3, "b": 4})]


@pytest.mark.parametrize("kind", ["pydantic", "typeddict", "json_schema"])
@pytest.mark.parametrize("method", ["call", "schema"])
def test_structured_output(asker: Any, kind: str, method: str) -> None:
    """Each of the suite's joke classes is filled, by a forced call and by a schema, within 100 tokens."""
    joke, _ = suite._get_joke_class(kind)  # type: ignore[arg-type]
    if method == "call":
        tools = declared(joke)
        choice = {"type": "function", "function": {"name": tools[0]["function"]["name"]}}
        ((_, value),) = asker.calls("Tell me a joke about cats.", tools=tools, tool_choice=choice, **STANDARD)
    else:
        wanted = {
            "type": "json_schema",
            "json_schema": {"name": "Joke", "schema": convert_to_json_schema(joke)},
        }
        value = json.loads(asker.text("Tell me a joke about cats.", response_format=wanted, **STANDARD))
    assert set(value) == {"setup", "punchline"}
    assert all(isinstance(part, str) and part for part in value.values())


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Hello"}],
        [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "how are you"},
        ],
        [
            {"role": "system", "content": "hello"},
            {"role": "system", "content": "hello"},
            {"role": "user", "content": "hello"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hello"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "how are you"},
        ],
        [{"role": "user", "content": "hello", "name": "example_user"}],
        [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    ],
)
def test_plain_conversations(asker: Any, messages: list[dict[str, Any]]) -> None:
    """Every plain conversation of the suite gets text."""
    assert asker.text(messages, **STANDARD)


def test_stop_sequence_leaves_something(asker: Any) -> None:
    """The suite's stop sequence cuts the answer, but not to nothing."""
    assert asker.text("hi", stop=["you"], max_tokens=100)
