"""What LangChain reports of a stream to tracers and callbacks: its chunks, their sum, and what came before a failure."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langchain_core.runnables import RunnableConfig

from kimi_vertex import APIError
from kimi_vertex_emulator import Call, Emulator, Raw, Turn
from langchain_kimi_vertex import ChatKimiVertex

_TURN = Turn(thinking=["t"] * 200, text=["x"] * 200, tool_calls=[Call("look", {"q": "a" * 2_000})])


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


class _Collector(BaseCallbackHandler):
    def __init__(self) -> None:
        self.chunks: list[ChatGenerationChunk] = []

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        self.chunks.append(chunk)


def test_a_handler_that_keeps_chunks_finds_their_messages(emulator: Emulator, model: ChatKimiVertex) -> None:
    """Tracers hold the chunks until the end of the run."""
    emulator.enqueue(_TURN)
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
    model = ChatKimiVertex(base_url=emulator.base_url, max_retries=0, pace=None)
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


FINISHES: list[tuple[Turn, tuple[str, str, str]]] = [
    (Turn(text="x"), ("stop", "stop", "complete")),
    (Turn(text="x", finish_reason="length"), ("length", "length", "incomplete")),
    (Turn(text="x", finish_reason="content_filter"), ("content_filter", "refusal", "incomplete")),
    (Turn(tool_calls=[Call("f", {})]), ("tool_calls", "tool_call", "complete")),
]


@pytest.mark.parametrize(("turn", "fields"), FINISHES)
async def test_finish_fields(emulator: Emulator, turn: Turn, fields: tuple[str, str, str]) -> None:
    """Messages, sums of chunks and v3's last event say why the turn ended, in the words of langchain-core 1.8.4."""
    names = ("finish_reason", "normalized_finish_reason", "finish_state")
    emulator.enqueue(turn, turn, turn)
    model = ChatKimiVertex(base_url=emulator.base_url)
    message = await model.ainvoke("q")
    first, *rest = list(model.stream("q"))
    total = sum(rest, first)
    last = list(model._stream_chat_model_events([HumanMessage("q")]))[-1]
    for found in (message.response_metadata, total.response_metadata, cast("Any", last)):
        assert tuple(found[name] for name in names) == fields
