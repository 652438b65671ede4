"""Limits by the clock: until when each wait of a request may last, whatever the transport.

The table in docs/core.md says which limit covers what. `Limits` keeps the times, `Watch` ends a wait on an event loop, and `Cutoff`
ends a blocking read, which cannot look at a clock.
"""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

from kimi_vertex.options import Timeouts

__all__ = ["FOREVER", "Cutoff", "Guard", "Limits", "Watch", "can_be_cut", "note_connection"]

FOREVER: Final = math.inf
_UNENDING: Final = 1e8
"""Seconds that the system's clocks can still count; three years."""
_DISCARDED: Final = 1 << 20
_LONGEST_ERROR: Final = 30.0
"""Seconds that the body of an error may take, whatever `idle` is."""
T = TypeVar("T")


_OPENED: Final = frozenset(
    f"connection.{step}.complete" for step in ("connect_tcp", "connect_unix_socket", "start_tls")
)


class Limits:
    """When the waits of one request have to end."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        connect = _or_forever(timeouts.connect)
        self.connect = None if connect == FOREVER else connect
        """Seconds to connect, for the HTTP client."""
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

    def await_head(self, *, streams: bool = False) -> None:
        """A request is about to be sent; a server may keep the head of a stream until its first token."""
        self._answers = False
        name, seconds, end = "first_byte", self._timeouts.first_byte, self._head
        if streams and self._first_token < end:
            name, seconds, end = "first_token", self._timeouts.first_token, self._first_token
        self._what = f"no response after {_or_forever(seconds):g} s (Timeouts.{name})"
        self.bound = min(self.whole, end)
        """When the present stage has to end, however busy the connection is."""

    def await_first_token(self) -> None:
        """A stream begins."""
        self._answers = True
        seconds = _or_forever(self._timeouts.first_token)
        self._what = f"no thinking, text or tool call after {seconds:g} s (Timeouts.first_token)"
        self.bound = min(self.whole, self._first_token)

    def await_rest(self) -> None:
        """The first token has come."""
        self._answers = True
        self.bound = self.whole

    def await_body(self, *, of_error: bool) -> None:
        """The head of an answer in one piece has come, or that of an error."""
        self._answers = True
        self.bound = self.whole
        if of_error:
            seconds = min(self.idle, _LONGEST_ERROR)
            self._what = f"the error is not whole {seconds:g} s after its head (Timeouts.idle)"
            self.bound = min(self.whole, monotonic() + seconds)

    def overdue(self) -> str:
        """Say which limit has passed."""
        limits, now = self._timeouts, monotonic()
        if now >= self.whole:
            return f"the answer is not whole after {limits.total:g} s (Timeouts.total)"
        if not self._answers or now >= self.bound:
            return self._what
        return f"silent for {self.idle:g} s (Timeouts.idle)"


def _or_forever(seconds: float | None) -> float:
    return FOREVER if seconds is None or seconds > _UNENDING else seconds


class Watch:
    """Cancels the task that waits for too long. One timer serves all waits of a request.

    `asyncio.timeout` would set a timer for each of them, which costs as much as reading a delta. A caller that cannot afford a
    call for each wait calls `begin` once, and sets `since` and `task` before each wait.
    """

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
    """One request's blocking waits: which connections are shut down, and when, so that a read of them ends.

    A caller that cannot afford a call for each wait calls `begin` once, and sets `since` and `waits` at each.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.connections: Sequence[Any] = ()
        self.until = self.idle = FOREVER
        self.since = 0.0
        """When the present wait began."""
        self.waits = False
        """Whether a read is under way that `idle` limits."""
        self.over = False
        """Whether the waits were ended from here."""

    def begin(self, connections: Sequence[Any], until: float, idle: float = FOREVER) -> None:
        """Set the limits of the waits to come.

        Args:
            connections: httpcore's streams of what is read; the list may change meanwhile.
            until: When the waits have to be over.
            idle: Seconds that each may take.
        """
        self._guard.begin(self, connections, until, idle)

    def release(self) -> None:
        """Return when the connections are safe, so that they can be given to another request."""
        self._guard.release(self)

    def end(self, now: float) -> float:
        """When there is reason to look at this again; not after `now` if its time is over."""
        return min(self.until, (self.since if self.waits else now) + self.idle)


class Guard:
    """Watches the clock for the blocking waits of many requests, in one thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waits: set[Cutoff] = set()
        self._thread: threading.Thread | None = None
        self._next = FOREVER
        self._closing = False

    def begin(self, wait: Cutoff, connections: Sequence[Any], until: float, idle: float) -> None:
        """Waits begin; see `Cutoff.begin`."""
        now = monotonic()
        with self._changed:
            wait.connections, wait.until, wait.idle = connections, until, idle
            wait.since, wait.waits, wait.over = now, False, False
            soonest = min(until, now + idle)
            if soonest == FOREVER:
                self._waits.discard(wait)
                return
            self._waits.add(wait)
            self._closing = False
            if self._thread is None:
                self._start()
            elif soonest < self._next:
                self._next = soonest
                self._changed.notify()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="kimi-vertex-cutoff", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down, or has too many threads
            self._thread = None

    def release(self, wait: Cutoff) -> None:
        """A wait is over."""
        with self._changed:
            self._waits.discard(wait)
            wait.connections = ()
            if self._closing and not self._waits:
                self._changed.notify()

    def close(self) -> None:
        """End the thread when no request waits any more."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while self._waits or not self._closing:
                now = monotonic()
                # The garbage collector may end a forgotten stream, and its wait, in the middle of this.
                for wait in [wait for wait in list(self._waits) if wait.end(now) <= now]:
                    self._waits.discard(wait)
                    wait.over = True
                    for connection in list(wait.connections):
                        _shut_down(connection)
                self._next = min((wait.end(now) for wait in list(self._waits)), default=FOREVER)
                self._changed.wait(None if self._next == FOREVER else max(0.0, self._next - now))
            self._thread = None


def _shut_down(connection: Any) -> None:
    if not can_be_cut(connection):
        return
    # The connection may be gone already, or not be one of the system's.
    with suppress(OSError, TypeError):
        # Not the method of a TLS socket, which would take the TLS state away from the thread that reads.
        connected = connection.get_extra_info("socket")
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
        # What has come already would still be read, which can take seconds.
        while socket.socket.recv(connected, _DISCARDED):
            pass


def can_be_cut(connection: Any) -> bool:
    """Whether one of httpcore's streams has a socket that carries one request at a time."""
    tls = connection.get_extra_info("ssl_object")
    is_shared = tls is not None and tls.selected_alpn_protocol() == "h2"
    return not is_shared and connection.get_extra_info("socket") is not None


def note_connection(known: list[Any], event: str, info: Mapping[str, Any]) -> None:
    """Keep the connections that httpcore opens for a request: before the head comes, nothing else names them.

    Holds no driver: httpx's responses live in cycles, and what they hold is freed late.
    """
    if event in _OPENED:
        known[:] = [one for one in known if can_be_cut(one) and one.get_extra_info("socket").fileno() >= 0]
        known.append(info["return_value"])
