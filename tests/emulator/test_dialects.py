"""How each dialect spells one answer, seen with plain HTTP: fields, ids, tags, tokens, and where the usage is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import DIALECTS, Call, Dialect, Emulator, Turn

from .support_http import PLAIN

THINKING, TEXT = "I look it up.", "It snows."
TURN = Turn(thinking=THINKING, text=TEXT, tool_calls=[Call("look", {"at": "sky"})])
SECTION = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>"
    '{"at": "sky"}<|tool_call_end|><|tool_calls_section_end|>'
)
RAW_K3 = (
    f"{THINKING}<|close|>think<|sep|><|open|>response<|sep|>{TEXT}<|close|>response<|sep|><|open|>tools<|sep|>"
    '<|open|>call tool="look" index="1"<|sep|><|open|>argument key="at" type="string"<|sep|>sky<|close|>argument<|sep|>'
    "<|close|>call<|sep|><|close|>tools<|sep|><|close|>message<|sep|>"
)
HASHED = r"[0-9a-f]{32}"


@dataclass(frozen=True)
class Spelt:
    """What an answer looks like on the wire."""

    fields: tuple[str, ...] = ("reasoning_content",)
    """The fields that hold the thinking."""
    content: str = TEXT
    thinking: str = THINKING
    call_id: str | None = r"functions\.look:0"
    """A pattern; `None`: there is no structured call."""
    unasked: str = "finish"
    """Where the usage of a stream is that did not ask for it: `finish`, `choice`, or nowhere."""
    asked: str = "own"
    """The same if asked for; `own`: in a chunk without choices."""


SPELT: dict[Dialect, Spelt] = {
    "vertex": Spelt(),
    "vllm-old": Spelt(call_id=rf"chatcmpl-tool-{HASHED}", unasked=""),
    "vllm-new": Spelt(fields=("reasoning",), unasked=""),
    "vllm-no-parser": Spelt(fields=(), content=f"<think>{THINKING}</think>{TEXT}", unasked=""),
    "close-tag-only": Spelt(fields=(), content=f"{THINKING}</think>{TEXT}", unasked=""),
    "sglang-no-tool-parser": Spelt(content=TEXT + SECTION, call_id=None),
    "sglang-no-parser": Spelt(fields=(), content=f"<think>{THINKING}</think>{TEXT}{SECTION}", call_id=None),
    "calls-in-thinking": Spelt(thinking=THINKING + SECTION, call_id=None),
    "llama.cpp": Spelt(call_id=HASHED, unasked=""),
    "moonshot": Spelt(call_id="look:0", unasked="choice", asked="choice"),
    "gateway": Spelt(fields=("reasoning", "reasoning_details"), asked="finish"),
    "moonshot-k3": Spelt(call_id="look:0", unasked="choice", asked="choice,own"),
    "vllm-k3": Spelt(fields=("reasoning",), call_id=rf"chatcmpl-tool-{HASHED}", unasked=""),
    "vllm-k3-rust": Spelt(fields=("reasoning",), call_id="call_[0-9a-f]{24}", unasked=""),
    "sglang-k3": Spelt(call_id="look:0"),
    "raw-k3": Spelt(fields=(), content=RAW_K3, call_id=None),
}


FIELDS = {name for spelt in SPELT.values() for name in spelt.fields}


def said(parts: list[dict[str, Any]], name: str) -> str:
    """What the messages or deltas hold in a field, joined."""
    found = [part.get(name) or "" for part in parts]
    return "".join(v if isinstance(v, str) else "".join(item["text"] for item in v) for v in found)


def usage_place(chunks: list[dict[str, Any]]) -> str:
    """Where a stream has its usage."""
    places = []
    for chunk in chunks:
        if chunk.get("usage"):
            places.append("finish" if chunk["choices"] and chunk["choices"][0]["finish_reason"] else "own")
        if any(choice.get("usage") for choice in chunk["choices"]):
            places.append("choice")
    return ",".join(places)


def check(spelt: Spelt, parts: list[dict[str, Any]]) -> None:
    """Compare deltas, or a message, with what the dialect says."""
    for name in FIELDS:
        assert said(parts, name) == (spelt.thinking if name in spelt.fields else "")
    assert said(parts, "content") == spelt.content
    calls = [call for part in parts for call in part.get("tool_calls") or ()]
    if spelt.call_id is None:
        assert calls == []
        return
    assert re.fullmatch(spelt.call_id, calls[0]["id"])
    assert calls[0]["function"]["name"] == "look"
    assert "".join(call["function"].get("arguments") or "" for call in calls) == '{"at": "sky"}'


def test_every_dialect_is_described_here() -> None:
    """A dialect that is added needs a row."""
    assert tuple(SPELT) == DIALECTS


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_is_spelt_as_its_server_does(kimi: Any, dialect: Dialect) -> None:
    """Deltas have the server's fields, ids and tags, and the usage where the server puts it."""
    spelt = SPELT[dialect]
    for options, place in (({}, spelt.unasked), ({"stream_options": {"include_usage": True}}, spelt.asked)):
        kimi.emulator.dialect = dialect
        kimi.emulator.enqueue(TURN)
        answer = kimi.post("Hi", stream=True, **options).content
        lines = [line for line in answer.split(b"\n\n") if line.startswith(b"data: {")]
        chunks = [json.loads(line.removeprefix(b"data: ")) for line in lines]
        check(spelt, [choice["delta"] for chunk in chunks for choice in chunk["choices"]])
        assert usage_place(chunks) == place
        reasons = [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
        reason = "tool_calls" if spelt.call_id is not None else "stop"
        assert reasons == [reason] * (2 if dialect == "gateway" else 1)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_answer_is_spelt_as_its_server_does(kimi: Any, dialect: Dialect) -> None:
    """The message has the same fields, ids and tags, and the usage stands beside the choices."""
    kimi.emulator.dialect = dialect
    kimi.emulator.enqueue(TURN)
    body = kimi.post("Hi").json()
    check(SPELT[dialect], [body["choices"][0]["message"]])
    assert body["usage"]["total_tokens"] > 0


def test_each_server_has_marks_of_its_own(kimi: Any) -> None:
    """Comments and details of a gateway, Google's traffic type, llama.cpp's timings, Moonshot's fingerprint."""
    marks: dict[Dialect, bytes] = {
        "gateway": b": OPENROUTER PROCESSING\n\n",
        "vertex": b'"traffic_type":"ON_DEMAND"',
        "llama.cpp": b'"timings":',
        "moonshot": b'"system_fingerprint":"fpv0',
    }
    for dialect, mark in marks.items():
        for other in DIALECTS:
            kimi.emulator.dialect = other
            kimi.emulator.enqueue(TURN)
            has_it = mark in kimi.post("Hi", stream=True).content
            twins = {"vertex": "calls-in-thinking", "moonshot": "moonshot-k3"}
            assert has_it == (other in (dialect, twins.get(dialect)))


def test_a_gateway_changes_the_id_after_its_first_chunk(kimi: Any) -> None:
    """The first chunk has the id of the server behind it."""
    kimi.emulator.dialect = "gateway"
    ids = [chunk["id"] for chunk in kimi.events("Hi")]
    assert ids[0].startswith("chatcmpl-")
    assert {i.partition("-")[0] for i in ids[1:]} == {"gen"}


def test_whole_sends_a_field_at_once(kimi: Any) -> None:
    """With `whole` the thinking is one delta and the text another."""
    kimi.emulator.chunking = "whole"
    kimi.emulator.enqueue(Turn(thinking="I think so.", text="It is so, I think."))
    deltas = [choice["delta"] for chunk in kimi.events("Hi") for choice in chunk["choices"]]
    said = [delta.get("reasoning_content") or delta.get("content") for delta in deltas]
    assert list(filter(None, said)) == ["I think so.", "It is so, I think."]


def test_a_character_cut_goes_through_tags_and_tokens(kimi: Any) -> None:
    """With `character` no delta has more than one, so that a closing tag arrives in eight pieces."""
    kimi.emulator.dialect, kimi.emulator.chunking = "close-tag-only", "character"
    kimi.emulator.enqueue(Turn(thinking="a", text="b"))
    deltas = [choice["delta"].get("content") for chunk in kimi.events("Hi") for choice in chunk["choices"]]
    assert [piece for piece in deltas if piece] == list("a</think>b")


def test_token_cuts_leave_kimis_tokens_whole(kimi: Any) -> None:
    """With `token` each of Kimi's own tokens is one delta."""
    kimi.emulator.dialect, kimi.emulator.chunking = "sglang-no-tool-parser", "token"
    kimi.emulator.enqueue(TURN)
    pieces = [choice["delta"].get("content") for chunk in kimi.events("Hi") for choice in chunk["choices"]]
    assert {"<|tool_calls_section_begin|>", "<|tool_call_argument_begin|>"} <= set(pieces)


def test_random_cuts_come_from_the_seed() -> None:
    """With `random` the pieces have 1 to 12 characters, the same ones with the same seed and others with another."""

    def pieces(seed: int) -> list[str]:
        turn = Turn(text="A sentence of some length, to be cut somewhere. " * 4)
        body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
        with Emulator(chunking="random", seed=seed) as emulator:
            emulator.enqueue(turn)
            httpx.post(f"{emulator.origin}/v1/chat/completions", json=body, verify=PLAIN)
            events = [event for _, event in emulator.exchanges[0].events if isinstance(event, dict)]
        deltas = [choice["delta"].get("content") for event in events for choice in event["choices"]]
        assert "".join(filter(None, deltas)) == turn.text
        return [delta for delta in deltas if delta]

    first = pieces(1)
    assert len({len(piece) for piece in first}) > 3
    assert all(len(piece) <= 12 for piece in first)
    assert pieces(1) == first != pieces(2)


def test_servers_say_that_they_are_healthy(kimi: Any) -> None:
    """`GET /health` is 200 without a token, as vLLM's, SGLang's and llama.cpp's is, for containers to ask."""
    kimi.emulator.require_token = True
    assert kimi.http.get(f"{kimi.emulator.origin}/health").status_code == 200
    kimi.emulator.verify()
