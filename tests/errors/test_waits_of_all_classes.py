"""`wake_timeout` and `on_wait` mean the same in all three classes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kimi_vertex import Wait
from kimi_vertex_emulator import Emulator, Raw

from .support_errors import each_class

WAKING = Raw([b"no healthy upstream"], status=503)


@each_class
@pytest.mark.parametrize("coroutine", [False, True])
def test_a_start_is_waited_for(
    ask: Any, coroutine: bool, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that starts is waited for, and a function or a coroutine function hears of it."""
    monkeypatch.setenv("KIMI_VERTEX_WAKE_TIMEOUT", "60")
    news: list[Wait] = []

    async def hear(wait: Wait) -> None:
        await asyncio.sleep(0)
        news.append(wait)

    emulator.enqueue(WAKING)
    ask({"base_url": emulator.base_url, "on_wait": hear if coroutine else news.append}, {})
    assert [wait.reason for wait in news] == ["waking"]
    assert len(emulator.chat_requests) == 2
