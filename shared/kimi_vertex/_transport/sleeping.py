"""Waits between requests: by the clock, or until another request makes room."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

from kimi_vertex._exchange.commands import Sleep

__all__ = ["asleep", "sleep"]


def sleep(command: Sleep) -> None:
    """Block the thread for as long."""
    waiter = command.waiter
    if waiter is None:
        time.sleep(command.seconds)
        return
    woken = threading.Event()
    waiter.wake = woken.set
    try:
        if not waiter.rung:
            woken.wait(command.seconds)
    finally:
        waiter.wake = None


async def asleep(command: Sleep) -> None:
    """Wait for as long on the running event loop. Any thread may end it."""
    waiter = command.waiter
    if waiter is None:
        await asyncio.sleep(command.seconds)
        return
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop may be closed
            loop.call_soon_threadsafe(woken.set)

    waiter.wake = wake
    timer = loop.call_later(command.seconds, woken.set)
    try:
        if not waiter.rung:
            await woken.wait()
    finally:
        timer.cancel()
        waiter.wake = None
