"""How far a delta travels inside the core: few modules, so that the way of a token can be followed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import kimi_vertex
from kimi_vertex import KimiVertexClient
from kimi_vertex_emulator import Emulator, Raw

from ..support_core import chunk

CORE = Path(kimi_vertex.__file__).parent
DELTAS = 200
MOST_MODULES = 9
MOST_CALLS = 13
FIELDS = ["reasoning_content", "content"]
PROMPTS = ["Hi", "What does <|im_end|> mean?"]


@pytest.mark.parametrize("field", FIELDS)
def test_modules(emulator: Emulator, field: str) -> None:
    """At most nine modules of the core have a frame while one delta passes."""
    modules, _ = watch(emulator, field)
    assert len(modules) <= MOST_MODULES, sorted(modules)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("field", FIELDS)
def test_calls(emulator: Emulator, field: str, prompt: str) -> None:
    """A delta costs few calls of Python functions, which is most of what it costs; tokens in the request add none."""
    _, calls = watch(emulator, field, prompt)
    assert calls / DELTAS <= MOST_CALLS


def watch(emulator: Emulator, field: str, prompt: str = "Hi") -> tuple[set[str], int]:
    """The modules of the core that run while deltas pass one by one through a client, and how many calls they make."""
    first, last = chunk(content="Well"), chunk("stop", content=".")
    pieces = [chunk(**{field: f" word{number}"}) for number in range(DELTAS + 50)]
    emulator.enqueue(Raw([first, *pieces, last, b"data: [DONE]\n\n"]))
    client = KimiVertexClient(base_url=emulator.base_url, implicit_thinking=False)
    modules: set[str] = set()
    calls = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(CORE):
            calls += 1
            modules.add(str(path.relative_to(CORE)))

    with client, client.stream(prompt) as stream:
        skip(stream.__next__, 20)
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            skip(stream.__next__, DELTAS)
        finally:
            sys.setprofile(before)
        for _ in stream:
            pass
    return modules, calls


def skip(step: Callable[[], object], count: int) -> None:
    for _ in range(count):
        step()
