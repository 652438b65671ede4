"""Answers in exact bytes, for what no scripted turn has: interleaved calls, no index, separators inside text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from benchmarks.conformance.base import MODEL, TOOL
from kimi_vertex_emulator import Raw

__all__ = ["ANSWER", "INDEXED", "INDEXLESS", "SPLIT_TEXT", "SPLIT_TEXT_STREAM"]

ANSWER: Final = "The west gate opens at 7:00, and it closes when the last visitor has left."
SPLIT_TEXT: Final = "At\u2028seven,\u0085or\u2029so."
_NAME: Final = TOOL["function"]["name"]


def _event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    chunk = {
        "id": "conformance",
        "object": "chat.completion.chunk",
        "created": 1_770_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


def _stream(deltas: Iterable[dict[str, Any]], finish_reason: str) -> Raw:
    opening = _event({"role": "assistant", "content": ""})
    return Raw([opening, *map(_event, deltas), _event({}, finish_reason), b"data: [DONE]\n\n"])


def _call(n: int, text: str, *, first: bool, index: bool) -> dict[str, Any]:
    function = {"arguments": text} | ({"name": _NAME} if first else {})
    call: dict[str, Any] = {"function": function, "type": "function"}
    call |= {"id": f"functions.{_NAME}:{n}"} if first else {}
    return {"tool_calls": [call | ({"index": n} if index else {})]}


INDEXED: Final = _stream(
    [
        _call(n, text, first=first, index=True)
        for n, text, first in (
            (0, "", True),
            (1, "", True),
            (0, '{"gate": ', False),
            (1, '{"gate": ', False),
            (1, '"east"}', False),
            (0, '"west"}', False),
        )
    ],
    "tool_calls",
)
"""Two calls whose deltas alternate."""

INDEXLESS: Final = _stream(
    [
        _call(n, text, first=first, index=False)
        for n, gate in enumerate(("west", "east"))
        for text, first in (("", True), ('{"gate": ', False), (f'"{gate}"}}', False))
    ],
    "tool_calls",
)
"""Two calls one after the other, only told apart by their ids."""

SPLIT_TEXT_STREAM: Final = _stream([{"content": SPLIT_TEXT[:6]}, {"content": SPLIT_TEXT[6:]}], "stop")
"""Characters that `str.splitlines` takes for the end of a line."""
