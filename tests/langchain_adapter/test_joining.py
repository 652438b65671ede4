"""The sum of a stream's chunks is LangChain's own sum of them, without its price."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import operator
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from langchain_core.runnables import RunnableConfig

from kimi_vertex import APIError, Event, Finish, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from kimi_vertex_emulator import Call, Emulator, Raw, Turn
from langchain_kimi_vertex import ChatKimiVertex
from langchain_kimi_vertex._chunks import ChunkBuilder
from langchain_kimi_vertex._handed_out import let_go
from langchain_kimi_vertex._joining import JoiningChunk, _joined

_TEXTS = st.text(max_size=5)


@st.composite
def _streams(draw: st.DrawFn) -> list[Event]:
    """Events of one turn, thinking, text and pieces of several calls in any order."""
    calls = draw(st.integers(0, 3))
    begun = 0
    events: list[Event] = []
    for kind in draw(st.lists(st.sampled_from(["think", "say", "call"]), max_size=25)):
        text = draw(_TEXTS | st.sampled_from(['{"a": ', "1}", "{", "}", "[1", ""]))
        if kind == "think":
            events.append(ThinkingDelta(text))
        elif kind == "say":
            events.append(TextDelta(text))
        elif calls:
            index = draw(st.integers(0, min(begun, calls - 1)))
            first = index == begun
            begun += first
            events.append(
                ToolCallDelta(index, f"functions.f:{index}" if first else None, "f" if first else None, text)
            )
    invalid = {n: "no" for n in range(begun) if draw(st.booleans())}
    if draw(st.booleans()):
        events.append(Usage(50, 20, 70, *draw(st.tuples(st.none() | st.just(3), st.none() | st.just(9)))))
    if draw(st.booleans()):
        refusal = draw(st.none() | st.just("No."))
        events.append(Finish("stop", None, "r", "m", invalid, None, refusal, {"created": 1}))
    return events


def _chunks(events: Sequence[Event]) -> list[Any]:
    builder = ChunkBuilder("m")
    return [chunk for event in events if (chunk := builder.add(event)) is not None]


def _v1(chunk: ChatGenerationChunk) -> None:
    chunk.message.content = chunk.message.content_blocks  # type: ignore[assignment]
    chunk.message.response_metadata["output_version"] = "v1"


def _change(name: str, value: Any) -> Callable[[ChatGenerationChunk], None]:
    return lambda chunk: setattr(chunk.message, name, value)


_CHANGES: list[Callable[[ChatGenerationChunk], None]] = [
    _v1,
    _change("response_metadata", {}),
    _change("response_metadata", {"model_provider": "openai"}),
    _change("response_metadata", {"model_provider": "kimi_vertex", "finish_reason": "stop"}),
    _change("additional_kwargs", {"reasoning_content": None}),
    _change("additional_kwargs", {"reasoning_content": "t", "seen": 1}),
    _change("usage_metadata", {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    _change("chunk_position", "last"),
    _change("content", []),
    _change("content", ["a", {"type": "text", "text": "b", "index": 0}]),
    _change("tool_call_chunks", [tool_call_chunk(args="{", index=None)]),
    _change("tool_call_chunks", [tool_call_chunk(args="1", id="other", index=0)]),
    _change("tool_call_chunks", [tool_call_chunk(args="1", index=0), tool_call_chunk(args="2", index=0)]),
    _change("tool_call_chunks", [tool_call_chunk(args="1", name="g", index=0)]),
    _change("tool_call_chunks", [tool_call_chunk(args=None, index=1)]),
    _change("name", "somebody"),
    *(_change("id", value) for value in ("", "run-1", "lc_run--1", "lc_1", "msg-1", "msg-2")),
    lambda chunk: setattr(chunk, "generation_info", {"finish_reason": "stop"}),
    lambda chunk: setattr(chunk, "generation_info", {}),
]


def _sum(add: Callable[[Any, Any], ChatGenerationChunk], first: Any, others: Any, handed_out: int = 0) -> Any:
    """The sum as JSON, in which the order of keys counts, or the kind of error."""
    # Copies: the sum of langchain-core 1.6 grows inside the first chunk's content.
    first, others = copy.deepcopy((first, others))
    for chunk in [first, *others][:handed_out]:
        if isinstance(chunk, JoiningChunk):
            let_go(chunk)
    try:
        total = add(first, others)
    except (TypeError, ValueError, AttributeError) as error:
        return type(error)
    message = total.message
    return (
        type(total),
        json.dumps(total.model_dump()),
        json.dumps(message.model_dump()),
        message.model_fields_set,
    )


def _assert_equal_sums(chunks: list[Any], handed_out: int = 0) -> None:
    first, *others = chunks
    expected = _sum(ChatGenerationChunk.__add__, first, others)
    assert _sum(operator.add, first, others, handed_out) == expected


@given(_streams(), st.none() | st.just("lc_run--1"), st.just(99) | st.integers(0, 25))
def test_the_sum_of_a_stream(events: list[Event], message_id: str | None, handed_out: int) -> None:
    """Text, thinking, calls, invalid calls, usage, refusal, metadata: as LangChain adds them up."""
    chunks = _chunks(events)
    for chunk in chunks:
        chunk.message.id = message_id
    if chunks:
        _assert_equal_sums(chunks, handed_out)


@given(_streams(), _streams(), st.booleans(), st.data())
def test_the_sum_with_changed_chunks(
    events: list[Event], others: list[Event], shuffled: bool, data: st.DataObject
) -> None:
    """Chunks that LangChain, a callback or another stream has put in or changed are added as ever."""
    chunks = [*_chunks(events)[:12], *_chunks(others)[:6]]
    if shuffled:
        chunks = data.draw(st.permutations(chunks))
    for _ in range(data.draw(st.integers(0, 3)) if chunks else 0):
        data.draw(st.sampled_from(_CHANGES))(data.draw(st.sampled_from(chunks)))
    if chunks:
        _assert_equal_sums(chunks, data.draw(st.just(99) | st.integers(0, 20)))


@pytest.mark.parametrize("change", _CHANGES)
def test_the_sum_with_one_changed_chunk(change: Callable[[ChatGenerationChunk], None]) -> None:
    """Each change, at every place of a stream."""
    events: list[Event] = [ThinkingDelta("a"), ThinkingDelta("b"), TextDelta("c"), TextDelta("d")]
    events += [ToolCallDelta(0, "functions.f:0", "f", '{"q": ')]
    events += [
        ToolCallDelta(0, None, None, "["),
        ToolCallDelta(0, None, None, "]"),
        TextDelta("e"),
        TextDelta("f"),
    ]
    end: list[Event] = [Usage(1, 2, 3), Finish("stop")]
    for place, finished in product(range(len(events)), (True, False)):
        chunks = _chunks([*events, *(end if finished else [])])
        change(chunks[place])
        _assert_equal_sums(chunks, len(chunks))


def test_other_peoples_chunks() -> None:
    """Ordinary chunks may stand among ours, or in front."""
    ours = _chunks([ThinkingDelta("a"), ThinkingDelta("b"), TextDelta("c"), TextDelta("d")])
    other = ChatGenerationChunk(message=AIMessageChunk(content="x", additional_kwargs={"n": 1}))
    _assert_equal_sums([*ours[:2], other, *ours[2:]])
    _assert_equal_sums([other, *ours])
    total = other + list(ours)
    assert total.message.additional_kwargs == {"n": 1, "reasoning_content": "ab"}


def test_what_is_no_chunk_cannot_be_added() -> None:
    """The error is LangChain's."""
    chunk = _chunks([TextDelta("c")])[0]
    for other in ([chunk, "x"], "x", [1]):
        assert _sum(operator.add, chunk, other) is TypeError


def test_adding_changes_no_chunk() -> None:
    """The chunks that a consumer still holds stay as they were."""
    events: list[Event] = [
        ThinkingDelta("a"),
        ToolCallDelta(0, "i", "f", "{"),
        ToolCallDelta(0, None, None, "}"),
    ]
    chunks = _chunks([*events, *events[:1], Finish("stop")])
    before = [chunk.model_dump() for chunk in chunks]
    merge_chat_generation_chunks(chunks)
    assert [chunk.model_dump() for chunk in chunks] == before


class _End(BaseCallbackHandler):
    result: LLMResult

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.result = response


def test_tracers_get_the_sum_that_a_user_would_make(emulator: Emulator, model: ChatKimiVertex) -> None:
    """What `on_llm_end` reports is the sum of the chunks that `stream` yielded."""
    emulator.enqueue(
        Turn(
            thinking=["Two ", "look", "ups."],
            text=["Look", "ing."],
            tool_calls=[Call("look", {"q": "a"}), Call("write", '{"path": "/va')],
            finish_reason="length",
        )
    )
    end = _End()
    total, *rest = model.stream("q", {"callbacks": [end]})
    for chunk in rest:
        total = total + chunk
    (generation,) = end.result.generations[0]
    assert type(generation) is ChatGenerationChunk
    assert generation.message == total


class _Counter(BaseCallbackHandler):
    """Counts the message chunks that are alive, from time to time."""

    def __init__(self) -> None:
        self.tokens = 0
        self.alive: list[int] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens += 1
        if self.tokens % 100 == 0:
            self.alive.append(_alive())


def _alive() -> int:
    return sum(type(thing) is AIMessageChunk for thing in gc.get_objects())


_LONG = Turn(thinking=["t"] * 200, text=["x"] * 200, tool_calls=[Call("look", {"q": "a" * 2_000})])


@pytest.mark.parametrize("way", ["stream", "astream", "invoke", "ainvoke"])
def test_no_message_is_held_that_was_handed_out(emulator: Emulator, way: str) -> None:
    """While a stream runs, the chunks that LangChain gathers for its end hold no messages."""
    emulator.enqueue(_LONG)
    model = ChatKimiVertex(base_url=emulator.base_url, streaming=True)
    counter = _Counter()
    config: RunnableConfig = {"callbacks": [counter]}
    before = _alive()

    async def drain() -> None:
        async for _ in model.astream("q", config):
            pass

    if way == "stream":
        for _ in model.stream("q", config):
            pass
    elif way == "invoke":
        model.invoke("q", config)
    else:
        asyncio.run(drain() if way == "astream" else model.ainvoke("q", config))
    assert len(counter.alive) == 6
    assert max(counter.alive) - before < 10


class _Collector(BaseCallbackHandler):
    def __init__(self) -> None:
        self.chunks: list[ChatGenerationChunk] = []

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        self.chunks.append(chunk)


def test_a_handler_that_keeps_chunks_finds_their_messages(emulator: Emulator, model: ChatKimiVertex) -> None:
    """Tracers hold the chunks until the end of the run."""
    emulator.enqueue(_LONG)
    collector = _Collector()
    messages = list(model.stream("q", {"callbacks": [collector]}))
    assert [chunk.message for chunk in collector.chunks] == messages


class _Failed(BaseCallbackHandler):
    response: LLMResult

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.response = kwargs["response"]


_ERROR = b'data: {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}\n\n'


@pytest.mark.parametrize("ending", [b'data: {"choi', _ERROR])
@pytest.mark.parametrize("way", ["stream", "astream"])
def test_what_came_before_a_failure_is_in_its_report(emulator: Emulator, way: str, ending: bytes) -> None:
    """A stream that is cut, or ends in an error, is reported with the sum of the chunks that were handed out."""
    deltas = [
        {"reasoning_content": "th"},
        {"reasoning_content": "ink"},
        {"content": "Hel"},
        {"content": "lo"},
    ]
    chunks = [json.dumps({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    emulator.enqueue(Raw([*(f"data: {chunk}\n\n".encode() for chunk in chunks), ending]))
    model = ChatKimiVertex(base_url=emulator.base_url, max_retries=0)
    failed = _Failed()
    config: RunnableConfig = {"callbacks": [failed]}

    async def drain() -> list[Any]:
        return [chunk async for chunk in model.astream("q", config)]

    with pytest.raises(APIError):
        _ = asyncio.run(drain()) if way == "astream" else list(model.stream("q", config))
    generation = failed.response.generations[0][0]
    assert isinstance(generation, ChatGenerationChunk)
    assert generation.message.content == "Hello"
    assert generation.message.additional_kwargs == {"reasoning_content": "think"}


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns a thousand times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


_LOOKS: list[Callable[[JoiningChunk], object]] = [
    lambda chunk: chunk.message.content,
    lambda chunk: chunk.model_dump(exclude_unset=True)["message"]["content"],
    lambda chunk: chunk.model_copy(update={"generation_info": {}}).text,
]


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("look", _LOOKS)
def test_other_threads_may_look_at_any_moment(look: Callable[[JoiningChunk], object]) -> None:
    """Before, while and after a chunk lets go of its message, it is whole to everybody."""
    chunks = _chunks([TextDelta(str(n)) for n in range(4_000)])
    place = 0
    seen: list[tuple[int, object]] = []

    def follow() -> None:
        while (at := place) < len(chunks):
            try:
                seen.append((at, look(chunks[at])))
            except Exception as error:
                seen.append((at, error))

    onlookers = [threading.Thread(target=follow) for _ in range(2)]
    for onlooker in onlookers:
        onlooker.start()
    for chunk in chunks:
        let_go(chunk)
        place += 1
    for onlooker in onlookers:
        onlooker.join()
    assert seen
    assert [(at, found) for at, found in seen if found != str(at)] == []


def test_a_thread_that_comes_late_finds_what_another_brought_back() -> None:
    """Two threads miss the message, one brings it back, and only then the other one asks for it."""
    [chunk] = _chunks([TextDelta("x")])
    let_go(chunk)
    message = chunk.message
    ask: Any = type(chunk)
    assert ask.__getattr__(chunk, "message") is message


def test_langchain_adds_up_few_chunks() -> None:
    """However long the stream, LangChain's own addition sees a handful of chunks, interleaved deltas included."""
    events: list[Event] = [ToolCallDelta(n, f"functions.f:{n}", "f", "{") for n in range(2)]
    for _ in range(500):
        events += [ThinkingDelta("t"), TextDelta("x")]
        events += [ToolCallDelta(0, None, None, " "), ToolCallDelta(1, None, None, " ")]
    first, *others = _chunks([*events, Finish("tool_calls")])
    assert len(_joined(first, others)) == 3
