"""`coalesce_deltas`: what arrives together is one event, and nothing else changes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_vertex import (
    Event,
    Finish,
    InternalServerError,
    KimiVertexClient,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    accumulate,
)
from kimi_vertex._answer.coalesce import coalesced
from kimi_vertex_emulator import Emulator, Raw

from ..support_core import each_stream, perform


def data(delta: dict[str, Any] | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, **fields}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


def call(arguments: str, index: int, **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments, **fields}}]}


TOGETHER = [
    data({"reasoning_content": "a"}) + data({"reasoning_content": "b"}),
    data({"reasoning_content": "c"}) + data({"content": "d"}) + data({"content": "e"}),
    data(call('{"x"', 0, name="add")) + data(call(": 1}", 0)) + data(call("{}", 1, name="add")),
    data(finish_reason="tool_calls") + b"data: [DONE]\n\n",
]


@each_stream
def test_what_one_chunk_brings_is_one_event_of_each_kind(emulator: Emulator, form: str) -> None:
    """Thinking, text and each tool call are joined, never across one another nor across chunks."""
    emulator.enqueue(Raw(TOGETHER))
    outcome = perform(KimiVertexClient(base_url=emulator.base_url, coalesce_deltas=True), form)
    shown = [
        event.arguments if isinstance(event, ToolCallDelta) else event.text
        for event in outcome.events
        if not isinstance(event, Usage | Finish)
    ]
    assert shown == ["ab", "c", "de", '{"x": 1}', "{}"]
    assert accumulate(outcome.events) == outcome.completion


@each_stream
def test_off_by_default(emulator: Emulator, form: str) -> None:
    """Without the setting each delta is an event."""
    emulator.enqueue(Raw(TOGETHER))
    outcome = perform(KimiVertexClient(base_url=emulator.base_url), form)
    shown = [e.text for e in outcome.events if isinstance(e, ThinkingDelta | TextDelta)]
    assert shown == ["a", "b", "c", "d", "e"]


@each_stream
@pytest.mark.parametrize("coalesce", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        data({"content": "b"}) + b'data: {"error": {"code": 503, "message": "Busy."}}\n\n',
        data({"content": "b"}, finish_reason="error"),
    ],
    ids=["an event", "a finish reason"],
)
def test_what_came_with_an_error_is_shown_before_it(
    emulator: Emulator, form: str, coalesce: bool, failure: bytes
) -> None:
    """Deltas in the chunk that also holds an error event reach the caller, and are in the error."""
    emulator.enqueue(Raw([data({"content": "a"}) + failure + data({"content": "c"})]))
    client = KimiVertexClient(
        base_url=emulator.base_url, coalesce_deltas=coalesce, implicit_thinking=False, max_retries=0
    )
    outcome = perform(client, form)
    assert [e.text for e in outcome.events if isinstance(e, TextDelta)] == (
        ["ab"] if coalesce else ["a", "b"]
    )
    assert isinstance(outcome.error, InternalServerError)
    assert outcome.error.partial is not None
    assert outcome.error.partial.text == "ab"


TEXTS = st.sampled_from(["a", "b", ""])
EVENTS = st.one_of(
    st.builds(ThinkingDelta, TEXTS),
    st.builds(TextDelta, TEXTS),
    st.builds(ToolCallDelta, st.integers(0, 2), st.none(), st.none(), TEXTS),
)


@given(st.lists(EVENTS, max_size=12), st.sampled_from([[], [Usage(1, 2, 3), Finish("stop")]]))
def test_joining_keeps_everything_in_its_order(pieces: list[Event], end: list[Event]) -> None:
    """No two neighbours that could be joined remain, and nothing is lost, added or moved."""

    def letters(events: list[Event]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        for event in events:
            if isinstance(event, ToolCallDelta):
                found += [("call", event.index, letter) for letter in event.arguments]
            elif isinstance(event, Usage | Finish):
                found.append((event,))
            else:
                found += [(type(event).__name__, letter) for letter in event.text]
        return found

    events = [*pieces, *end]
    assert letters(coalesced(events)) == letters(events)
    for one, other in itertools.pairwise(coalesced(events)):
        assert type(one) is not type(other) or isinstance(one, ToolCallDelta)
        if isinstance(one, ToolCallDelta) and isinstance(other, ToolCallDelta):
            assert one.index != other.index


def test_the_beginning_of_a_call_keeps_its_name() -> None:
    """Joined pieces of a call have the id and the name of the first."""
    pieces: list[Event] = [ToolCallDelta(0, "functions.add:0", "add", "{"), ToolCallDelta(0, None, None, "}")]
    assert coalesced(pieces) == [ToolCallDelta(0, "functions.add:0", "add", "{}")]
