"""Ends reads of finished streams that take too long, with one thread for all of them while there are any.

A blocking read cannot change its own time limit, and a thread for each stream costs as much as the reading.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["limit_reading"]

logger = logging.getLogger("kimi_vertex.http")


class _Guard:
    __slots__ = ("connection", "deadline")

    def __init__(self, connection: Any, deadline: float) -> None:
        self.connection: Any = connection
        """`None` once the reading is done."""
        self.deadline = deadline


class _Watchdog:
    """Guards in the order of their deadlines: all have the same patience."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._guards: deque[_Guard] = deque()
        self._awake = False

    def watch(self, connection: Any, seconds: float) -> _Guard:
        guard = _Guard(connection, time.monotonic() + seconds)
        with self._lock:
            self._guards.append(guard)
            if not self._awake:
                threading.Thread(target=self._run, name="kimi-vertex-drain", daemon=True).start()
                self._awake = True
        return guard

    def release(self, guard: _Guard) -> None:
        """Return only when the connection is safe, so that it can be given to another request."""
        with self._lock:
            guard.connection = None

    def _run(self) -> None:
        while (wait := self._step()) is not None:
            time.sleep(wait)

    def _step(self) -> float | None:
        """Do what is due; return the seconds until the next step, `None` if there is nothing to guard."""
        with self._lock:
            while self._guards:
                guard = self._guards[0]
                wait = guard.deadline - time.monotonic()
                if guard.connection is not None and wait > 0:
                    return wait
                self._guards.popleft()
                if guard.connection is not None:
                    _shut_down(guard.connection)
            self._awake = False
            return None


def _shut_down(connection: Any) -> None:
    logger.debug("A finished stream was kept open by its server; its connection is given up.")
    try:
        # Not the method of a TLS socket, which would take the TLS state away from the thread that reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except (OSError, TypeError):
        logger.debug("The connection of a finished stream was gone already.")


_watchdog = _Watchdog()


@contextmanager
def limit_reading(connection: Any, seconds: float) -> Iterator[None]:
    """Shut the socket down if the block takes longer than `seconds`; a read in it then fails."""
    guard = _watchdog.watch(connection, seconds)
    try:
        yield
    finally:
        _watchdog.release(guard)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchdog.reset)
