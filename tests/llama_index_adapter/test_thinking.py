"""Thinking reaches its listeners, live, in order, from every path, and listeners break nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation.events.llm import LLMChatStartEvent, LLMCompletionStartEvent

from kimi_vertex_emulator import Emulator, Raw, Turn
from llama_index_kimi_vertex import KimiVertex, ThinkingDeltaEvent

from .conftest import Chat, Complete, MakeLLM, Recorder

PIECES = ["First ", "this, ", "then that."]
TURN = Turn(thinking=PIECES, text="Done.")


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
def test_on_thinking_in_chat(emulator: Emulator, make_llm: MakeLLM, chat: Chat, kind: str) -> None:
    """`on_thinking` gets every piece in order in all chat methods, also in those that do not stream."""
    heard: list[str] = []

    async def listen(text: str) -> None:
        await asyncio.sleep(0)
        heard.append(text)

    emulator.enqueue(TURN)
    llm = make_llm(on_thinking=heard.append if kind == "function" else listen)
    assert chat(llm, "Hi")[-1].message.content == "Done."
    assert heard == PIECES


def test_on_thinking_in_completions(emulator: Emulator, make_llm: MakeLLM, complete: Complete) -> None:
    """`on_thinking` gets every piece in all completion methods."""
    heard: list[str] = []
    emulator.enqueue(TURN)
    complete(make_llm(on_thinking=heard.append), "Hi")
    assert heard == PIECES


def test_listener_that_raises_breaks_nothing(
    emulator: Emulator, make_llm: MakeLLM, chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of a listener is logged once per call; the answer arrives."""

    def broken(text: str) -> None:
        raise RuntimeError("no screen")

    emulator.enqueue(TURN)
    with caplog.at_level(logging.WARNING, logger="kimi_vertex"):
        assert chat(make_llm(on_thinking=broken), "Hi")[-1].message.content == "Done."
    assert [record.getMessage().count("no screen") for record in caplog.records] == [1]


def test_coroutine_listener_in_a_sync_call_inside_a_loop(emulator: Emulator, make_llm: MakeLLM) -> None:
    """A synchronous call inside a running loop leaves the coroutines to that loop, in order."""
    heard: list[str] = []

    async def listen(text: str) -> None:
        heard.append(text)

    async def main() -> None:
        emulator.enqueue(TURN)
        make_llm(on_thinking=listen).chat([ChatMessage("Hi")])
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert heard == PIECES


def test_events_on_the_dispatcher(
    emulator: Emulator, llm: KimiVertex, chat: Chat, recorder: Recorder
) -> None:
    """The thinking of each call joins from `ThinkingDeltaEvent`s, one per delta in streams."""
    emulator.enqueue(TURN)
    chat(llm, "Hi")
    events = recorder.of(ThinkingDeltaEvent)
    assert "".join(event.delta for event in events) == "".join(PIECES)
    assert len(events) == (3 if "stream" in getattr(chat, "__name__", "") else 1)
    assert events[0].model == "moonshotai/kimi-k2-thinking-maas"
    assert events[0].class_name() == "ThinkingDeltaEvent"


def test_events_know_their_span(emulator: Emulator, llm: KimiVertex, chat: Chat, recorder: Recorder) -> None:
    """Each piece belongs to the span of its call, also in a stream, which outlives the method."""
    emulator.enqueue(TURN)
    chat(llm, "Hi")
    [start] = recorder.of(LLMChatStartEvent)
    assert {event.span_id for event in recorder.of(ThinkingDeltaEvent)} == {start.span_id} != {None}


def test_events_of_completions_know_their_span(
    emulator: Emulator, llm: KimiVertex, complete: Complete, recorder: Recorder
) -> None:
    """The same holds for the completion methods."""
    emulator.enqueue(TURN)
    complete(llm, "Hi")
    [start] = recorder.of(LLMCompletionStartEvent)
    assert {event.span_id for event in recorder.of(ThinkingDeltaEvent)} == {start.span_id} != {None}


def chunk(delta: str, finish: str = "null") -> bytes:
    return f'data: {{"choices":[{{"index":0,"delta":{{{delta}}},"finish_reason":{finish}}}]}}\n\n'.encode()


def test_thinking_is_live(emulator: Emulator, make_llm: MakeLLM) -> None:
    """The callback has the first thinking while the server still holds back the rest, in each method."""
    hi = [ChatMessage("Hi")]
    methods: dict[str, Callable[[KimiVertex], Any]] = {
        "chat": lambda llm: llm.chat(hi),
        "complete": lambda llm: llm.complete("Hi"),
        "stream_chat": lambda llm: list(llm.stream_chat(hi)),
        "achat": lambda llm: asyncio.run(llm.achat(hi)),
    }
    end = [chunk('"content":"Done."'), chunk("", '"stop"'), b"data: [DONE]\n\n"]
    emulator.enqueue(*[Raw([chunk('"reasoning_content":"hm"'), 0.3, *end])] * len(methods))

    def ahead(name: str) -> bool:
        heard: list[float] = []
        methods[name](make_llm(on_thinking=lambda text: heard.append(time.monotonic())))
        return time.monotonic() - heard[0] > 0.1

    with ThreadPoolExecutor(len(methods)) as pool:
        assert dict(zip(methods, pool.map(ahead, methods), strict=True)) == dict.fromkeys(methods, True)


def test_empty_thinking_is_not_announced(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """A model that says that it thought nothing calls no listener."""
    heard: list[str] = []
    emulator.enqueue(Turn(thinking="", text="Done."))
    last = chat(make_llm(on_thinking=heard.append), "Hi")[-1]
    assert heard == []
    assert last.message.additional_kwargs.get("reasoning_content") in (None, "")


@pytest.mark.parametrize("tagged", ["<think>inner</think>Answer", "inner</think>Answer"])
def test_inline_tags_never_reach_the_answer(
    emulator: Emulator, llm: KimiVertex, chat: Chat, tagged: str
) -> None:
    """Thinking in tags, even with the opener missing, is thinking."""
    emulator.enqueue(Turn(text=[*tagged]))
    last = chat(llm, "Hi")[-1]
    assert last.message.content == "Answer"
    assert last.message.additional_kwargs["reasoning_content"] == "inner"
