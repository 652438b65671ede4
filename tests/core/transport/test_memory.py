"""What an open stream holds: the pieces of the answer, which its end needs, and nothing else."""

from __future__ import annotations

import json
import sys
import tracemalloc
from typing import Any

import pytest

from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._transport.sse import EventReader

from ..answer.support_decoder import call


def piece(number: int) -> str:
    return f" word {number:06}"


DELTAS: dict[str, Any] = {
    "thinking": lambda number: {"reasoning_content": piece(number)},
    "text": lambda number: {"content": piece(number)},
    "arguments": lambda number: {
        "tool_calls": [call(0, None, None if number else "note", piece(number) if number else '{"title": "')]
    },
}


def growth(delta: Any, count: int) -> float:
    """Bytes that are in use for each of so many deltas, after as many before, of which each event was dropped."""
    held: list[int] = []
    tracemalloc.start()
    try:
        reader, decoder = EventReader(), Decoder()
        for number in range(2 * count + 1):
            if number % count == 0:
                held.append(tracemalloc.get_traced_memory()[0])
            chunk = {"choices": [{"index": 0, "delta": delta(number)}]}
            for data in reader.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n"):
                decoder.feed(data)
    finally:
        tracemalloc.stop()
    return (held[2] - held[1]) / count


@pytest.mark.parametrize("kind", DELTAS)
def test_a_delta_costs_the_memory_of_its_text(kind: str) -> None:
    """2,000 deltas more need what their strings, and twice a list's place for each, need."""
    assert growth(DELTAS[kind], 2_000) < sys.getsizeof(piece(1)) + 3 * 8
