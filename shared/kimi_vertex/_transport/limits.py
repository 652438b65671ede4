"""Limits by the clock: until when each wait of a request may last, whatever the transport.

The table in docs/core.md says which limit covers what. `Limits` keeps the times, `Watch` ends a wait on an event loop, and `Cutoff`
ends a blocking read, which cannot look at a clock.
"""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections.abc import Awaitable
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

from kimi_vertex.options import Timeouts

__all__ = ["FOREVER", "Cutoff", "Limits", "Watch"]

FOREVER: Final = math.inf
T = TypeVar("T")


class Limits:
    """When the waits of one request have to end."""

    __slots__ = ("_answers", "_first_token", "_head", "_timeouts", "bound", "idle", "whole")

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self.idle = _or_forever(timeouts.idle)
        """Seconds between two lines of a stream."""
        self.whole = monotonic() + _or_forever(timeouts.total)
        """When the answer has to be whole."""
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """An attempt begins, with the wait for its head."""
        now = monotonic()
        self._head = now + _or_forever(self._timeouts.first_byte)
        self._first_token = now + _or_forever(self._timeouts.first_token)
        self.await_head()

    def await_head(self) -> None:
        """A request is about to be sent."""
        self._answers = False
        self.bound = min(self.whole, self._head)
        """When the present stage has to end, however busy the connection is."""

    def await_first_token(self) -> None:
        """A stream begins."""
        self._answers = True
        self.bound = min(self.whole, self._first_token)

    def await_rest(self) -> None:
        """The first token has come, or the answer is not a stream."""
        self._answers = True
        self.bound = self.whole

    def overdue(self) -> str:
        """Say which limit has passed."""
        limits, now = self._timeouts, monotonic()
        if now >= self.whole:
            return f"the answer is not whole after {limits.total:g} s (Timeouts.total)"
        if not self._answers:
            return f"no response after {_or_forever(limits.first_byte):g} s (Timeouts.first_byte)"
        if now >= self.bound:
            return f"no thinking, text or tool call after {limits.first_token:g} s (Timeouts.first_token)"
        return f"silent for {self.idle:g} s (Timeouts.idle)"


def _or_forever(seconds: float | None) -> float:
    return FOREVER if seconds is None else seconds


class Watch:
    """Cancels the task that waits for too long. One timer serves all waits of a request.

    `asyncio.timeout` would set a timer for each of them, which costs as much as reading a delta. Who cannot afford a
    call for each wait calls `begin` once, and sets `since` and `task` before each wait.
    """

    __slots__ = ("_bound", "_cancelling", "_handle", "_idle", "ended", "since", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        """Who waits; `None` between waits."""
        self.since = 0.0
        """When the present wait began."""
        self.ended: asyncio.Task[Any] | None = None
        """Whose wait was ended from here."""
        self._bound = self._idle = FOREVER
        self._handle: asyncio.TimerHandle | None = None
        self._cancelling = 0

    def begin(self, bound: float, *, idle: float = FOREVER) -> None:
        """Set the limits of the waits to come: the time when they have to end, and the seconds that each may take."""
        self._bound, self._idle, self.since = bound, idle, monotonic()
        self._set_timer(min(bound, self.since + idle))

    async def wait(self, thing: Awaitable[T], until: float) -> T:
        """Wait for one thing.

        Raises:
            TimeoutError: The time was over first.
        """
        self.begin(until)
        self.task = asyncio.current_task()
        try:
            return await thing
        finally:
            self.task = None
            if self.ended is not None:
                self.settle()

    def settle(self) -> None:
        """Raise `TimeoutError` for a wait that was ended from here, unless the task was cancelled from outside, too."""
        task, self.ended = self.ended, None
        if task is not None and task.uncancel() <= self._cancelling:
            raise TimeoutError

    def close(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set_timer(self, time: float) -> None:
        self.close()
        if time < FOREVER:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(max(0.0, time - monotonic()), self._look)

    def _look(self) -> None:
        self._handle, now, task = None, monotonic(), self.task
        if task is None:
            # A wait that begins after the bound is not begun; others have all of their time before them.
            self._set_timer(min(now + self._idle, self._bound if self._bound > now else FOREVER))
        elif now < (end := min(self._bound, self.since + self._idle)):
            self._set_timer(end)
        else:
            self.ended, self._cancelling = task, task.cancelling()
            task.cancel()


class Cutoff:
    """Shuts a connection down when its time is over, so that a blocking read of it ends."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.name, self._timer.daemon = "kimi-vertex-cutoff", True
        self._timer.start()
        self.over = False

    def release(self) -> None:
        """Return when the connection is safe, so that it can be given to another request."""
        self._timer.cancel()
        with self._lock:
            self._connection = None

    def _shut_down(self) -> None:
        with self._lock:
            if self._connection is None:
                return
            self.over = True
            with suppress(
                OSError, TypeError
            ):  # the connection is gone already, or is not one of the system's
                # Not the method of a TLS socket, which would take the TLS state away from the thread that reads.
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
