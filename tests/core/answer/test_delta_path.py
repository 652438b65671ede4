"""How far a delta travels inside the core: few modules, so that the way of a token can be followed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import kimi_vertex
from kimi_vertex import KimiVertexClient
from kimi_vertex_emulator import Emulator, Raw

from ..support_core import chunk

CORE = f"{Path(kimi_vertex.__file__).parent}{os.sep}"
DELTAS = 200
MOST_MODULES = 9
MOST_CALLS = 13
FIELDS = ["reasoning_content", "content"]
PROMPTS = ["Hi", "What does <|im_end|> mean?"]


@pytest.mark.parametrize("field", FIELDS)
def test_modules(field: str) -> None:
    """At most nine modules of the core have a frame while one delta passes."""
    modules, _ = watch(field)
    assert len(modules) <= MOST_MODULES, sorted(modules)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("field", FIELDS)
def test_calls(field: str, prompt: str) -> None:
    """A delta costs few calls of Python functions, which is most of what it costs; tokens in the request add none."""
    _, calls = watch(field, prompt)
    assert calls / DELTAS <= MOST_CALLS


@cache
def watch(field: str, prompt: str = PROMPTS[0]) -> tuple[set[str], int]:
    """The modules of the core that run while deltas pass one by one through a client, and how many calls they make."""
    first, last = chunk(content="Well"), chunk("stop", content=".")
    pieces = [chunk(**{field: f" word{number}"}) for number in range(DELTAS + 50)]
    modules: set[str] = set()
    calls = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(CORE):
            calls += 1
            modules.add(path.removeprefix(CORE))

    with (
        Emulator() as emulator,
        KimiVertexClient(base_url=emulator.base_url, implicit_thinking=False) as client,
    ):
        emulator.enqueue(Raw([first, *pieces, last, b"data: [DONE]\n\n"]))
        stream = client.stream(prompt)
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
