"""`coalesce_deltas` in LangChain: what arrives together is one chunk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk

from kimi_vertex_emulator import Emulator, Raw
from langchain_kimi_vertex import ChatKimiVertex


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["stream", "astream"])
@pytest.mark.parametrize(("coalesce", "expected"), [(True, ["ab", "cd"]), (False, ["a", "b", "c", "d"])])
async def test_what_one_chunk_brings_is_one_chunk_of_each_kind(
    emulator: Emulator,
    make_model: Callable[..., ChatKimiVertex],
    asynchronous: bool,
    coalesce: bool,
    expected: list[str],
) -> None:
    """Thinking and text are joined, not with one another, and the sum is the same."""
    deltas: list[dict[str, Any]] = [{"reasoning_content": text} for text in "ab"]
    deltas += [{"content": text} for text in "cd"]
    emulator.enqueue(Raw([b"".join(map(_event, deltas)) + _event({}, "stop") + b"data: [DONE]\n\n"]))
    model = make_model(coalesce_deltas=coalesce)
    chunks: list[AIMessageChunk] = (
        [chunk async for chunk in model.astream("Hi")] if asynchronous else list(model.stream("Hi"))
    )
    pieces = [c.additional_kwargs.get("reasoning_content") or c.text for c in chunks]
    assert [piece for piece in pieces if piece] == expected
    total = sum(chunks[1:], chunks[0])
    assert (total.text, total.additional_kwargs["reasoning_content"]) == ("cd", "ab")
