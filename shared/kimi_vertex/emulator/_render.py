"""A turn in the dialect of Kimi on Vertex: SGLang's chunks and bodies with Google's additions.

Shapes: https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/maas/capabilities/thinking
and the captures of SGLang's OpenAI-compatible server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kimi_vertex.emulator._chat import ChatRequest
from kimi_vertex.emulator._pieces import clip, deltas, estimate, joined
from kimi_vertex.emulator._reply import encode_json
from kimi_vertex.emulator.script import Call, Part, Turn

__all__ = ["event", "limited", "stream_parts", "whole_body"]

_END_OF_TURN = 163586
"""Token number of `<|im_end|>`, which Vertex reports as what stopped the model."""


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + encode_json(value) + b"\n\n"


def whole_body(turn: Turn, chat: ChatRequest, reply_id: str) -> dict[str, Any]:
    """The turn as one `chat.completion` body."""
    calls = [
        {
            "function": {"arguments": text, "name": call.name},
            "id": call_id,
            "index": index,
            "type": "function",
        }
        for index, (call, call_id, text) in enumerate(_calls(turn, chat))
    ]
    message = {
        "content": joined(turn.text) if turn.text is not None or calls else None,
        "reasoning_content": None if turn.thinking is None else joined(turn.thinking),
        "role": "assistant",
        "tool_calls": calls or None,
    }
    reason = _finish_reason(turn)
    choice = {
        "finish_reason": reason,
        "index": 0,
        "logprobs": None,
        "matched_stop": _matched(reason),
        "message": message,
    }
    return {
        "choices": [choice],
        "created": int(time.time()),
        "id": reply_id,
        "metadata": {"weight_version": "default"},
        "model": chat.model,
        "object": "chat.completion",
        "usage": _usage(turn, chat),
    }


def stream_parts(turn: Turn, chat: ChatRequest, reply_id: str) -> Iterator[Part]:
    """The turn as server-sent events, one HTTP chunk each, with the turn's pauses between them."""
    created = int(time.time())

    def chunk(choices: list[dict[str, Any]], **extra: Any) -> bytes:
        shell = {"choices": choices, "created": created, "id": reply_id, "model": chat.model}
        return event({**shell, "object": "chat.completion.chunk", **extra})

    def choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        matched = _matched(reason)
        return {
            "delta": delta,
            "finish_reason": reason,
            "index": 0,
            "logprobs": None,
            "matched_stop": matched,
        }

    yield chunk([choice({"content": "", "reasoning_content": None, "role": "assistant"})])
    for delta in _deltas(turn, chat):
        if turn.pause:
            yield turn.pause
        yield chunk([choice(delta)])
    if turn.pause:
        yield turn.pause
    usage = _usage(turn, chat)
    finish = choice({"reasoning_content": None}, _finish_reason(turn))
    if chat.include_usage:
        yield chunk([finish])
        yield chunk([], usage=usage)
    else:
        yield chunk([finish], usage=usage)
    yield b"data: [DONE]\n\n"


def limited(turn: Turn, chat: ChatRequest) -> Turn:
    """What is left of a turn under the request's `stop` and `max_tokens`, thinking counted as Kimi counts it."""
    stops = [joined(turn.text).find(stop) for stop in chat.stop]
    cut_at = min((position for position in stops if position >= 0), default=None)
    if cut_at is not None:
        turn = replace(turn, text=joined(turn.text)[:cut_at], tool_calls=(), finish_reason="stop")
    budget = chat.max_tokens
    if budget is None or _completion_tokens(turn) <= budget:
        return turn
    thinking = clip(joined(turn.thinking), budget)
    budget = max(0, budget - estimate(thinking))
    text = clip(joined(turn.text), budget)
    budget = max(0, budget - estimate(text))
    calls: list[Call] = []
    for call in turn.tool_calls:
        if budget <= 0:
            break
        arguments = clip(call.arguments_text, budget)
        budget -= estimate(arguments)
        calls.append(replace(call, arguments=arguments))
    return replace(
        turn,
        thinking=None if turn.thinking is None else thinking,
        text=text or None,
        tool_calls=calls,
        finish_reason="length",
    )


def _deltas(turn: Turn, chat: ChatRequest) -> Iterator[dict[str, Any]]:
    if turn.thinking == "":
        yield {"content": None, "reasoning_content": ""}
    for piece in deltas(turn.thinking):
        yield {"content": None, "reasoning_content": piece}
    for piece in deltas(turn.text):
        yield {"content": piece, "reasoning_content": None}
    for index, (call, call_id, arguments) in enumerate(_calls(turn, chat)):
        function: dict[str, Any] = {"arguments": "", "name": call.name}
        yield {"content": None, "tool_calls": [_fragment(index, call_id, function)]}
        for piece in deltas(arguments, arguments=True):
            yield {"tool_calls": [_fragment(index, None, {"arguments": piece, "name": None})]}


def _fragment(index: int, call_id: str | None, function: dict[str, Any]) -> dict[str, Any]:
    return {"function": function, "id": call_id, "index": index, "type": "function"}


def _calls(turn: Turn, chat: ChatRequest) -> Iterator[tuple[Call, str, str]]:
    for number, call in enumerate(turn.tool_calls, start=chat.calls_so_far):
        yield call, call.id if call.id is not None else f"functions.{call.name}:{number}", call.arguments_text


def _finish_reason(turn: Turn) -> str:
    return turn.finish_reason or ("tool_calls" if turn.tool_calls else "stop")


def _matched(reason: str | None) -> int | None:
    return _END_OF_TURN if reason in ("stop", "tool_calls") else None


def _completion_tokens(turn: Turn) -> int:
    texts = [joined(turn.thinking), joined(turn.text), *(call.arguments_text for call in turn.tool_calls)]
    return sum(map(estimate, texts))


def _usage(turn: Turn, chat: ChatRequest) -> dict[str, Any]:
    if turn.usage is not None:
        return dict(turn.usage)
    prompt, completion = estimate(chat.prompt_text), _completion_tokens(turn)
    return {
        "completion_tokens": completion,
        "extra_properties": {"google": {"traffic_type": "ON_DEMAND"}},
        "prompt_tokens": prompt,
        "prompt_tokens_details": None,
        # Vertex reports 0 here even for turns that think.
        "reasoning_tokens": 0,
        "total_tokens": prompt + completion,
    }
