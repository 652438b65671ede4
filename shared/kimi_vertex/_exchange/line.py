"""Who waits for a turn, in the order in which they came; and a lock that a finalizer may ask for at any moment."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from types import TracebackType
from typing import Final, Protocol

__all__ = ["Held", "Line", "Lock", "Waiter"]

_SMOOTH: Final = 3.0
"""Seconds over which the line's speed is averaged."""
_LATE: Final = 1.0
"""A waiter that is later than so many seconds is not waited for."""
_NUMBER: Final = attrgetter("number")
_numbers = itertools.count()
"""For all lines: a waiter may survive its line, in a forked child."""


class Lock(Protocol):
    """A lock, such as `threading.Lock` makes."""

    def acquire(self, blocking: bool = True) -> bool:
        """Take it; without `blocking` only if it is free."""
        ...

    def release(self) -> None:
        """Let it go."""
        ...


class Held:
    """A lock, and work for whoever has it: of those that cannot wait for it.

    The garbage collector ends a forgotten stream wherever it happens to run, also in a thread that has the lock.
    """

    __slots__ = ("_lock", "_work")

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._work: deque[Callable[[], None]] = deque()

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._work:
            self._do_work()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if self._work:
            self._offer()

    def later(self, work: Callable[[], None]) -> None:
        """Have something done under the lock: now if that is free, else by its holder."""
        self._work.append(work)
        self._offer()

    def _offer(self) -> None:
        while self._work and self._lock.acquire(blocking=False):
            try:
                self._do_work()
            finally:
                self._lock.release()

    def _do_work(self) -> None:
        while self._work:
            self._work.popleft()()


class Waiter:
    """A request's place in the line, which it keeps until it is answered or gives up."""

    __slots__ = ("due", "number", "rung", "wake")

    def __init__(self, now: float) -> None:
        self.number = next(_numbers)
        self.due = now
        """When it will look again, at the latest."""
        self.wake: Callable[[], None] | None = None
        """Ends its sleep, while it sleeps."""
        self.rung = False
        """Whether it is to look again at once."""


class Line:
    """The waiters, first come first. Whoever calls holds the lock."""

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []
        self._since, self._last, self._served = 0.0, 0.0, 0.0
        """Since when there is a line, when a turn was last given, and how many since then; the older ones count less."""

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, now: float) -> Waiter:
        """Take the place at the end."""
        self._begin(now)
        waiter = Waiter(now)
        insort(self._waiters, waiter, key=_NUMBER)
        return waiter

    def rejoin(self, waiter: Waiter, now: float) -> None:
        """Take the old place again."""
        self._begin(now)
        waiter.due, waiter.rung = now, False
        insort(self._waiters, waiter, key=_NUMBER)

    def leave(self, waiter: Waiter) -> None:
        """Give the place up, if it is still there."""
        position = bisect_left(self._waiters, waiter.number, key=_NUMBER)
        if self._waiters[position : position + 1] == [waiter]:
            del self._waiters[position]
            if waiter.rung:
                self.ring(position + 1)  # it had been told of something that it does not need now

    def position(self, waiter: Waiter, now: float) -> int:
        """How many are before it. Those that do not come back, as in a loop that stands still, lose their place until they do."""
        while self._waiters and self._waiters[0] is not waiter and self._waiters[0].due < now - _LATE:
            del self._waiters[0]
        position = bisect_left(self._waiters, waiter.number, key=_NUMBER)
        if self._waiters[position : position + 1] != [waiter]:
            self._waiters.insert(position, waiter)
        return position

    def ring(self, count: int) -> None:
        """Have the first ones look again, if they sleep."""
        for waiter in self._waiters[:count]:
            if not waiter.rung:
                waiter.rung = True
                if waiter.wake is not None:
                    waiter.wake()

    def serve(self, now: float) -> None:
        """A turn is given."""
        self._served = self._served * math.exp((self._last - now) / _SMOOTH) + 1
        self._last = now

    def speed(self, now: float) -> float:
        """Turns that are given in a second, while there is a line; at first as if one had just been given."""
        served = self._served * math.exp(min(0.0, self._last - now) / _SMOOTH) + 1
        return served / max(0.001, _SMOOTH * -math.expm1(min(0.0, self._since - now) / _SMOOTH))

    def _begin(self, now: float) -> None:
        if not self._waiters:
            self._since, self._served = now, 0.0
