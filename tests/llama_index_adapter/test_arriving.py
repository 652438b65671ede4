"""Responses of a stream are what the framework's own constructors make of all that has arrived."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.generic_utils import stream_chat_response_to_completion_response
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from pydantic import BaseModel

from kimi_vertex import (
    Completion,
    Event,
    InvalidToolCall,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    accumulate,
)
from llama_index_kimi_vertex._responses import ResponseBuilder, completion_response, tool_selections

TURN: list[Event] = [ThinkingDelta("I must "), ThinkingDelta("add.")]
TURN += [TextDelta("Let me "), TextDelta("see.")]
TURN += [
    ToolCallDelta(0, "functions.add:0", "add", '{"a": 1'),
    ToolCallDelta(1, "functions.mul:1", "mul", '{"x"'),
]
TURN += [ToolCallDelta(0, None, None, ', "b": 2}'), ToolCallDelta(1, None, None, ": 3}")]
PLACES = range(len(TURN))


def ordinary(events: Sequence[Event]) -> ChatResponse:
    """The response after the last of these events, made with public constructors only."""
    done: Completion = accumulate(events)
    found: list[ToolCall | InvalidToolCall] = [*done.tool_calls, *done.invalid_tool_calls]
    calls = sorted(found, key=lambda call: call.id)
    blocks: list[ContentBlock] = []
    kwargs: dict[str, Any] = {}
    if done.thinking is not None:
        kwargs["reasoning_content"] = done.thinking
    if done.text or not calls:
        blocks.append(TextBlock(text=done.text))
    if done.thinking:
        blocks.append(ThinkingBlock(content=done.thinking, num_tokens=None))
    if calls:
        blocks += [
            ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments)
            for call in calls
        ]
        kwargs["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    last = events[-1]
    delta = last.text if isinstance(last, TextDelta) else ""
    return ChatResponse(
        message=ChatMessage(role="assistant", blocks=blocks, additional_kwargs=kwargs),
        delta=delta,
        raw={"choices": [{"index": 0, "delta": sent(last)}]},
        additional_kwargs={"thinking_delta": last.text} if isinstance(last, ThinkingDelta) else {},
    )


def sent(event: Event) -> dict[str, Any]:
    """What the server sent of a piece."""
    if isinstance(event, ThinkingDelta):
        return {"reasoning_content": event.text}
    if isinstance(event, TextDelta):
        return {"content": event.text}
    assert isinstance(event, ToolCallDelta)
    named = {} if event.name is None else {"name": event.name}
    identified = {} if event.id is None else {"id": event.id, "type": "function"}
    function = {"arguments": event.arguments, **named}
    return {"tool_calls": [{"index": event.index, **identified, "function": function}]}


def streamed(events: Sequence[Event]) -> list[ChatResponse]:
    builder = ResponseBuilder()
    return [response for event in events if (response := builder.add(event)) is not None]


LOOKS: dict[str, Callable[[BaseModel], Any]] = {
    "class": type,
    "itself": lambda it: it,
    "fields, in order": lambda it: list(vars(it)),
    "repr": repr,
    "fields set": lambda it: it.model_fields_set,
    "extra": lambda it: it.model_extra,
    "private": lambda it: it.__pydantic_private__,
    "dump": lambda it: it.model_dump(),
    "dump of what is set": lambda it: it.model_dump(exclude_unset=True),
    "JSON": lambda it: it.model_dump_json(),
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    "deep copy": copy.deepcopy,
    "changed copy": lambda it: it.model_copy(update={"additional_kwargs": {}}),
    "validation": lambda it: type(it).model_validate(it.model_dump()),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_each_response_is_an_ordinary_one(look: Callable[[BaseModel], Any]) -> None:
    """Whatever is asked of a response and its message has the answer of those that the constructors make."""
    made, expected = streamed(TURN), [ordinary(TURN[: place + 1]) for place in PLACES]
    assert [look(response) for response in made] == [look(response) for response in expected]
    assert [look(response.message) for response in made] == [look(response.message) for response in expected]


def test_responses_share_nothing_that_can_change() -> None:
    """Changing a response changes no other, also not one that is made later."""
    builder = ResponseBuilder()
    first = builder.add(ThinkingDelta("a"))
    assert first is not None
    first.message.blocks.clear()
    first.message.model_fields_set.clear()
    first.message.additional_kwargs.clear()
    first.additional_kwargs.clear()
    assert isinstance(first.raw, dict)
    first.raw.clear()
    later = builder.add(ThinkingDelta("b"))
    expected = ordinary([ThinkingDelta("a"), ThinkingDelta("b")])
    assert later == expected
    assert later is not None
    assert later.message.model_fields_set == expected.message.model_fields_set


@pytest.mark.parametrize("place", PLACES)
def test_each_completion_is_an_ordinary_one(place: int) -> None:
    """Completions are those that LlamaIndex makes of the responses."""
    [expected] = stream_chat_response_to_completion_response(item for item in [ordinary(TURN[: place + 1])])
    made = completion_response(streamed(TURN)[place])
    assert made == expected
    assert made.model_dump(exclude_unset=True) == expected.model_dump(exclude_unset=True)


def test_selections_of_an_early_response_stay() -> None:
    """The calls of a response are those of its moment, also when they are read after the stream."""
    early, responses = [], []
    builder = ResponseBuilder()
    for event in TURN:
        if (response := builder.add(event)) is not None:
            early.append(tool_selections(response))
            responses.append(response)
    assert [tool_selections(response) for response in responses] == early
    assert early[-1][0].tool_kwargs == {"a": 1, "b": 2}


def test_long_thinking_is_complete_in_every_response() -> None:
    """However long the thinking is, each response holds all of it."""
    pieces = ["0123456789"] * 2_000
    responses = streamed([ThinkingDelta(piece) for piece in pieces])
    whole = "".join(pieces)
    for place in (0, 1_000, 1_999):
        assert responses[place].message.additional_kwargs["reasoning_content"] == whole[: 10 * (place + 1)]
        assert responses[place].message.blocks[1] == ThinkingBlock(content=whole[: 10 * (place + 1)])


def test_arriving_arguments_are_plain_json() -> None:
    """Blocks and mirrors of a call on its way hold the text so far."""
    message = streamed(TURN)[4].message
    assert json.loads(json.dumps(message.additional_kwargs["tool_calls"]))[0]["function"] == {
        "name": "add",
        "arguments": '{"a": 1',
    }
