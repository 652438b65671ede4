"""Conversations that change models: what LlamaIndex's own classes send of ours, and what we send of theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool

from kimi_vertex_emulator import Call, Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

REASON = "the provider's package is in the dependency group ecosystem-llama-index"
openai: Any = pytest.importorskip("llama_index.llms.openai", reason=REASON)
anthropic: Any = pytest.importorskip("llama_index.llms.anthropic", reason=REASON)
google: Any = pytest.importorskip("llama_index.llms.google_genai", reason=REASON)
types: Any = pytest.importorskip("google.genai.types", reason=REASON)

CALLS = [("population", {"city": "Oslo"}), ("population", {"city": "Århus"})]


def _chat_completion(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    return {**head, "choices": [choice], "usage": usage}


def _response(*output: dict[str, Any]) -> dict[str, Any]:
    usage = {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2,
    }
    head = {"id": "r", "object": "response", "created_at": 1, "model": "gpt-4o", "status": "completed"}
    tools = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
    return {**head, **tools, "output": output, "usage": usage}


def _message(*content: dict[str, Any]) -> dict[str, Any]:
    head = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return {**head, **end, "content": content, "usage": {"input_tokens": 1, "output_tokens": 1}}


def _candidate(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}


def _openai(url: str) -> Any:
    return openai.OpenAI("gpt-4o", api_key="x", api_base=f"{url}/v1", max_retries=0)


def _responses(url: str) -> Any:
    return openai.OpenAIResponses("gpt-4o", api_key="x", api_base=f"{url}/v1", max_retries=0)


def _anthropic(url: str) -> Any:
    return anthropic.Anthropic("claude-sonnet-4-5", api_key="x", base_url=url, max_retries=0)


def _google(url: str) -> Any:
    options = types.HttpOptions(base_url=url)
    return google.GoogleGenAI(
        "gemini-2.5-flash", api_key="x", context_window=100_000, max_tokens=100, http_options=options
    )


def _in_chat_completions(body: Any) -> tuple[list[Any], list[Any], list[Any]]:
    _, turn, *results = body["messages"]
    calls = [call["function"] for call in turn["tool_calls"]]
    return (
        [(call["name"], json.loads(call["arguments"])) for call in calls],
        [call["id"] for call in turn["tool_calls"]],
        [result["tool_call_id"] for result in results],
    )


def _in_responses(body: Any) -> tuple[list[Any], list[Any], list[Any]]:
    calls = [item for item in body["input"] if item.get("type") == "function_call"]
    results = [item for item in body["input"] if item.get("type") == "function_call_output"]
    assert len(calls) + len(results) + 1 == len(body["input"])
    return (
        [(call["name"], json.loads(call["arguments"])) for call in calls],
        [call["call_id"] for call in calls],
        [result["call_id"] for result in results],
    )


def _in_messages(body: Any) -> tuple[list[Any], list[Any], list[Any]]:
    _, turn, results = body["messages"]
    calls = [block for block in turn["content"] if block["type"] == "tool_use"]
    return (
        [(call["name"], call["input"]) for call in calls],
        [call["id"] for call in calls],
        [result["tool_use_id"] for result in results["content"]],
    )


def _in_contents(body: Any) -> tuple[list[Any], list[Any], list[Any]]:
    _, turn, *results = body["contents"]
    calls = [part["functionCall"] for part in turn["parts"] if "functionCall" in part]
    answers = [part["functionResponse"] for content in results for part in content["parts"]]
    return (
        [(call["name"], call["args"]) for call in calls],
        [call["id"] for call in calls],
        [answer["id"] for answer in answers],
    )


PROVIDERS: dict[str, tuple[Any, ...]] = {
    "chat completions": (_openai, _chat_completion(content="Yes."), _in_chat_completions),
    "responses": (
        _responses,
        _response(
            {
                "type": "message",
                "id": "m",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Yes.", "annotations": []}],
            }
        ),
        _in_responses,
    ),
    "anthropic": (_anthropic, _message({"type": "text", "text": "Yes."}), _in_messages),
    "gemini": (_google, _candidate({"text": "Yes."}), _in_contents),
}


async def _last(stream: Any) -> Any:
    return [response async for response in await stream][-1]


@pytest.fixture(params=["whole", "stream", "async", "async stream"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """One of the four methods that offer tools; gives its last response."""

    def run(llm: Any, tool: FunctionTool, history: list[ChatMessage]) -> Any:
        options = {"chat_history": history, "allow_parallel_tool_calls": True}
        if request.param == "whole":
            return llm.chat_with_tools([tool], **options)
        if request.param == "stream":
            return list(llm.stream_chat_with_tools([tool], **options))[-1]
        if request.param == "async":
            return asyncio.run(llm.achat_with_tools([tool], **options))
        return asyncio.run(_last(llm.astream_chat_with_tools([tool], **options)))

    return run


@pytest.mark.parametrize("name", PROVIDERS)
def test_ours_to_another(
    emulator: Emulator, llm: KimiVertex, population: FunctionTool, provider: Any, ask: Any, name: str
) -> None:
    """Another provider is sent each of our calls once, with its arguments, and each result with its call's id."""
    make, answer, read = PROVIDERS[name]
    emulator.enqueue(
        Turn(thinking="I look.", tool_calls=[Call(tool, arguments) for tool, arguments in CALLS])
    )
    history = [ChatMessage("How many?")]
    response = ask(llm, population, history)
    history.append(response.message)
    for call in llm.get_tool_calls_from_response(response):
        kwargs = {"tool_call_id": call.tool_id}
        history.append(ChatMessage(role="tool", content="700000", additional_kwargs=kwargs))

    server = provider(answer)
    assert make(server.url).chat(history).message.content == "Yes."
    calls, ids, answered = read(server.bodies[-1])
    assert calls == CALLS
    assert ids == answered


FOREIGN: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "chat completions": (
        _openai,
        _chat_completion(
            content=None,
            tool_calls=[
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "population", "arguments": '{"city": "Oslo"}'},
                }
            ],
        ),
        None,
    ),
    "responses": (
        _responses,
        _response(
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "I look."}]},
            {
                "type": "function_call",
                "id": "fc",
                "call_id": "call_1",
                "name": "population",
                "arguments": '{"city": "Oslo"}',
                "status": "completed",
            },
        ),
        "I look.",
    ),
    "anthropic": (
        _anthropic,
        _message(
            {"type": "thinking", "thinking": "I look.", "signature": "s"},
            {"type": "tool_use", "id": "call_1", "name": "population", "input": {"city": "Oslo"}},
        ),
        "I look.",
    ),
    "gemini": (
        _google,
        _candidate(
            {"text": "I look.", "thought": True},
            {"functionCall": {"name": "population", "args": {"city": "Oslo"}}},
        ),
        "I look.",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_s_to_us(
    emulator: Emulator, llm: KimiVertex, population: FunctionTool, provider: Any, name: str
) -> None:
    """A turn of another provider goes to Kimi with its thinking, its one call, and the call's result."""
    make, answer, thinking = FOREIGN[name]
    other = make(provider(answer).url)
    response = other.chat_with_tools([population], "How many?")
    [call] = other.get_tool_calls_from_response(response)
    result = ChatMessage(role="tool", content="700000", additional_kwargs={"tool_call_id": call.tool_id})
    llm.chat([ChatMessage("How many?"), response.message, result])
    _, turn, outcome = emulator.requests[-1].json["messages"]
    [sent] = turn["tool_calls"]
    assert sent["function"] == {"name": "population", "arguments": '{"city": "Oslo"}'}
    assert outcome["tool_call_id"] == sent["id"]
    assert turn["reasoning_content"] == (thinking or " ")
