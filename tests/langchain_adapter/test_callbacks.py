"""Thinking reaches its listeners as it arrives, once, on every path, and a listener cannot break a call."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from kimi_vertex import Event, Finish, TextDelta, ThinkingDelta, ToolCallDelta, accumulate
from kimi_vertex_emulator import Call, Emulator, Raw, Turn
from langchain_kimi_vertex import ChatKimiVertex, ThinkingCallbackHandler
from langchain_kimi_vertex._chunks import Chunks

from .conftest import MakeModel

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


TURN = Turn(thinking=["Let me ", "see."], text=["It is ", "blue."])
LOG = [
    ("start", ""),
    ("thinking", "Let me "),
    ("thinking", "see."),
    ("end", "Let me see."),
    ("answer", "It is "),
    ("answer", "blue."),
]


class Recorder(ThinkingCallbackHandler):
    """Notes every hook that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, str]] = []
        self.context: dict[str, Any] = {}

    def on_thinking_start(self, **context: Any) -> None:
        self.log.append(("start", ""))
        self.context = context

    def on_thinking_token(self, token: str, **context: Any) -> None:
        self.log.append(("thinking", token))

    def on_thinking_end(self, thinking: str, **context: Any) -> None:
        self.log.append(("end", thinking))

    def on_answer_token(self, token: str, **context: Any) -> None:
        self.log.append(("answer", token))


async def _run(path: str, model: BaseChatModel, config: Any) -> None:
    match path:
        case "invoke":
            model.invoke("q", config)
        case "ainvoke":
            await model.ainvoke("q", config)
        case "stream":
            list(model.stream("q", config))
        case "astream":
            [_ async for _ in model.astream("q", config)]
        case "events v2":
            [_ async for _ in model.astream_events("q", config, version="v2")]
        case "events v3":
            list(model.stream_events("q", config, version="v3"))
        case "async events v3":
            await (await model.astream_events("q", config, version="v3"))


PATHS = ["invoke", "ainvoke", "stream", "astream", "events v2", "events v3", "async events v3"]


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("path", PATHS)
async def test_handler_hears_every_piece_once(
    emulator: Emulator, make_model: MakeModel, path: str, version: str | None
) -> None:
    """Start, pieces, end and answer come in order and once, also for `invoke`."""
    emulator.enqueue(TURN)
    recorder = Recorder()
    await _run(path, make_model(output_version=version), {"callbacks": [recorder]})
    assert recorder.log == LOG


async def test_context(emulator: Emulator, make_model: MakeModel) -> None:
    """Hooks know the run, its tags and its metadata."""
    emulator.enqueue(TURN)
    recorder = Recorder()
    config: Any = {"callbacks": [recorder], "tags": ["t"], "metadata": {"user": 7}, "run_id": UUID(int=5)}
    list(make_model().stream("q", config))
    assert recorder.context["run_id"] == UUID(int=5)
    assert recorder.context["tags"] == ["t"]
    assert recorder.context["metadata"]["user"] == 7


async def test_thinking_ends_before_a_tool_call(emulator: Emulator, make_model: MakeModel) -> None:
    """Without text, the tool call ends the thinking."""
    emulator.enqueue(Turn(thinking=["Hm."], tool_calls=[Call("f", {})]))
    recorder = Recorder()
    list(make_model().stream("q", {"callbacks": [recorder]}))
    assert recorder.log == [("start", ""), ("thinking", "Hm."), ("end", "Hm.")]


def test_without_streaming_it_comes_whole(emulator: Emulator, make_model: MakeModel) -> None:
    """With streaming forbidden, the handler still gets everything, at the end."""
    emulator.enqueue(TURN)
    recorder = Recorder()
    make_model(disable_streaming=True).invoke("q", {"callbacks": [recorder]})
    assert recorder.log == [
        ("start", ""),
        ("thinking", "Let me see."),
        ("end", "Let me see."),
        ("answer", "It is blue."),
    ]
    assert not emulator.requests[-1].json.get("stream")


@pytest.mark.parametrize("path", ["invoke", "ainvoke"])
async def test_without_streaming_on_thinking_is_told_at_the_end(
    emulator: Emulator, make_model: MakeModel, path: str
) -> None:
    """With streaming forbidden, `on_thinking` gets the whole thinking at once, and no stream is asked for."""
    emulator.enqueue(TURN)
    heard: list[str] = []

    async def hear(text: str) -> None:
        await asyncio.sleep(0.01)
        heard.append(text)

    callback = hear if path == "ainvoke" else heard.append
    await _run(path, make_model(disable_streaming=True, on_thinking=callback), {})
    assert heard == ["Let me see."]
    assert not emulator.requests[-1].json.get("stream")


def test_a_model_that_fires_both_callbacks_is_heard_once() -> None:
    """Chunks and protocol events of the same piece, as other integrations fire them, count once."""
    recorder = Recorder()
    run = UUID(int=1)
    for piece in ("a", "b"):
        message = AIMessageChunk(content=[{"type": "reasoning", "reasoning": piece}])
        recorder.on_llm_new_token("", chunk=ChatGenerationChunk(message=message), run_id=run)
        event = {"event": "content-block-delta", "delta": {"type": "reasoning-delta", "reasoning": piece}}
        recorder.on_stream_event(event, run_id=run)
    assert recorder.log == [("start", ""), ("thinking", "a"), ("thinking", "b")]


_PIECES = st.text(max_size=3)
_DELTAS = st.lists(
    st.builds(ThinkingDelta, _PIECES)
    | st.builds(TextDelta, _PIECES)
    | st.just(ToolCallDelta(0, "functions.f:0", "f", "{}")),
    max_size=8,
)


@given(_DELTAS, st.none() | st.just("No."))
def test_pieces_are_heard_as_their_blocks_say(deltas: list[Event], refusal: str | None) -> None:
    """Chunks of this model, which are read without making blocks of them, are heard as their blocks would be."""
    by_chunk, by_blocks = Recorder(), Recorder()
    chunks, whole = Chunks("m"), accumulate([*deltas, Finish("stop", refusal=refusal)])
    for chunk in [*(chunk for delta in deltas for chunk in chunks.add(delta)), *chunks.finish(whole)]:
        by_chunk.on_llm_new_token(chunk.text, chunk=chunk, run_id=UUID(int=1))
        chunk.message.content = chunk.message.content_blocks  # type: ignore[assignment]
        chunk.message.response_metadata["output_version"] = "v1"
        by_blocks.on_llm_new_token(chunk.text, chunk=chunk, run_id=UUID(int=1))
    assert by_chunk.log == by_blocks.log


@pytest.mark.parametrize("inline", [True, False])
async def test_functions_run_on_the_event_loop(
    emulator: Emulator, make_model: MakeModel, inline: bool
) -> None:
    """In asynchronous calls too, unless `run_inline` says that they may block and need a thread."""
    threads: list[int] = []
    handler = ThinkingCallbackHandler(thinking=lambda _: threads.append(threading.get_ident()))
    handler.run_inline = inline
    emulator.enqueue(TURN)
    [_ async for _ in make_model().astream("q", {"callbacks": [handler]})]
    assert [thread == threading.get_ident() for thread in threads] == [inline] * 2


def test_other_models() -> None:
    """The handler serves any model with standard blocks."""
    recorder = Recorder()
    model = GenericFakeChatModel(
        messages=iter([AIMessage("blue", additional_kwargs={"reasoning_content": "hm"})])
    )
    model.invoke("q", {"callbacks": [recorder]})
    assert recorder.log == [("start", ""), ("thinking", "hm"), ("end", "hm"), ("answer", "blue")]


def test_handler_that_raises(
    emulator: Emulator, make_model: MakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in a hook is logged; the answer arrives."""

    def fail(text: str) -> None:
        raise RuntimeError("display gone")

    emulator.enqueue(TURN)
    handler = ThinkingCallbackHandler(thinking=fail)
    assert make_model().invoke("q", {"callbacks": [handler]}).text == "It is blue."
    assert "display gone" in caplog.text


@pytest.mark.parametrize(("coroutine", "per_call"), [(False, False), (True, True)])
@pytest.mark.parametrize("path", PATHS)
async def test_thinking_callback(
    emulator: Emulator, make_model: MakeModel, path: str, coroutine: bool, per_call: bool
) -> None:
    """`on_thinking` takes functions and coroutine functions, per model or per call, sync and async."""
    heard: list[str] = []

    async def hear_async(text: str) -> None:
        await asyncio.sleep(0)
        heard.append(text)

    callback: Any = hear_async if coroutine else heard.append
    emulator.enqueue(TURN)
    model: Any = make_model().bind(on_thinking=callback) if per_call else make_model(on_thinking=callback)
    await _run(path, model, {})
    # Synchronous code on a running loop cannot wait for a coroutine function: it is a task of that loop.
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert heard == ["Let me ", "see."]


@pytest.mark.parametrize("path", ["invoke", "astream"])
async def test_thinking_callback_that_raises(
    emulator: Emulator, make_model: MakeModel, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing `on_thinking` is logged and does not disturb the call."""

    def fail(text: str) -> None:
        raise RuntimeError("display gone")

    emulator.enqueue(TURN)
    with caplog.at_level(logging.WARNING):
        await _run(path, make_model(on_thinking=fail), {})
    assert "on_thinking raised" in caplog.text


def _event(delta: str) -> bytes:
    return b'data: {"choices": [{"index": 0, "delta": ' + delta.encode() + b"}]}\n\n"


_HELD = Raw(
    [
        _event('{"role": "assistant", "reasoning_content": "Hm"}'),
        0.3,
        _event('{"content": "Blue."}'),
        b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
    ]
)


def test_thinking_is_heard_before_the_answer_is_sent(emulator: Emulator, make_model: MakeModel) -> None:
    """The first piece of thinking is heard while the server still holds back the rest, on each path."""

    def ahead(path: str) -> bool:
        heard: list[float] = []
        asyncio.run(_run(path, make_model(on_thinking=lambda _: heard.append(time.monotonic())), {}))
        return time.monotonic() - heard[0] > 0.1

    emulator.enqueue(*[_HELD] * len(PATHS))
    with ThreadPoolExecutor(len(PATHS)) as pool:
        assert dict(zip(PATHS, pool.map(ahead, PATHS), strict=True)) == dict.fromkeys(PATHS, True)


def test_streaming_recorder_is_a_normal_handler() -> None:
    """The handler is a `BaseCallbackHandler`, so any framework that takes those takes it."""
    assert isinstance(Recorder(), BaseCallbackHandler)


def test_chunk_thinking_is_in_both_conventions(emulator: Emulator, model: ChatKimiVertex) -> None:
    """A streamed piece of thinking is in `additional_kwargs` and in `content_blocks`."""
    emulator.enqueue(TURN)
    first = next(iter(model.stream("q")))
    assert first.additional_kwargs["reasoning_content"] == "Let me "
    assert [(b["type"], b.get("reasoning")) for b in first.content_blocks] == [("reasoning", "Let me ")]
