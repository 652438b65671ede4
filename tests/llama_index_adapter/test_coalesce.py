"""`coalesce_deltas` in LlamaIndex: what arrives together is one response."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kimi_vertex_emulator import Emulator, Raw
from llama_index_kimi_vertex import KimiVertex


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@pytest.mark.parametrize("chat", ["stream_chat", "astream_chat"], indirect=True)
@pytest.mark.parametrize(("coalesce", "expected"), [(True, ["ab", "cd"]), (False, ["a", "b", "c", "d"])])
def test_what_one_chunk_brings_is_one_response_of_each_kind(
    emulator: Emulator,
    make_llm: Callable[..., KimiVertex],
    chat: Callable[..., list[Any]],
    coalesce: bool,
    expected: list[str],
) -> None:
    """Thinking and text are joined, not with one another, and the whole is the same."""
    deltas: list[dict[str, Any]] = [{"reasoning_content": text} for text in "ab"]
    deltas += [{"content": text} for text in "cd"]
    emulator.enqueue(Raw([b"".join(map(_event, deltas)) + _event({}, "stop") + b"data: [DONE]\n\n"]))
    responses = chat(make_llm(coalesce_deltas=coalesce), "Hi")
    pieces = [r.additional_kwargs.get("thinking_delta") or r.delta for r in responses]
    assert [piece for piece in pieces if piece] == expected
    assert responses[-1].message.content == "cd"
    assert responses[-1].message.additional_kwargs["reasoning_content"] == "ab"
