"""Streams as callers hold them: iteration, the answer so far, and laws between the four forms."""

from __future__ import annotations

import json

import httpx
import pytest

from kimi_vertex import (
    AsyncEventStream,
    Completion,
    EventStream,
    Finish,
    KimiVertexClient,
    TextDelta,
    ThinkingDelta,
    accumulate,
)
from kimi_vertex_emulator import Call, Emulator, Raw, Turn

from ..support_core import each_form, is_stream, perform

TURNS = {
    "text": Turn(thinking=["One. ", "Two."], text=["Hel", "lo"]),
    "tools": Turn(
        thinking="Hm.", text="I look.", tool_calls=[Call("add", {"a": 1}), Call("add", {"a": 2, "b": "é🌔"})]
    ),
    "separators": Turn(thinking="a\u2028b\u0085c", text="x\u2029y \U0001f9d1\u200d\U0001f680"),
    "cut": Turn(thinking="Hm.", text="Hel", finish_reason="length"),
}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def client(emulator: Emulator) -> KimiVertexClient:
    return KimiVertexClient(base_url=emulator.base_url)


@each_form
@pytest.mark.parametrize("name", TURNS)
def test_all_forms_agree(emulator: Emulator, client: KimiVertexClient, name: str, form: str) -> None:
    """The same turn gives the same answer, streamed or whole, blocking or not."""
    emulator.enqueue(TURNS[name], TURNS[name])
    outcome = perform(client, form, tools=[TOOL])
    reference = perform(client, "sync-whole", tools=[TOOL]).completion
    assert outcome.completion is not None
    assert reference is not None

    def essence(completion: Completion) -> object:
        return (
            completion.thinking,
            completion.text,
            completion.tool_calls,
            completion.finish_reason,
            completion.usage,
        )

    assert essence(outcome.completion) == essence(reference)
    if is_stream(form):
        assert accumulate(outcome.events) == outcome.completion


def test_a_stream_is_an_iterator_with_an_answer(emulator: Emulator, client: KimiVertexClient) -> None:
    """`next`, `for` and `completion` mix; after the end the answer is whole and the iterator stays at its end."""
    emulator.enqueue(TURNS["text"])
    stream = client.stream("Hi")
    assert isinstance(stream, EventStream)
    assert stream.completion == Completion()
    assert next(stream) == ThinkingDelta("One. ")
    assert stream.completion == Completion(thinking="One. ")
    rest = list(stream)
    assert [type(event) is Finish for event in rest].index(True) == len(rest) - 1
    assert stream.completion.text == "Hello"
    assert (list(stream), next(stream, None)) == ([], None)
    stream.close()
    assert stream.completion.finish_reason == "stop"
    client.close()


async def test_an_asynchronous_stream_is_one_too(emulator: Emulator, client: KimiVertexClient) -> None:
    """The same for `astream`, which is not awaited."""
    emulator.enqueue(TURNS["text"])
    stream = client.astream("Hi")
    assert isinstance(stream, AsyncEventStream)
    assert await anext(stream) == ThinkingDelta("One. ")
    assert stream.completion.thinking == "One. "
    rest = [event async for event in stream]
    assert TextDelta("Hel") in rest
    assert isinstance(rest[-1], Finish)
    assert stream.completion.text == "Hello"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await stream.aclose()
    await client.aclose()


def test_a_closed_stream_keeps_what_came(emulator: Emulator, client: KimiVertexClient) -> None:
    """After an early exit `completion` has the part that was read, without a finish reason."""
    emulator.enqueue(TURNS["text"])
    with client.stream("Hi") as stream:
        next(stream)
    assert stream.completion == Completion(thinking="One. ")
    client.close()


def test_errors_in_the_conversation_come_at_once(client: KimiVertexClient, emulator: Emulator) -> None:
    """What cannot be sent is refused by the call of `stream` and `astream`, not by their first event."""
    for call in (client.stream, client.astream):
        with pytest.raises(ValueError, match="role"):
            call([{"role": "wizard", "content": "Hi"}])
    assert emulator.requests == []


@pytest.mark.parametrize("form", ["sync-whole", "async-whole"])
def test_arguments_that_are_an_object_in_a_body_that_is_no_utf8(emulator: Emulator, form: str) -> None:
    """Bytes that are not a character become U+FFFD in arguments, too, whichever way these are written."""
    call = b'{"id": "a", "function": {"name": "add", "arguments": {"a": "\xff", "b": 123456789012345678901234567890}}}'
    body = b'{"choices": [{"message": {"tool_calls": [' + call + b']}, "finish_reason": "tool_calls"}]}'
    emulator.enqueue(Raw([body], headers={"content-type": "application/json"}))
    outcome = perform(KimiVertexClient(base_url=emulator.base_url), form, tools=[TOOL])
    assert outcome.error is None
    assert outcome.completion is not None
    (made,) = outcome.completion.tool_calls
    assert json.loads(made.arguments) == {"a": "\ufffd", "b": 123456789012345678901234567890}


async def test_a_hook_of_the_users_client_may_read_the_stream(emulator: Emulator) -> None:
    """Hooks that log bodies read all of the response; the events are then made of what they have read."""
    emulator.enqueue(TURNS["text"], TURNS["text"])

    def read(response: httpx.Response) -> None:
        response.read()

    async def aread(response: httpx.Response) -> None:
        await response.aread()

    with httpx.Client(event_hooks={"response": [read]}) as own:
        client = KimiVertexClient(base_url=emulator.base_url, http_client=own)
        assert accumulate(client.stream("Hi")).text == "Hello"
    async with httpx.AsyncClient(event_hooks={"response": [aread]}) as other:
        client = KimiVertexClient(base_url=emulator.base_url, http_async_client=other)
        assert accumulate([event async for event in client.astream("Hi")]).text == "Hello"
