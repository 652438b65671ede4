"""LangChain's adapters of other vendors: their histories come to Kimi, and Kimi's go to them."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool

from kimi_vertex_emulator import Call, Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex

ANSWERS: dict[str, Any] = {
    "/v1/messages": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "I look it up.", "signature": "c2ln"},
            {"type": "text", "text": "A moment."},
            {"type": "tool_use", "id": "toolu_1", "name": "population", "input": {"city": "Oslo"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "/v1/responses": {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt",
        "status": "completed",
        "output": [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "I look it up."}],
            },
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "A moment.", "annotations": []}],
            },
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": "population",
                "arguments": '{"city": "Oslo"}',
                "status": "completed",
            },
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    },
    "/v1/chat/completions": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "A moment.",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "population", "arguments": '{"city": "Oslo"}'},
                        }
                    ],
                },
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    },
    ":generateContent": {
        "candidates": [
            {
                "finishReason": "STOP",
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "I look it up.", "thought": True},
                        {"text": "A moment."},
                        {
                            "functionCall": {"name": "population", "args": {"city": "Oslo"}},
                            "thoughtSignature": "c2ln",
                        },
                    ],
                },
            }
        ],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    },
}
"""What each vendor answers, by the end of the path: thinking where it shows any, a text, a call."""
HELD: dict[str, str] = {
    "anthropic": "messages",
    "openai": "messages",
    "responses": "input",
    "google": "contents",
}
"""Where a vendor's request has the conversation."""


class Vendors(ThreadingHTTPServer):
    """A server that answers as any of the vendors, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        vendors = cast(Vendors, self.server)
        vendors.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        path = self.path.partition("?")[0]
        answer = json.dumps(next(value for end, value in ANSWERS.items() if path.endswith(end))).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class has it by this name
        """Say nothing."""


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    """The vendors' server."""
    with Vendors() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@cache
def make(vendor: str, url: str, **settings: Any) -> BaseChatModel:
    """A vendor's chat model; making one takes longer than using it."""
    package, name = {
        "anthropic": ("langchain_anthropic", "ChatAnthropic"),
        "google": ("langchain_google_genai", "ChatGoogleGenerativeAI"),
    }.get(vendor, ("langchain_openai", "ChatOpenAI"))
    if package == "langchain_openai":
        url, settings = f"{url}/v1", {**settings, "use_responses_api": vendor == "responses"}
    pytest.importorskip(package, reason=f"{package} is in the dependency group ecosystem")
    kind: Any = getattr(importlib.import_module(package), name)
    model: BaseChatModel = kind(model="a-model", base_url=url, api_key="none", **settings)
    return model


def told(turn: BaseMessage) -> list[BaseMessage]:
    """A conversation with one turn of a model, whose calls are answered."""
    assert isinstance(turn, AIMessage)
    calls = [*turn.tool_calls, *turn.invalid_tool_calls]
    results = [ToolMessage("700000", tool_call_id=call["id"] or "", name=call["name"]) for call in calls]
    return [HumanMessage("How many live in Oslo?"), turn, *results, HumanMessage("And in Bergen?")]


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("vendor", HELD)
def test_their_turns_come_to_kimi(
    emulator: Emulator,
    model: ChatKimiVertex,
    vendors: Vendors,
    population: BaseTool,
    vendor: str,
    output_version: str,
) -> None:
    """Text, call and readable thinking of a vendor's answer reach the strict server, and its tokens are counted."""
    theirs = make(vendor, vendors.url, output_version=output_version).bind_tools([population])
    history = told(theirs.invoke("How many live in Oslo?"))
    model.bind_tools([population]).invoke(history)
    turn, result = emulator.requests[-1].json["messages"][1:3]
    assert turn["content"] == "A moment."
    (call,) = turn["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}
    assert turn["reasoning_content"] == ("I look it up." if vendor != "openai" else " ")
    assert result["tool_call_id"] == call["id"]
    assert model.get_num_tokens_from_messages(history) > 0


GOOD = Call("population", {"city": "Oslo"})
TURNS = {
    "a call": Turn(thinking="Hm.", text="A moment.", tool_calls=[GOOD]),
    "two calls": Turn(thinking="Hm.", tool_calls=[GOOD, Call("population", {"city": "Bergen"})]),
    "a text": Turn(thinking="Hm.", text="A moment."),
    "a cut call": Turn(thinking="Hm.", tool_calls=[Call("population", '{"city')], finish_reason="length"),
    "thinking only": Turn(thinking="Hm."),
    "a refusal": Turn(finish_reason="content_filter"),
}


WAYS = ("invoke", "stream", "invoke v1", "stream v1", "v3")


def ask(emulator: Emulator, population: BaseTool, turn: Turn, way: str) -> AIMessage:
    """Kimi's turn as LangChain has it, asked for in one of the ways."""
    emulator.enqueue(turn)
    settings: Any = {"output_version": "v1"} if way.endswith("v1") else {}
    kimi: Any = ChatKimiVertex(base_url=emulator.base_url, **settings)
    bound = kimi.bind_tools([population])
    if way == "v3":
        message = bound.stream_events("q", version="v3").output
    elif way.startswith("stream"):
        message, *rest = bound.stream("q")
        for chunk in rest:
            message += chunk
    else:
        message = bound.invoke("q")
    return cast(AIMessage, message)


@pytest.fixture(scope="module")
def kimis(population: BaseTool) -> dict[str, dict[str, AIMessage]]:
    """Each kind of turn of Kimi's, in each of the ways."""
    with Emulator() as emulator:
        return {
            kind: {way: ask(emulator, population, turn, way) for way in WAYS} for kind, turn in TURNS.items()
        }


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("kind", TURNS)
@pytest.mark.parametrize("vendor", HELD)
def test_kimi_s_turns_go_to_them(
    kimis: dict[str, dict[str, AIMessage]], vendors: Vendors, population: BaseTool, vendor: str, kind: str
) -> None:
    """Each kind of answer, however it was asked for, is written by the other adapter, with its text and its calls."""
    theirs = make(vendor, vendors.url).bind_tools([population])
    for way, message in kimis[kind].items():
        theirs.invoke(told(message))
        sent = json.dumps(vendors.bodies[-1][HELD[vendor]])
        assert ("A moment." in sent) == (TURNS[kind].text == "A moment."), way
        for call in message.tool_calls:
            assert call["args"]["city"] in sent, way
