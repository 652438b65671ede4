"""Events become LlamaIndex's responses: order of blocks, mirrors, counts, damaged calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import ChatResponse, TextBlock, ThinkingBlock, ToolCallBlock

from kimi_vertex import (
    Completion,
    Event,
    Finish,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    accumulate,
)
from llama_index_kimi_vertex._responses import (
    ResponseBuilder,
    chat_response,
    tool_selections,
)

TURN: list[Event] = [
    ThinkingDelta("I must "),
    ThinkingDelta("add."),
    TextDelta("Let me "),
    TextDelta("see."),
    ToolCallDelta(0, "functions.add:0", "add", '{"a": 1'),
    ToolCallDelta(1, "functions.mul:1", "mul", '{"x"'),
    ToolCallDelta(0, None, None, ', "b": 2}'),
    ToolCallDelta(1, None, None, ": 3}"),
    Usage(11, 7, 18, cached_tokens=4, thinking_tokens=5),
    Finish("tool_calls", response_id="r1", model="kimi"),
]


def feed(events: list[Event], **options: Any) -> list[ChatResponse]:
    builder = ResponseBuilder(**options)
    responses = [response for event in events if (response := builder.add(event)) is not None]
    return [*responses, builder.finish(accumulate(events))]


def test_blocks() -> None:
    """The finished message has one Text, Thinking, then the calls with objects for arguments.

    A list of calls beside the blocks would be sent to Gemini and OpenAI as further calls.
    """
    response = feed(TURN)[-1]
    kinds = [type(block) for block in response.message.blocks]
    assert kinds == [TextBlock, ThinkingBlock, ToolCallBlock, ToolCallBlock]
    assert response.message.blocks[1] == ThinkingBlock(content="I must add.", num_tokens=5)
    assert response.message.content == "Let me see."
    assert response.message.additional_kwargs == {
        "reasoning_content": "I must add.",
        "tool_call_arguments": {"functions.add:0": '{"a": 1, "b": 2}', "functions.mul:1": '{"x": 3}'},
    }


def test_counts_and_raw() -> None:
    """Counts stand in `additional_kwargs` and in `raw["usage"]`, and `raw` is plain JSON."""
    response = feed(TURN)[-1]
    assert response.additional_kwargs == {
        "finish_reason": "tool_calls",
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "reasoning_tokens": 5,
        "cached_tokens": 4,
    }
    raw = json.loads(json.dumps(response.raw))
    assert raw == response.raw
    assert raw["usage"]["prompt_tokens"] == 11
    assert raw["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
    assert raw["choices"][0]["message"]["reasoning_content"] == "I must add."


def test_deltas_join_to_the_message() -> None:
    """Deltas and thinking deltas join to what the last message holds, and no response is without a message."""
    responses = feed(TURN)
    assert "".join(response.delta or "" for response in responses) == "Let me see."
    thinking = [response.additional_kwargs.get("thinking_delta") for response in responses]
    assert "".join(filter(None, thinking)) == "I must add."
    assert all(isinstance(response.raw, dict) for response in responses)


def test_messages_are_cumulative_and_independent() -> None:
    """Each response holds everything so far, and changing one changes no other."""
    responses = feed(TURN)
    assert [response.message.content for response in responses[:4]] == ["", "", "Let me ", "Let me see."]
    responses[2].message.blocks.clear()
    responses[2].message.additional_kwargs.clear()
    assert responses[3].message.content == "Let me see."
    assert responses[3].message.additional_kwargs["reasoning_content"] == "I must add."


@given(st.data())
def test_stream_ends_with_the_whole_answer(data: st.DataObject) -> None:
    """However the text is cut, the last streamed response equals that of the whole call."""
    thinking = data.draw(st.lists(st.text(max_size=5), max_size=4))
    text = data.draw(st.lists(st.text(min_size=1, max_size=5), max_size=4))
    events: list[Event] = [*map(ThinkingDelta, thinking), *map(TextDelta, text), Finish("stop")]
    assert feed(events)[-1] == chat_response(accumulate(events))


@pytest.mark.parametrize("thinking", [None, ""])
def test_no_thinking(thinking: str | None) -> None:
    """Without thinking there is no block; only an explicit nothing is mirrored."""
    message = chat_response(Completion(thinking=thinking, text="x", finish_reason="stop")).message
    assert message.blocks == [TextBlock(text="x")]
    assert message.additional_kwargs == ({} if thinking is None else {"reasoning_content": ""})


def test_unreliable_thinking_count_is_left_out() -> None:
    """A count of 0 beside visible thinking is not a count."""
    completion = Completion(
        thinking="hm", text="x", usage=Usage(1, 2, 3, thinking_tokens=0), finish_reason="stop"
    )
    assert chat_response(completion).message.blocks[1] == ThinkingBlock(content="hm", num_tokens=None)


def test_empty_answer_has_one_empty_text() -> None:
    """An answer without text and calls has the content `""`, never `None`."""
    response = chat_response(Completion(thinking="hm", finish_reason="stop", empty="thinking_only"))
    assert response.message.content == ""
    assert response.additional_kwargs["empty_turn"] == "thinking_only"


def test_cut_off_call_is_visible_and_not_executable() -> None:
    """A damaged call makes neither a block, nor a mirror, nor a selection; it is listed with its error."""
    events: list[Event] = [
        ThinkingDelta("t"),
        ToolCallDelta(0, "functions.rm:0", "rm", '{"path": "/tmp'),
        Finish("length", invalid_calls={0: "cut off"}),
    ]
    last = feed(events)[-1]
    assert tool_selections(last) == []
    assert not any(isinstance(block, ToolCallBlock) for block in last.message.blocks)
    assert "tool_calls" not in last.message.additional_kwargs
    call = {"id": "functions.rm:0", "name": "rm", "arguments": '{"path": "/tmp', "error": "cut off"}
    damaged = [{**call, "replaced": False, "unfit": False}]
    assert last.message.additional_kwargs["invalid_tool_calls"] == damaged
    assert last.additional_kwargs["invalid_tool_calls"] == damaged


def test_single_call() -> None:
    """With one call allowed, the second is never shown, and the last response says that it was dropped."""
    responses = feed(TURN, single_call=True)
    assert all(len(tool_selections(response)) <= 1 for response in responses)
    assert [call.tool_name for call in tool_selections(responses[-1])] == ["add"]
    assert list(responses[-1].message.additional_kwargs["tool_call_arguments"]) == ["functions.add:0"]
    assert responses[-1].additional_kwargs["dropped_tool_calls"][0]["function"]["name"] == "mul"


def test_partial_arguments_are_read_on_every_response() -> None:
    """Selections of every response on the way are dicts with string ids, as far as the JSON goes."""
    partial = [tool_selections(response) for response in feed(TURN)]
    assert partial[4][0].tool_kwargs == {"a": 1}
    assert [call.tool_kwargs for call in partial[-1]] == [{"a": 1, "b": 2}, {"x": 3}]
    assert all(isinstance(call.tool_id, str) for calls in partial for call in calls)


@pytest.mark.parametrize("arguments", ["", "{", '{"a": "half', "nonsense", '"text"'])
def test_unreadable_arguments_never_raise(arguments: str) -> None:
    """A response with unreadable arguments gives a selection, not an exception."""
    completion = Completion(tool_calls=(ToolCall("", "f", arguments),), finish_reason="tool_calls")
    (selection,) = tool_selections(chat_response(completion))
    assert selection.tool_id == "functions.f:0"
    assert isinstance(selection.tool_kwargs, dict)
