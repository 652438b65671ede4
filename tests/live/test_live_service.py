"""What cannot be checked without an account: the service itself. Left out unless KIMI_VERTEX_LIVE is set.

The questions are those that the documents leave open; a failure here is news for docs/ and the emulator.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from kimi_vertex import Finish, KimiVertexClient, Message, TextDelta, ThinkingDelta, Usage

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

ADD: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two integers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


def client_of_the_service(**settings: Any) -> KimiVertexClient:
    """A client for the endpoint that the environment names, else for the managed model."""
    model = None if os.environ.get("KIMI_VERTEX_ENDPOINT") else "moonshotai/kimi-k2-thinking-maas"
    return KimiVertexClient(model, **settings)


def test_thinking_comes_apart_from_the_answer() -> None:
    """A whole answer has thinking, text without tags, and usage."""
    with client_of_the_service() as client:
        answer = client.complete("What is 17 times 3? Answer with the number.")
    assert answer.thinking
    assert "51" in answer.text
    assert "think>" not in answer.text
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


async def test_a_stream_has_thinking_text_usage_and_an_end() -> None:
    """A stream brings thinking before text, its usage, and one finish."""
    async with client_of_the_service() as client:
        events = [event async for event in client.astream("What is 17 times 3? Answer with the number.")]
    kinds = [type(event) for event in events]
    assert kinds.index(ThinkingDelta) < kinds.index(TextDelta)
    assert kinds.count(Usage) == 1
    assert isinstance(events[-1], Finish)


@pytest.mark.parametrize("replay", ["all", "none"])
def test_a_tool_loop_goes_on_with_its_thinking(replay: Any) -> None:
    """A call, its result, an answer; with `none` it shows whether the service insists on the thinking."""
    history = [Message("user", "Use the tool to add 1234567 and 7654321, then tell me the sum.")]
    with client_of_the_service(replay_thinking=replay) as client:
        turn = client.complete(history, tools=[ADD])
        assert turn.tool_calls
        assert json.loads(turn.tool_calls[0].arguments) == {"a": 1234567, "b": 7654321}
        result = Message("tool", "8888888", tool_call_id=turn.tool_calls[0].id)
        answer = client.complete([*history, turn.to_message(), result], tools=[ADD])
    assert "8888888" in answer.text.replace(",", "").replace(" ", "")


def test_a_forced_choice_gives_a_call() -> None:
    """Whether it is obeyed or refused and asked for again, there is a call in the end."""
    with client_of_the_service() as client:
        turn = client.complete("Hello! What is 2 plus 2?", tools=[ADD], tool_choice="required")
    assert turn.tool_calls


def test_a_schema_is_obeyed() -> None:
    """`response_format` gives JSON of the schema."""
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "Sum", "schema": schema}}
    with client_of_the_service() as client:
        answer = client.complete("What is 2 plus 2? Answer in JSON.", response_format=wanted)
    assert json.loads(answer.text) == {"sum": 4}
