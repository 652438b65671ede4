"""What a client learns of an engine's faults: the field of the thinking, and a closing tag that is dropped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kimi_vertex import EmptyTurnError, KimiVertexClient, Message, ToolCall, accumulate
from kimi_vertex_emulator import Emulator, Raw

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
TURNS = [
    Message("user", "Hi"),
    Message("assistant", "", thinking="Hm.", tool_calls=(ToolCall("functions.add:0", "add", "{}"),)),
    Message("tool", "3", tool_call_id="functions.add:0"),
]


def stream(*pieces: tuple[str, int, int], counts: bool = True, field: str = "content") -> Raw:
    """Content, or another field, with the completion and thinking tokens up to each piece."""
    lines = []
    for number, (text, done, thought) in enumerate([*pieces, ("", pieces[-1][1] + 1, pieces[-1][2])]):
        last = number == len(pieces)
        usage = {
            "prompt_tokens": 9,
            "completion_tokens": done,
            "total_tokens": 9 + done,
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
        choice = {"index": 0, "delta": {field: text}, "finish_reason": "stop" if last else None}
        chunk: dict[str, Any] = {"id": "answer-1", "choices": [choice]}
        if counts or last:
            chunk["usage"] = usage
        lines.append(f"data: {json.dumps(chunk)}\n\n".encode())
    return Raw([*lines, b"data: [DONE]\n\n"])


def body(message: dict[str, Any]) -> Raw:
    """A whole answer."""
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    found = json.dumps({"id": "answer-2", "choices": [choice]}).encode()
    return Raw([found], headers={"content-type": "application/json"})


LOST = (("<think>", 1, 0), ("Let me", 3, 2), ("It is", 5, 2), (" four.", 6, 2))


def fields_of(request: Any) -> list[str]:
    """Where a request's assistant turn has its thinking."""
    turn = request.json["messages"][1]
    return [name for name in ("reasoning_content", "reasoning") if name in turn]


def test_a_refused_second_field_is_left_out(emulator: Emulator) -> None:
    """A vLLM (Rust) refuses two fields; the same request goes out with one, and so do later ones."""
    words = b'{"error": {"message": "Failed to parse: duplicate field `reasoning` at line 1"}}'
    emulator.enqueue(Raw([words], status=400))
    place = emulator.base_url.replace("endpoints/openapi", "endpoints/7")  # one of the user's own
    with KimiVertexClient(base_url=place, max_retries=0) as client:
        for _ in range(2):
            assert client.complete(TURNS, tools=[TOOL]).text
        sent = [fields_of(request) for request in emulator.requests if request.method == "POST"]
        assert sent[:2] == [["reasoning_content", "reasoning"], ["reasoning"]]
        assert len(sent[2]) == 1
        assert "thinking_field" in str(client.facts)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_the_field_of_an_answer_is_the_field_of_the_next_request(emulator: Emulator, field: str) -> None:
    """What a server writes is what it reads."""
    emulator.enqueue(body({field: "Hm.", "content": "Hi"}))
    with KimiVertexClient(base_url=emulator.base_url) as client:
        client.complete("Hi")
        client.complete(TURNS, tools=[TOOL])
        assert fields_of(emulator.requests[1]) == [field]


def test_counts_are_asked_for_once_a_tag_was_lost(emulator: Emulator) -> None:
    """Then the counts of each chunk tell where the answer begins."""
    emulator.enqueue(stream(*LOST, counts=False), stream(*LOST))
    with KimiVertexClient(base_url=emulator.base_url) as client:
        first, second = [accumulate(client.stream(TURNS, tools=[TOOL])) for _ in range(2)]
    assert first.empty == "thinking_only"
    assert first.metadata["lost_closing_tag"] is True
    assert (second.text, second.thinking, second.empty) == ("It is four.", "Let me", None)
    asked = [request.json["stream_options"].get("continuous_usage_stats") for request in emulator.requests]
    assert asked == [None, True]


def test_an_answer_may_follow_thinking_that_was_shown(emulator: Emulator) -> None:
    """With `retry`, the request is made once more, unstreamed; its thinking is not shown again."""
    emulator.enqueue(
        stream(*LOST, counts=False), body({"reasoning": "Other thoughts.", "content": "It is four."})
    )
    with (
        KimiVertexClient(base_url=emulator.base_url, empty_turn="retry") as client,
        client.stream(TURNS, tools=[TOOL]) as events,
    ):
        found = accumulate(events)
        assert events.completion == found
    assert (found.text, found.thinking, found.empty) == ("It is four.", "Let meIt is four.", None)
    assert "stream" not in emulator.requests[1].json


def test_the_error_names_the_cause(emulator: Emulator) -> None:
    """With `raise`, the error says that the server dropped the tag."""
    emulator.enqueue(stream(*LOST, counts=False))
    with (
        KimiVertexClient(base_url=emulator.base_url, empty_turn="raise") as client,
        pytest.raises(EmptyTurnError, match="dropped the closing tag"),
    ):
        accumulate(client.stream(TURNS, tools=[TOOL]))


@pytest.mark.parametrize("setting", [{"tool_choice": "none"}, {}])
def test_recovery_can_be_turned_off(emulator: Emulator, setting: dict[str, Any]) -> None:
    """With `recover_calls=False`, or where nothing may be called, text stays text."""
    emulator.enqueue(body({"content": "Run\nfunctions.add:0{}"}))
    with KimiVertexClient(base_url=emulator.base_url, recover_calls=bool(setting)) as client:
        answer = client.complete("Hi", tools=[TOOL], **setting)
    assert (answer.text, answer.tool_calls) == ("Run\nfunctions.add:0{}", ())
