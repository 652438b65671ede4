"""`wake_timeout` and `on_wait` mean the same in all three classes."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from kimi_vertex import Wait
from kimi_vertex_emulator import Emulator, Raw
from tests.core.support_core import each_row

from .support_errors import CLASSES

WAKING = Raw([b"no healthy upstream"], status=503)


def test_a_start_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that starts is waited for, and a function or a coroutine function hears of it."""
    monkeypatch.setenv("KIMI_VERTEX_WAKE_TIMEOUT", "0.3")  # the last question is at its end

    def check(row: tuple[str, bool]) -> None:
        name, coroutine = row
        news: list[Wait] = []

        async def hear(wait: Wait) -> None:
            await asyncio.sleep(0)
            news.append(wait)

        with Emulator() as emulator:
            emulator.enqueue(WAKING)
            on_wait = hear if coroutine else news.append
            CLASSES[name]({"base_url": emulator.base_url, "on_wait": on_wait}, {})
            assert [wait.reason for wait in news] == ["waking"]
            assert len(emulator.chat_requests) == 2

    each_row([*product(CLASSES, (False, True))], check)
