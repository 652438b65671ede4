"""Responses on their way are what the ordinary constructors would have made at that moment, whoever looks and when."""

from __future__ import annotations

import copy
import json
import pickle
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.generic_utils import stream_chat_response_to_completion_response
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.instrumentation.events.llm import LLMChatInProgressEvent, LLMCompletionInProgressEvent
from pydantic import BaseModel, TypeAdapter

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
from llama_index_kimi_vertex._arriving import GrowingText, StreamedResponse, completion_of
from llama_index_kimi_vertex._lazy import Lazy
from llama_index_kimi_vertex._responses import ResponseBuilder, tool_selections

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
    if done.thinking:
        blocks.append(ThinkingBlock(content=done.thinking, num_tokens=None))
    if done.text or not calls:
        blocks.append(TextBlock(text=done.text))
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
        raw={"choices": [{"index": 0, "delta": {"content": delta} if delta else {}}]},
        additional_kwargs={"thinking_delta": last.text} if isinstance(last, ThinkingDelta) else {},
    )


def streamed(events: Sequence[Event]) -> list[StreamedResponse]:
    builder = ResponseBuilder()
    return [response for event in events if (response := builder.add(event)) is not None]


class Holder(BaseModel):
    """A user's own model that has a response in it."""

    response: ChatResponse | CompletionResponse
    either: CompletionResponse | str | ChatResponse
    anything: Any


def held(response: Any) -> Holder:
    return Holder(response=response, either=response, anything=response)


def changed(response: BaseModel, name: str, value: Any) -> dict[str, Any]:
    setattr(response, name, value)
    return response.model_dump(exclude_unset=True)


LOOKS: dict[str, Callable[[Any], Any]] = {
    "raw": lambda r: r.raw,
    "logprobs": lambda r: r.logprobs,
    "str": str,
    "repr": repr,
    "pretty": lambda r: list(r.__pretty__(repr)),
    "rich": lambda r: (r.__repr_name__(), list(r.__rich_repr__())),
    "dict": dict,
    "vars": vars,
    "fields set": lambda r: r.model_fields_set,
    "extra": lambda r: r.model_extra,
    "private": lambda r: r.__pydantic_private__,
    "state": lambda r: r.__getstate__(),
    "itself": lambda r: r,
    "dump": lambda r: r.model_dump(),
    "dump of what is set": lambda r: r.model_dump(exclude_unset=True),
    "dump of what is not default": lambda r: r.model_dump(exclude_defaults=True),
    "JSON": lambda r: r.model_dump_json(),
    "adapter of anything": lambda r: TypeAdapter[Any](Any).dump_json(r),
    "in another model": lambda r: held(r).model_dump(),
    "in another model's JSON": lambda r: held(r).model_dump_json(),
    "another model": held,
    "in a copy of another model": lambda r: held(r).model_copy(deep=True),
    "pickle": lambda r: pickle.loads(pickle.dumps(r)),
    "bytes of the pickle": pickle.dumps,
    "pickle in a list": lambda r: pickle.loads(pickle.dumps([r])),
    "copy": copy.copy,
    "deep copy": copy.deepcopy,
    "deep copy in a list": lambda r: copy.deepcopy([r]),
    "model copy": lambda r: r.model_copy(),
    "changed copy": lambda r: r.model_copy(update={"delta": "x"}),
    "deep model copy": lambda r: r.model_copy(deep=True),
    "set delta": lambda r: changed(r, "delta", "x"),
    "attribute that does not exist": lambda r: getattr(r, "nonsense", None),
    """Whatever is asked of a streamed response first has the answer of an ordinary one, and makes it one."""
    "validation": lambda r: kind_of(r).model_validate(r),
    "validation of a dump": lambda r: kind_of(r).model_validate(r.model_dump()),
    "adapter": lambda r: TypeAdapter(kind_of(r)).dump_json(r),
}
CHAT_LOOKS: dict[str, Callable[[Any], Any]] = {
    **LOOKS,
    "message": lambda r: r.message,
    "content": lambda r: r.message.content,
    "set message": lambda r: changed(r, "message", ChatMessage("x")),
    "in an event": lambda r: LLMChatInProgressEvent(messages=[], response=r).model_dump()["response"],
}
COMPLETION_LOOKS: dict[str, Callable[[Any], Any]] = {
    **LOOKS,
    "text": lambda r: r.text,
    "additional_kwargs": lambda r: r.additional_kwargs,
    "in an event": lambda r: LLMCompletionInProgressEvent(prompt="", response=r).model_dump()["response"],
}


def kind_of(response: BaseModel) -> type[BaseModel]:
    return ChatResponse if isinstance(response, ChatResponse) else CompletionResponse


def check(response: BaseModel, expected: BaseModel, look: Callable[[Any], Any]) -> None:
    assert isinstance(response, Lazy)
    shown = look(response)
    assert shown == look(expected)
    if isinstance(shown, BaseModel) and type(shown) not in (Holder, ChatMessage):
        assert type(shown) is kind_of(expected)
    assert type(response) is kind_of(expected)
    assert look(response) == look(expected)


@pytest.mark.parametrize("look", CHAT_LOOKS.values(), ids=CHAT_LOOKS.keys())
def test_every_look_shows_an_ordinary_response(look: Callable[[Any], Any]) -> None:
    """Whatever is asked of a streamed response first has the answer of an ordinary one, and makes it one."""
    for place in PLACES:
        events = TURN[: place + 1]
        check(streamed(events)[-1], ordinary(events), look)


@pytest.mark.parametrize("look", COMPLETION_LOOKS.values(), ids=COMPLETION_LOOKS.keys())
def test_every_look_shows_an_ordinary_completion(look: Callable[[Any], Any]) -> None:
    """The same of completions, which are what LlamaIndex makes of the responses."""
    for place in PLACES:
        events = TURN[: place + 1]
        [expected] = stream_chat_response_to_completion_response(item for item in [ordinary(events)])
        check(completion_of(streamed(events)[-1]), expected, look)


@pytest.mark.parametrize("place", PLACES)
def test_equality_from_both_sides(place: int) -> None:
    """An ordinary response and a streamed one are equal, whichever stands first, and so are two streamed ones."""
    events = TURN[: place + 1]
    assert streamed(events)[-1] == ordinary(events)
    assert ordinary(events) == streamed(events)[-1]
    assert streamed(events)[-1] == streamed(events)[-1]
    assert streamed(events)[-1] != ordinary([*events, TextDelta("more")])
    assert streamed(events)[-1] != "text"
    with pytest.raises(TypeError, match="unhashable"):
        hash(streamed(events)[-1])


def test_deltas_are_no_look() -> None:
    """Reading what each response brings leaves it as it is."""
    for response in streamed(TURN):
        assert isinstance(response.delta, str)
        assert isinstance(response.additional_kwargs, dict)
        assert isinstance(response, ChatResponse)
        assert type(response) is StreamedResponse


def test_a_message_is_made_once() -> None:
    """A second look finds the same objects, changes included."""
    response = streamed(TURN)[-1]
    message, kwargs = response.message, response.additional_kwargs
    message.blocks.clear()
    assert response.message is message
    assert response.message.blocks == []
    assert response.additional_kwargs is kwargs


def test_changes_before_the_first_look_stay() -> None:
    """What a reader puts into `additional_kwargs` is there after the message has been made."""
    response = streamed(TURN)[-1]
    mine = response.additional_kwargs
    mine["seen"] = True
    assert response.model_dump()["additional_kwargs"] == {"seen": True}
    assert response.additional_kwargs is mine


@given(st.permutations(list(PLACES)), st.data())
def test_looking_back_shows_that_moment(order: list[int], data: st.DataObject) -> None:
    """In whatever order responses are looked at, during the stream or after it, each shows its own moment."""
    builder = ResponseBuilder()
    responses: list[StreamedResponse] = []
    for event in TURN:
        responses += [response for response in [builder.add(event)] if response is not None]
        early = data.draw(st.none() | st.sampled_from(range(len(responses))))
        if early is not None:
            assert responses[early] == ordinary(TURN[: early + 1])
    for place in order:
        assert responses[place] == ordinary(TURN[: place + 1])


@given(st.permutations(list(PLACES)))
def test_selections_of_any_moment(order: list[int]) -> None:
    """The calls of a response can be asked for in any order, before and after its message has been made."""
    responses = streamed(TURN)
    for place in order:
        early = tool_selections(responses[place])
        assert [call.tool_name for call in early] == ["add", "mul"][: max(0, min(place - 3, 2))]
        assert responses[place].message is not None
        assert tool_selections(responses[place]) == early


def test_long_thinking_is_complete_in_every_response() -> None:
    """However long the thinking is, each response holds all of it."""
    pieces = ["0123456789"] * 12_000
    responses = streamed([ThinkingDelta(piece) for piece in pieces])
    whole = "".join(pieces)
    for place in (0, 6_553, 6_554, 11_998, 11_999):
        assert responses[place].message.additional_kwargs["reasoning_content"] == whole[: 10 * (place + 1)]
        assert responses[place].message.blocks[0] == ThinkingBlock(content=whole[: 10 * (place + 1)])


def test_held_responses_do_not_copy_the_text() -> None:
    """Memory for all responses of a stream grows with the stream, not with its square."""

    def peak(deltas: int) -> int:
        events = [TextDelta("0123456789") for _ in range(deltas)]
        tracemalloc.start()
        kept = streamed(events)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(kept) == deltas
        return size

    assert peak(8_000) < 3 * peak(4_000)


def test_responses_that_nobody_looks_at_are_cheap() -> None:
    """They cost a fraction of what the constructors cost, and the same in a long stream as in a short one."""

    def seconds(events: Sequence[Event], look: Callable[[ChatResponse], object]) -> float:
        builder = ResponseBuilder()
        start = time.process_time()
        for event in events:
            response = builder.add(event)
            assert response is not None
            look(response)
        return (time.process_time() - start) / len(events)

    def glance(response: ChatResponse) -> str | None:
        return response.delta

    def stare(response: ChatResponse) -> ChatMessage:
        return response.message

    short, long = ([TextDelta("0123")] * count for count in (1_000, 40_000))
    tries = [(seconds(short, glance), seconds(long, glance), seconds(short, stare)) for _ in range(8)]
    assert min(cheap / dear for cheap, _, dear in tries) < 0.5
    assert min(late / early for early, late, _ in tries) < 2


def test_threads_may_look_while_the_text_grows() -> None:
    """Threads that look at a response while more arrive see its text, and all find the same message."""
    builder = ResponseBuilder()
    whole = ""
    with ThreadPoolExecutor(8) as pool:
        for number in range(2_000):
            response = builder.add(TextDelta(f"{number} "))
            assert response is not None
            whole += f"{number} "
            looks = [pool.submit(getattr, response, "message") for _ in range(2)]
            builder.add(TextDelta("x"))
            assert looks[0].result() is looks[1].result()
            assert looks[0].result().content == whole
            whole += "x"


@given(st.lists(st.text(max_size=4)), st.data())
def test_growing_text(pieces: list[str], data: st.DataObject) -> None:
    """Any beginning can be had at any time."""
    text, whole = GrowingText(), ""
    for piece in pieces:
        text.add(piece)
        whole += piece
        length = data.draw(st.integers(0, len(whole)))
        assert text.upto(length) == whole[:length]
    assert text.length == len(whole)
    assert text.upto(len(whole)) == whole


def test_arriving_arguments_are_plain_json() -> None:
    """Blocks and mirrors of a call on its way hold the text so far."""
    message = streamed(TURN)[4].message
    assert json.loads(json.dumps(message.additional_kwargs["tool_calls"]))[0]["function"] == {
        "name": "add",
        "arguments": '{"a": 1',
    }
