"""Servers with quotas, pools and queues, and the requests of processes to them, on a clock that is only counted."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from kimi_vertex._exchange.line import Waiter
from kimi_vertex._exchange.pace import Pacer, Turn
from kimi_vertex.options import Pace

START = 1000.3
"""The clock begins inside of a fixed window."""


class Server(Protocol):
    limit: int

    def admits(self, now: float, running: int, size: float) -> bool: ...


class Sliding:
    """So many requests, or so much of their size, in any window."""

    def __init__(self, limit: int, window: float = 5.0, *, sizes: bool = False) -> None:
        self.limit, self.window, self._sizes = limit, window, sizes
        self._seen: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def admits(self, now: float, running: int, size: float) -> bool:
        while self._seen and self._seen[0][0] <= now - self.window:
            self._used -= self._seen.popleft()[1]
        cost = size if self._sizes else 1
        if self._used + cost > self.limit:
            return False
        self._seen.append((now, cost))
        self._used += cost
        return True


class Fixed:
    """So many requests in each window of the clock."""

    def __init__(self, limit: int, window: float = 5.0) -> None:
        self.limit, self.window = limit, window
        self._number, self._used = -1.0, 0

    def admits(self, now: float, running: int, size: float) -> bool:
        if now // self.window != self._number:
            self._number, self._used = now // self.window, 0
        if self._used >= self.limit:
            return False
        self._used += 1
        return True


class Bucket:
    """A bucket that holds a window's requests and is filled steadily."""

    def __init__(self, limit: int, window: float = 5.0) -> None:
        self.limit, self.window = limit, window
        self._level, self._at = float(limit), START

    def admits(self, now: float, running: int, size: float) -> bool:
        self._level = min(self.limit, self._level + (now - self._at) * self.limit / self.window)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class Pool:
    """So many requests at a time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def admits(self, now: float, running: int, size: float) -> bool:
        return running < self.limit


class Queue(Pool):
    """Admits everything, and answers so many at a time, first come first; 0: all at once."""

    def admits(self, now: float, running: int, size: float) -> bool:
        return True


@dataclass
class Job:
    """What came of a job."""

    sent: int = 0
    answered: list[float] = field(default_factory=list)
    """When."""
    refused: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """When a row was given up, because its answer had not begun."""
    lost: int = 0
    pacers: list[Pacer] = field(default_factory=list)
    peak: int = 0
    asked: int = 0
    """How often a turn was asked for."""
    overtook: list[int] = field(default_factory=list)
    """How many each request of the line went before, that had waited for longer."""

    def wasted(self, after: float = 5.0) -> float:
        """The part of all requests that was refused, once the start is over."""
        return sum(at >= after for at in self.refused) / self.sent

    @property
    def at_start(self) -> int:
        return sum(at < 5.0 for at in self.refused)

    def between(self, begin: float, end: float) -> int:
        return sum(begin <= at < end for at in self.answered)


@dataclass
class Row:
    """A request, with its place in the line if it had to wait."""

    process: int
    size: float
    waiter: Waiter | None = None
    attempts: int = 0


def run(
    server: Server,
    rows: int,
    *,
    concurrency: int = 128,
    seconds: float | Callable[[random.Random], float] = 0.2,
    work: float = 0.0,
    processes: int = 1,
    apart: float = 0.0,
    changes: tuple[tuple[float, int], ...] = (),
    size: Callable[[random.Random], float] = lambda _: 100.0,
    pace: Pace | None = None,
    patience: float = math.inf,
    first: float = 1.0,
    seed: int = 1,
) -> Job:
    """Let processes ask for their rows, each with a pace of its own, until all are answered.

    Args:
        server: Who answers.
        rows: How many, all in all.
        concurrency: How many of a process are in work at a time.
        seconds: How long an answer takes, a fifth more or less.
        work: How long a process, which does one thing after the other, is busy with writing a request.
        processes: How many.
        apart: How much later each process begins than the one before.
        changes: When the server gets which limit.
        size: The size of a row's prompt.
        pace: Own limits.
        patience: How long a row is waited for before its answer begins; it is asked for three times.
        first: Which part of an answer's time has passed when it begins; 1: it comes as a whole.
        seed: Of everything random.
    """
    draw, job, order = random.Random(seed), Job(), itertools.count()
    todo: list[tuple[float, int, Callable[[], None]]] = []
    left, running, now = [rows // processes] * processes, 0, START
    own = pace or Pace()
    busy = [START] * processes
    lines: list[list[int]] = [[] for _ in range(processes)]
    queue: deque[tuple[Row, Turn]] = deque()
    served: set[Turn] = set()
    job.pacers = [Pacer(threading.Lock(), draw.random) for _ in range(processes)]

    def later(delay: float, act: Callable[[], None]) -> None:
        heapq.heappush(todo, (now + delay, next(order), act))

    def begin(process: int) -> None:
        if left[process]:
            left[process] -= 1
            ask(Row(process, size(draw)))

    def ask(row: Row) -> None:
        pacer, waiter, line = job.pacers[row.process], row.waiter, lines[row.process]
        job.asked += 1
        turn = pacer.turn(now, own, row.size, waiter)
        if isinstance(turn, Turn):
            if waiter is not None:
                before = bisect_left(line, waiter.number)
                job.overtook.append(before)
                if line[before : before + 1] == [waiter.number]:
                    del line[before]
            busy[row.process] = max(now, busy[row.process]) + work
            later(busy[row.process] - now, lambda: write(row, turn))
            if patience < math.inf:
                later(patience, lambda: give_up(row, turn))
            return
        place = row.waiter = pacer.join(now) if waiter is None else waiter
        at = bisect_left(line, place.number)
        if line[at : at + 1] != [place.number]:
            line.insert(at, place.number)

        def again() -> None:
            if place.wake is wake:
                place.wake = None
                ask(row)

        def wake() -> None:
            later(draw.random() / 1000, again)

        place.wake = wake
        later(turn + draw.random() / 1000, again)

    def write(row: Row, turn: Turn) -> None:
        turn.sent = now
        later(0.001 + draw.random() / 1000, lambda: arrive(row, turn))

    def arrive(row: Row, turn: Turn) -> None:
        job.sent += 1
        if server.admits(now, running, row.size):
            queue.append((row, turn))
            serve()
        else:
            job.refused.append(now - START)
            later(max(0.001, busy[row.process] - now), lambda: refuse(row, turn))

    def serve() -> None:
        nonlocal running
        places = server.limit if isinstance(server, Queue) else 0
        while queue and (running < places or not places):
            row, turn = queue.popleft()
            if turn.over:
                continue
            running += 1
            job.peak = max(job.peak, running)
            served.add(turn)
            takes = seconds(draw) if callable(seconds) else seconds
            takes *= 0.8 + draw.random() * 0.4
            if first < 1:
                later(first * takes, lambda row=row, turn=turn: speak(row, turn))  # type: ignore[misc]
            later(takes, lambda row=row, turn=turn: answer(row, turn))  # type: ignore[misc]

    def speak(row: Row, turn: Turn) -> None:
        if turn in served:
            job.pacers[row.process].admitted(turn, now)
            job.pacers[row.process].begun(turn, now)

    def answer(row: Row, turn: Turn) -> None:
        nonlocal running
        if turn not in served:
            return
        running -= 1
        served.remove(turn)
        job.answered.append(now - START)
        later(0.001, lambda: done(row, turn))
        serve()

    def done(row: Row, turn: Turn) -> None:
        pacer = job.pacers[row.process]
        if not turn.begun:
            pacer.admitted(turn, now)
            pacer.begun(turn, now)
        pacer.gone(turn, now)
        begin(row.process)

    def refuse(row: Row, turn: Turn) -> None:
        pacer = job.pacers[row.process]
        pacer.refused(turn, now, None, 429, "Resource exhausted.")
        if row.waiter is None:
            row.waiter = pacer.join(now)
        else:
            pacer.rejoin(row.waiter, now)
        ask(row)

    def give_up(row: Row, turn: Turn) -> None:
        nonlocal running
        if turn.begun or turn.over:
            return
        job.pacers[row.process].late(turn, now)
        job.pacers[row.process].gone(turn, now)
        job.late.append(now - START)
        if turn in served:
            running -= 1
            served.remove(turn)
        row.attempts, row.waiter = row.attempts + 1, None
        if row.attempts < 3:
            later(0.5 * draw.random(), lambda: ask(row))
        else:
            job.lost += 1
            begin(row.process)
        serve()

    for process in range(processes):
        for _ in range(concurrency):
            later(apart * process + draw.random() / 100, lambda process=process: begin(process))  # type: ignore[misc]
    for at, limit in changes:
        later(at, lambda limit=limit: setattr(server, "limit", limit))  # type: ignore[misc]
    while todo:
        now, _, act = heapq.heappop(todo)
        act()
    return job
