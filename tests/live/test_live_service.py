"""What cannot be checked without an account: the service itself. Left out unless KIMI_VERTEX_LIVE is set.

Each test is one thing that the documents leave open. Its docstring says what we assume, and below it what depends on that;
the table in docs/operate.md is made of them (`make docs-output`). A failure is news for the docs and the emulator.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any

import pytest

from kimi_vertex import (
    APIStatusError,
    BadRequestError,
    Finish,
    KimiVertexClient,
    Message,
    RequestStats,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    Usage,
)

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
SUM = "What is 17 times 3? Answer with the number."
CALL = "Use the tool to add 1234567 and 7654321, then tell me the sum."


def client_of_the_service(**settings: Any) -> KimiVertexClient:
    """A client for the endpoint that the environment names, else for the managed model."""
    model = None if os.environ.get("KIMI_VERTEX_ENDPOINT") else "moonshotai/kimi-k2-thinking-maas"
    return KimiVertexClient(model, **settings)


def test_the_first_route_answers() -> None:
    """Chat completions on `v1` answer.

    The order in which `api="auto"` tries the routes.
    """
    with client_of_the_service() as client:
        client.complete(SUM)
        assert "route" not in client.facts, client.facts["route"]


def test_thinking_comes_apart_from_the_answer() -> None:
    """Thinking has a field of its own, and no tag or token is left in the text.

    Reading answers without guesses; `implicit_thinking` could be off by default.
    """
    with client_of_the_service(implicit_thinking=False) as client:
        answer = client.complete(SUM)
    assert answer.thinking
    assert "51" in answer.text
    assert not re.search(r"think>|<\|", answer.text)


async def test_a_stream_has_thinking_text_usage_and_an_end() -> None:
    """A stream brings thinking before text, its usage once, and one finish.

    Live thinking, and usage without `stream_options`.
    """
    async with client_of_the_service() as client:
        events = [event async for event in client.astream(SUM)]
    kinds = [type(event) for event in events]
    assert kinds.index(ThinkingDelta) < kinds.index(TextDelta)
    assert kinds.count(Usage) == 1
    assert isinstance(events[-1], Finish)


def test_thinking_tokens_are_counted() -> None:
    """Usage counts the thinking's tokens, or leaves the field out; it does not say 0.

    `Usage.thinking_tokens`, which is `None` today where a server that thought says 0.
    """
    with client_of_the_service() as client:
        usage = client.complete(SUM).usage
    assert usage is not None
    assert usage.thinking_tokens is None or 0 < usage.thinking_tokens <= usage.completion_tokens


def test_ids_of_calls() -> None:
    """Ids of calls have the form that the model was trained on.

    Whether ids have to be rewritten before they go back.
    """
    with client_of_the_service() as client:
        (call, *_) = client.complete(CALL, tools=[ADD]).tool_calls
    assert re.fullmatch(r"(functions\.)?add:\d+", call.id), call.id


@pytest.mark.parametrize("replay", ["all", "none"])
def test_a_tool_loop_goes_on_with_its_thinking(replay: Any) -> None:
    """A tool loop is answered, with the thinking sent back and without.

    Whether the service insists on the thinking (`none` fails then), as Moonshot's does.
    """
    history = [Message("user", CALL)]
    with client_of_the_service(replay_thinking=replay) as client:
        turn = client.complete(history, tools=[ADD])
        assert json.loads(turn.tool_calls[0].arguments) == {"a": 1234567, "b": 7654321}
        result = Message("tool", "8888888", tool_call_id=turn.tool_calls[0].id)
        answer = client.complete([*history, turn.to_message(), result], tools=[ADD])
    assert "8888888" in re.sub(r"[ ,]", "", answer.text)


def test_a_turn_with_empty_thinking_is_taken() -> None:
    """A call of another model, whose thinking is unknown, is taken.

    Histories that another vendor's model began.
    """
    call = ToolCall("call_x1", "add", '{"a": 1234567, "b": 7654321}')
    history = [Message("user", CALL), Message("assistant", tool_calls=(call,))]
    with client_of_the_service() as client:
        answer = client.complete([*history, Message("tool", "8888888", tool_call_id="call_x1")], tools=[ADD])
    assert "8888888" in re.sub(r"[ ,]", "", answer.text)


@pytest.mark.parametrize("choice", ["required", "add"])
def test_a_forced_choice_gives_a_call(choice: str) -> None:
    """A forced choice, by name too, gives a call.

    Structured output by tools; what is learned as `refuses_forced_choice`.
    """
    with client_of_the_service() as client:
        turn = client.complete("Hello! What is 2 plus 2?", tools=[ADD], tool_choice=choice)
        assert turn.tool_calls
        assert "refuses_forced_choice" not in str(dict(client.facts))


def test_a_schema_is_obeyed() -> None:
    """`response_format` gives JSON of the schema.

    `with_structured_output(method="json_schema")` and its twin in LlamaIndex.
    """
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "Sum", "schema": schema}}
    with client_of_the_service() as client:
        answer = client.complete("What is 2 plus 2? Answer in JSON.", response_format=wanted)
    assert json.loads(answer.text) == {"sum": 4}


def test_thinking_counts_for_the_limit() -> None:
    """`max_tokens` counts the thinking, and an answer that it cuts says `length`.

    The warning about empty answers, and what the docs say of `max_tokens`.
    """
    with client_of_the_service() as client:
        answer = client.complete("Prove that there are infinitely many primes.", max_tokens=16)
    assert answer.finish_reason == "length"
    assert answer.usage is None or answer.usage.completion_tokens <= 16


def test_special_tokens_of_a_user_are_text() -> None:
    """A special token in a user's text reaches the model as text.

    Breaking such tokens up, and mending them in what comes back.
    """
    with client_of_the_service() as client:
        answer = client.complete("Repeat exactly, without a comment: a <|im_end|> b")
    assert "a <|im_end|> b" in answer.text


def test_a_repeated_prompt_is_cached() -> None:
    """A long prompt that is sent again comes from the server's cache, and usage says so.

    Dynamic tools that leave the prefix as it was; the score card's line.
    """
    prompt = "Water boils at 100 degrees. " * 400 + SUM
    with client_of_the_service() as client:
        client.complete(prompt)
        usage = client.complete(prompt).usage
    assert usage is not None
    assert usage.cached_tokens


def test_errors_have_googles_form() -> None:
    """A request that is wrong is answered with a 400 that has a text.

    What errors say, and which of them are tried again.
    """
    with client_of_the_service() as client, pytest.raises(BadRequestError) as caught:
        client.complete("Hi", extra_body={"temperature": "hot"})
    assert caught.value.body


def test_request_ids() -> None:
    """A request with our `X-Request-Id` is taken, and the answer has the server's id.

    Finding a request in the server's log.
    """
    seen: list[RequestStats] = []
    with client_of_the_service(on_request=seen.append) as client:
        client.complete(SUM)
    assert seen[0].client_request_id
    assert seen[0].request_id


def test_many_at_once() -> None:
    """Sixteen requests at once are answered; what is refused says 429 and when to come back.

    The pace, which learns from refusals.
    """

    async def ask() -> list[Any]:
        async with client_of_the_service() as client:
            return await asyncio.gather(*(client.acomplete(SUM) for _ in range(16)), return_exceptions=True)

    refused = [result for result in asyncio.run(ask()) if isinstance(result, Exception)]
    assert all(isinstance(error, APIStatusError) and error.status_code == 429 for error in refused), refused


async def test_a_stream_that_is_left_early() -> None:
    """The service bears a stream that its reader leaves, and answers the next request.

    Stop buttons; connections are not shared after a stream was left.
    """
    async with client_of_the_service() as client:
        async with client.astream("Write a long poem about the sea.") as events:
            async for _ in events:
                break
        assert (await client.acomplete(SUM)).text
