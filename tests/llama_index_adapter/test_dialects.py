"""What servers of Kimi really send, seen through LlamaIndex: every dialect ends in the same message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from pydantic import SecretStr

from kimi_vertex_emulator import Emulator, Raw, Turn
from llama_index_kimi_vertex import KimiVertex

Stream: TypeAlias = Callable[..., list[ChatResponse]]

HI = [ChatMessage("Hi")]
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "description": name, "parameters": {"type": "object", "properties": {}}},
    }
    for name in ("weather", "time")
]


@pytest.fixture(params=["sync", "async"])
def stream(request: pytest.FixtureRequest) -> Stream:
    async def collect(llm: KimiVertex, **options: Any) -> list[ChatResponse]:
        return [response async for response in await llm.astream_chat(HI, **options)]

    def run(llm: KimiVertex, **options: Any) -> list[ChatResponse]:
        if request.param == "async":
            return asyncio.run(collect(llm, **options))
        return list(llm.stream_chat(HI, **options))

    return run


def sse(*deltas: dict[str, Any], finish: str | None = "stop", **more: Any) -> Raw:
    chunks: list[Any] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], **more})
    return Raw([*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"])


def call(index: int, arguments: str, id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"index": index, "type": "function", "function": function, **({"id": id} if id else {})}


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, ""])
def test_first_chunk_of_thinking(
    emulator: Emulator, llm: KimiVertex, stream: Stream, key: str, content: str | None
) -> None:
    """The first chunk's thinking is not lost, whichever field has it and whatever stands beside it."""
    emulator.enqueue(
        sse(
            {"role": "assistant", "content": content, key: "The user "},
            {key: "greets me."},
            {"content": "Hello."},
        )
    )
    responses = stream(llm)
    deltas = [response.additional_kwargs.get("thinking_delta") for response in responses]
    assert deltas[:2] == ["The user ", "greets me."]
    assert responses[-1].message.content == "Hello."
    assert responses[-1].message.additional_kwargs["reasoning_content"] == "The user greets me."


WEATHER, TIME = {"city": "Paris"}, {"zone": "CET"}
W, T = json.dumps(WEATHER), json.dumps(TIME)
DELTAS: dict[str, list[dict[str, Any]]] = {
    "one after the other": [
        {"tool_calls": [call(0, "", "functions.weather:0", "weather")]},
        {"tool_calls": [call(0, W[:6])]},
        {"tool_calls": [call(0, W[6:])]},
        {"tool_calls": [call(1, T, "functions.time:1", "time")]},
    ],
    "interleaved": [
        {"tool_calls": [call(0, W[:5], "functions.weather:0", "weather")]},
        {"tool_calls": [call(1, T[:3], "functions.time:1", "time")]},
        {"tool_calls": [call(0, W[5:])]},
        {"tool_calls": [call(1, T[3:])]},
    ],
    "both in one chunk": [
        {"tool_calls": [call(0, W, "functions.weather:0", "weather"), call(1, T, "functions.time:1", "time")]}
    ],
    "id and name repeated": [
        {"tool_calls": [call(0, W[:4], "functions.weather:0", "weather")]},
        {"tool_calls": [call(0, W[4:], "functions.weather:0", "weather")]},
        {"tool_calls": [call(1, T[:4], "functions.time:1", "time")]},
        {"tool_calls": [call(1, T[4:], "functions.time:1", "time")]},
    ],
}


@pytest.mark.parametrize("shape", DELTAS)
@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_parallel_calls(emulator: Emulator, llm: KimiVertex, stream: Stream, shape: str, finish: str) -> None:
    """Two calls arrive whole and once, with their own ids, however their pieces are cut."""
    emulator.enqueue(sse({"reasoning_content": "Both."}, *DELTAS[shape], finish=finish))
    last = stream(llm, tools=TOOLS)[-1]
    selections = llm.get_tool_calls_from_response(last)
    assert [(s.tool_id, s.tool_name, s.tool_kwargs) for s in selections] == [
        ("functions.weather:0", "weather", WEATHER),
        ("functions.time:1", "time", TIME),
    ]
    assert last.additional_kwargs["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("field", ["content", "reasoning_content"])
def test_leaked_call_tokens(emulator: Emulator, llm: KimiVertex, stream: Stream, field: str) -> None:
    """Call tokens that leak into text or thinking, cut anywhere, become the call and are never shown."""
    leak = (
        "Let me see. <|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
        f"<|tool_call_argument_begin|>{W}<|tool_call_end|><|tool_calls_section_end|>"
    )
    emulator.enqueue(sse(*({field: leak[at : at + 7]} for at in range(0, len(leak), 7))))
    responses = stream(llm, tools=TOOLS)
    (selection,) = llm.get_tool_calls_from_response(responses[-1])
    assert (selection.tool_name, selection.tool_kwargs) == ("weather", WEATHER)
    shown = "".join((r.delta or "") + (r.additional_kwargs.get("thinking_delta") or "") for r in responses)
    assert "<|" not in shown
    assert "Let me see." in shown


def test_usage_is_asked_for(emulator: Emulator, llm: KimiVertex, stream: Stream) -> None:
    """Streams ask for usage by default, since some servers send none otherwise."""
    stream(llm)
    assert emulator.requests[-1].json["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("place", ["last chunk", "choice"])
def test_usage_in_any_place(emulator: Emulator, llm: KimiVertex, stream: Stream, place: str) -> None:
    """Usage is found beside the choices and inside them, with cached and thinking tokens."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "cached_tokens": 64,
        "completion_tokens_details": {"reasoning_tokens": 12},
    }
    answer = sse({"reasoning_content": "Hm."}, {"content": "Hello."}, usage=usage)
    if place == "choice":
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}]}
        answer = Raw([*answer.parts[:2], f"data: {json.dumps(end)}\n\n".encode(), b"data: [DONE]\n\n"])
    emulator.enqueue(answer)
    kwargs = stream(llm)[-1].additional_kwargs
    assert (kwargs["prompt_tokens"], kwargs["completion_tokens"]) == (100, 20)
    assert (kwargs["cached_tokens"], kwargs["reasoning_tokens"]) == (64, 12)


def test_endpoint(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, stream: Stream) -> None:
    """A self-deployed endpoint is addressed by its resource name, without a model."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    endpoint = "projects/my-project/locations/us-central1/endpoints/123"
    llm = KimiVertex(endpoint=endpoint, access_token=SecretStr("t"))
    assert llm.model is None
    assert llm.metadata.context_window >= 131_072
    emulator.enqueue(Turn(thinking="t", text="Hello."))
    assert stream(llm)[-1].message.content == "Hello."
    assert "/endpoints/123/" in emulator.requests[-1].path
    again = KimiVertex.from_dict(llm.to_dict(), access_token="t")
    assert again.endpoint == llm.endpoint


def test_environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Project, location and emulator are read from the environment."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    assert KimiVertex().complete("Hi").text
    assert emulator.requests[-1].path.startswith("/v1/projects/my-project/locations/us-central1/")
