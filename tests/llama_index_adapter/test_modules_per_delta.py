"""Few modules see a delta, so that a reader who follows one has few files to open."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse

import kimi_vertex
import llama_index_kimi_vertex
from kimi_vertex_emulator import Call, Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

CORE, ADAPTER = (Path(module.__file__ or "").parent for module in (kimi_vertex, llama_index_kimi_vertex))
OURS = (f"{CORE}{os.sep}", f"{ADAPTER}{os.sep}")
TURN = Turn(thinking=["hm "] * 20, text=["so "] * 20, tool_calls=[Call("add", {"numbers": [7] * 60})])


@contextmanager
def watched(files: set[Path]) -> Iterator[None]:
    """Collect the files of this project whose functions run."""

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        name = frame.f_code.co_filename
        if name.startswith(OURS):
            files.add(Path(name))

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def read(llm: KimiVertex) -> list[tuple[ChatResponse, set[Path]]]:
    steps: list[tuple[ChatResponse, set[Path]]] = []
    files: set[Path] = set()
    with watched(files):
        for response in llm.stream_chat([ChatMessage("Hi")]):
            steps.append((response, set(files)))
            files.clear()
    return steps


async def aread(llm: KimiVertex) -> list[tuple[ChatResponse, set[Path]]]:
    steps: list[tuple[ChatResponse, set[Path]]] = []
    files: set[Path] = set()
    with watched(files):
        async for response in await llm.astream_chat([ChatMessage("Hi")]):
            steps.append((response, set(files)))
            files.clear()
    return steps


@pytest.fixture(params=["sync", "async"])
def steps(
    request: pytest.FixtureRequest, emulator: Emulator, llm: KimiVertex
) -> list[tuple[ChatResponse, set[Path]]]:
    """The responses of a stream, without the first and the last, each with the files that ran for it."""
    emulator.enqueue(TURN)
    return (read(llm) if request.param == "sync" else asyncio.run(aread(llm)))[1:-1]


def test_modules_of_the_adapter(steps: list[tuple[ChatResponse, set[Path]]]) -> None:
    """Of the adapter's modules, two see a delta: the method and what makes the response."""
    names = {path.name for _, files in steps for path in files if ADAPTER in path.parents}
    assert names == {"base.py", "_responses.py"}


def test_modules_in_all(steps: list[tuple[ChatResponse, set[Path]]]) -> None:
    """A piece of thinking or of text passes through at most eleven modules of this project."""
    counts = [
        len(files) for response, files in steps if not response.message.additional_kwargs.get("tool_calls")
    ]
    assert len(counts) > 30
    # Median: at the borders between thinking, text and calls more is done.
    assert sorted(counts)[len(counts) // 2] <= 11
