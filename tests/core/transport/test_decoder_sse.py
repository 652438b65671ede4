"""Streams as bytes: every dialect's fixture, cut anywhere, read as its own second line says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kimi_vertex import Completion, KimiVertexClient, accumulate
from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._tools import DeclaredTools
from kimi_vertex._transport.sse import EventReader
from kimi_vertex_emulator import Emulator, Raw

FIXTURES = sorted(Path(__file__).with_name("fixtures").glob("*.sse"))

OPEN = {"type": "function", "function": {"name": "open", "parameters": {"type": "object"}}}

each_fixture = pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)


def data_of(parts: Sequence[bytes]) -> list[str]:
    reader = EventReader()
    return [data for part in parts for data in reader.feed(part)] + reader.close()


def decode(data: Sequence[str]) -> Completion:
    reader = Decoder(tools=DeclaredTools.of([OPEN]))
    events = [event for item in data for event in reader.feed(item)]
    assert reader.complete
    return accumulate(events + reader.finish())


def expected_of(path: Path) -> dict[str, Any]:
    text = path.read_text("utf-8-sig")
    line = next(line for line in text.split("\n") if line.startswith(": expect "))
    found: dict[str, Any] = json.loads(line.removeprefix(": expect "))
    return found


def check(completion: Completion, expected: dict[str, Any]) -> None:
    usage = completion.usage
    seen = {
        "thinking": completion.thinking,
        "text": completion.text,
        "calls": [[c.name, c.arguments, c.id] for c in completion.tool_calls],
        "finish_reason": completion.finish_reason,
        "response_id": completion.response_id,
        "metadata": dict(completion.metadata),
        "usage": usage
        and [
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.thinking_tokens,
        ],
    }
    defaults: dict[str, Any] = {"thinking": None, "text": "", "calls": [], "usage": None}
    assert not completion.invalid_tool_calls
    for key, value in {**defaults, **expected}.items():
        assert seen[key] == value, key


@each_fixture
def test_dialect(path: Path) -> None:
    """The fixture is read as it says it must be."""
    check(decode(data_of([path.read_bytes()])), expected_of(path))


@each_fixture
def test_bytes_cut_in_two(path: Path) -> None:
    """Where the network cuts the bytes in two makes no difference, but between two letters of a word, where nothing ends."""
    content = path.read_bytes()
    whole = data_of([content])
    for at in range(len(content)):
        if content[at - 1 : at + 1].isalnum():
            continue
        assert data_of([content[:at], content[at:]]) == whole, at


@each_fixture
def test_bytes_one_by_one(path: Path) -> None:
    """Bytes that come one by one, with nothing in between, make no difference; an event is there with its blank line."""
    content = path.read_bytes()
    reader, found = EventReader(), []
    for at in range(len(content)):
        found += reader.feed(content[at : at + 1])
        if content[: at + 1].endswith((b"\n\n", b"\r\r", b"\r\n\r\n")):
            assert found == data_of([content[: at + 1]])
        found += reader.feed(b"")
    assert found + reader.close() == data_of([content])


@pytest.mark.parametrize("side", ["sync", "async"])
@pytest.mark.parametrize("name", ["odd-bytes", "leaked-call"])
def test_over_a_socket(emulator: Emulator, name: str, side: str) -> None:
    """The client reads the fixture over a real connection that carries one byte at a time."""
    path = next(path for path in FIXTURES if path.stem == name)
    content = path.read_bytes()
    emulator.enqueue(Raw([bytes([byte]) for byte in content]))
    settings = {"base_url": emulator.base_url, "access_token": "x", "implicit_thinking": False}
    if side == "sync":
        with KimiVertexClient(**settings) as client, client.stream("Hi", tools=[OPEN]) as stream:  # type: ignore[arg-type]
            completion = accumulate(stream)
    else:

        async def read() -> Completion:
            async with KimiVertexClient(**settings) as client:  # type: ignore[arg-type]
                return accumulate([event async for event in client.astream("Hi", tools=[OPEN])])

        completion = asyncio.run(read())
    check(completion, expected_of(path))
