"""A call that had to come and that the model wrote as JSON text: it is a call, whatever the server made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kimi_vertex import Completion, KimiVertexClient, TextDelta, ToolCallDelta, accumulate
from kimi_vertex_emulator import Call, Emulator, Raw, Turn

from ..support_core import chunk, each_form, each_stream, is_stream, perform
from .test_toolvalidation import tool

INTEGER, TEXT = {"type": "integer"}, {"type": "string"}
COUNT, SAY, SHOUT = tool("count", n=INTEGER), tool("say", words=TEXT), tool("shout", words=TEXT)


def ask(emulator: Emulator, form: str, *turns: Turn | Raw, **options: Any) -> Completion:
    """The answer to a request that forces a call; the events of a stream join to it."""
    emulator.enqueue(*turns)
    client = KimiVertexClient(base_url=emulator.base_url, implicit_thinking=False)
    outcome = perform(client, form, **{"tools": [COUNT], "tool_choice": "required", **options})
    if outcome.error is not None:
        raise outcome.error
    assert outcome.completion is not None
    if is_stream(form):
        assert accumulate(outcome.events) == outcome.completion
    return outcome.completion


def calls(completion: Completion) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in completion.tool_calls]


@each_form
@pytest.mark.parametrize(
    "text", ['{"n": 5}', 'Sure:\n```json\n{"n": 5}\n```', '{"name": "count", "arguments": {"n": 5}}']
)
def test_required(emulator: Emulator, form: str, text: str) -> None:
    """The arguments, alone, after words or beside the tool's name, become the call; the text stays as it was shown."""
    completion = ask(emulator, form, Turn(thinking="Hm.", text=text))
    assert calls(completion) == [("count", {"n": 5})]
    assert completion.tool_calls[0].id == "functions.count:0"
    assert (completion.text, completion.finish_reason, completion.empty) == (text, "tool_calls", None)


@each_form
def test_named(emulator: Emulator, form: str) -> None:
    """A tool that is chosen by its name is the one that is called, whatever else the arguments would fit."""
    named = {"type": "function", "function": {"name": "shout"}}
    turn = Turn(text='{"words": "hi"}')
    assert calls(ask(emulator, form, turn, tools=[SAY, SHOUT], tool_choice=named)) == [
        ("shout", {"words": "hi"})
    ]


@each_form
def test_after_the_choice_was_refused(emulator: Emulator, form: str) -> None:
    """It holds, too, when the server refuses to force a call and the choice is left to the model."""
    message = "tool_choice 'required' is incompatible with thinking enabled"
    refusal = Raw([json.dumps({"error": {"code": 400, "message": message}}).encode()], status=400)
    completion = ask(emulator, form, refusal, Turn(text='{"n": 5}'))
    assert emulator.chat_requests[1].json["tool_choice"] == "auto"
    assert calls(completion) == [("count", {"n": 5})]


@each_form
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"n": 5}', [("count", {"n": 5})]),
        ('{"words": "hi"}', []),
        ('{"name": "say", "parameters": {"words": "hi"}}', [("say", {"words": "hi"})]),
        ('{"other": 1}', []),
    ],
)
def test_several_tools(emulator: Emulator, form: str, text: str, found: list[Any]) -> None:
    """Among several tools the object is a call of the only one that it fits, by the names of the arguments."""
    assert calls(ask(emulator, form, Turn(text=text), tools=[COUNT, SAY, SHOUT])) == found


@each_form
@pytest.mark.parametrize(
    "turn",
    [
        Turn(text="I would rather not."),
        Turn(text='{"n": ', finish_reason="length"),
        Turn(text='{"n": 5}', finish_reason="length"),
        Turn(text='{"m": 5}'),
        Turn(text="[5]"),
    ],
    ids=["words", "cut", "perhaps cut", "an argument is missing", "a list"],
)
def test_what_is_no_call(emulator: Emulator, form: str, turn: Turn) -> None:
    """Words, an answer that was cut, and an object without the required arguments stay text."""
    assert calls(ask(emulator, form, turn)) == []


@each_form
@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_only_forced(emulator: Emulator, form: str, choice: str | None) -> None:
    """Where no call is forced, JSON in the answer is what the user asked for."""
    assert calls(ask(emulator, form, Turn(text='{"n": 5}'), tool_choice=choice)) == []


@each_form
def test_not_recovered(emulator: Emulator, form: str) -> None:
    """With `recover_calls=False` text stays text, also where a call was forced."""
    emulator.enqueue(Turn(text='{"n": 5}'))
    client = KimiVertexClient(base_url=emulator.base_url, implicit_thinking=False, recover_calls=False)
    completion = perform(client, form, tools=[COUNT], tool_choice="required").completion
    assert completion is not None
    assert (completion.text, completion.tool_calls) == ('{"n": 5}', ())


@each_form
def test_beside_a_call(emulator: Emulator, form: str) -> None:
    """An object beside a call is not a second one."""
    assert calls(ask(emulator, form, Turn(text='{"n": 5}', tool_calls=[Call("count", {"n": 6})]))) == [
        ("count", {"n": 6})
    ]


@each_stream
def test_a_stream_shows_the_text_at_once(emulator: Emulator, form: str) -> None:
    """The text is not held back: the call follows it, at the end."""
    emulator.enqueue(Raw([chunk(content='{"n":'), chunk("stop", content=" 5}"), b"data: [DONE]\n\n"]))
    client = KimiVertexClient(base_url=emulator.base_url, implicit_thinking=False)
    events = perform(client, form, tools=[COUNT], tool_choice="required").events
    assert events[:2] == [TextDelta('{"n":'), TextDelta(" 5}")]
    assert events[2] == ToolCallDelta(0, "functions.count:0", "count", '{"n": 5}')
