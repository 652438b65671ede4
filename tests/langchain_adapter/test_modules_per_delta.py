"""How many files a delta passes through on its way from the socket to the user."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kimi_vertex
import langchain_kimi_vertex
from kimi_vertex_emulator import Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

CORE = Path(kimi_vertex.__file__).parent
ADAPTER = Path(langchain_kimi_vertex.__file__).parent
TURN = Turn(thinking=["Let ", "me ", "see ", "what ", "is ", "blue."], text="The sky.")


@contextmanager
def _frames(seen: set[Path]) -> Iterator[None]:
    """Notes the files in which a frame is entered, or a generator goes on."""

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            seen.add(Path(frame.f_code.co_filename))

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def _stream(model: ChatKimiVertex, seen: set[Path]) -> None:
    chunks = model.stream("q")
    for _ in range(3):
        next(chunks)
    with _frames(seen):
        next(chunks)
    list(chunks)


def _astream(model: ChatKimiVertex, seen: set[Path]) -> None:
    async def run() -> None:
        chunks = model.astream("q")
        for _ in range(3):
            await anext(chunks)
        with _frames(seen):
            await anext(chunks)
        [_ async for _ in chunks]

    asyncio.run(run())


def _events(model: ChatKimiVertex, seen: set[Path]) -> None:
    events = iter(model.stream_events("q", version="v3"))
    for _ in range(5):
        next(events)
    with _frames(seen):
        next(events)
    list(events)


@pytest.mark.parametrize("way", [_stream, _astream, _events])
def test_a_delta_is_seen_by_few_modules(
    emulator: Emulator, make_model: Callable[..., ChatKimiVertex], way: Callable[..., None]
) -> None:
    """Eleven files of this project at most, two of them the adapter's."""
    emulator.enqueue(TURN)
    seen: set[Path] = set()
    way(make_model(), seen)
    core = {str(path.relative_to(CORE)) for path in seen if path.is_relative_to(CORE)}
    adapter = {path.name for path in seen if path.is_relative_to(ADAPTER)}
    assert "chat_models.py" in adapter
    assert "_answer/decoder.py" in core
    assert len(adapter) <= 2, adapter
    assert len(core) + len(adapter) <= 11, core | adapter
