"""One pace for all requests of a process to one target: who may ask now, and what refusals and answers say of that.

No socket, no clock, no thread: the time comes from the caller, and so does the lock. A request asks for its turn, is
admitted or refused, and is gone.

A refusal closes the gate for all. Single probes find out when it opens, and then the pace is what was admitted over the
last burst and the drought after it: that figure is the quota, whatever its window is. The pace stays there for as long as
the window seems to be, then grows, faster and faster, until the next refusal. Beside it is a limit of requests that run at
a time, for pools: a pool refuses while its places are taken, and admits when one is free; a quota refuses however few are
running, and that tells them apart.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from kimi_vertex.options import Pace, PaceState

__all__ = ["Pacer", "Turn", "Waiter"]

_AT_ONCE: Final = 64
"""How many requests may run at first; the number doubles while nothing is refused."""
_DOUBLING: Final = 0.25
"""Seconds in which it does."""
_DOUBLINGS: Final = 10
"""After how many of them the number is not limited any more."""
_IDLE: Final = 60.0
"""After so many seconds without a request it begins anew."""
_FIRST_PROBE: Final = 0.25
_LONGEST_PROBE: Final = 15.0
_BACKOFF: Final = 1.5
"""By what the pause between two probes grows."""
_PATIENCE: Final = 1.0
"""A probe that has not been refused for so many seconds is admitted: a refusal is quick, an answer need not be."""
_ON_THE_WAY: Final = 96
"""How many requests may be on their way at a time: that many are refused at most before the first refusal is heard."""
_BACK: Final = 0.1
"""Seconds that a refusal takes to come back at least; more where the way out took more."""
_UNSEEN: Final = 1.0
"""After so many seconds a request has arrived, where the HTTP client does not tell when it was written."""
_SHORTEST_WINDOW: Final = 3.0
_LONGEST_WINDOW: Final = 90.0
_BELOW: Final = 0.985
"""The pace after a refusal, as a part of what was measured."""
_STEEP: Final = 0.7
"""How fast the pace grows after its rest: by e to this power in one window."""
_LEAST_BETWEEN: Final = 60
"""Requests between two attempts at more: a refusal in so many is what learning costs."""
_STEADIER: Final = 0.7
"""How much less requests or their tokens have to vary to be taken for what the quota counts."""
_SLACK: Final = 0.5
"""Seconds of the pace that a late sleeper is made good for."""
_FORGET: Final = 300.0
"""After so many seconds without a refusal nothing is known any more."""
_TICK: Final = 0.1
_SMOOTH: Final = 3.0
"""Seconds over which the queue's speed is averaged."""
_LONGEST_SLEEP: Final = 5.0


class Turn:
    """A request that may be made, until it is gone."""

    __slots__ = ("admitted", "at", "epoch", "level", "over", "sent", "tokens")

    def __init__(self, at: float, tokens: float, level: int, epoch: int) -> None:
        self.at = at
        self.tokens = tokens
        self.level = level
        """How many were running, with this one."""
        self.epoch = epoch
        self.admitted = self.over = False
        self.sent: float | None = None
        """When it was written."""

    def on_its_way(self, now: float) -> bool:
        """Whether its refusal may still be under way: the way back takes as long as the way out, as far as is known."""
        if self.admitted or self.over:
            return False
        if self.sent is None:
            return now < self.at + _UNSEEN
        return now < self.sent + max(_BACK, self.sent - self.at)


class Waiter:
    """A request's place in the queue."""

    __slots__ = ("number", "waits")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waits = True


class _Sent:
    """How many requests were let through and not refused, and their tokens, by the tenth of a second."""

    def __init__(self) -> None:
        self._ticks: deque[list[float]] = deque(maxlen=int(2 * _LONGEST_WINDOW / _TICK))

    def add(self, at: float, tokens: float) -> None:
        tick = at // _TICK
        if self._ticks and self._ticks[-1][0] >= tick:
            last = self._ticks[-1]
            last[1] += 1
            last[2] += tokens
        else:
            self._ticks.append([tick, 1, tokens])

    def take_back(self, at: float, tokens: float) -> None:
        tick = at // _TICK
        for found in reversed(self._ticks):
            if found[0] <= tick:
                found[1] -= 1
                found[2] -= tokens
                return

    def since(self, at: float) -> tuple[float, float]:
        first = at // _TICK
        found = [tick for tick in self._ticks if tick[0] >= first]
        return max(1.0, sum(tick[1] for tick in found)), max(1.0, sum(tick[2] for tick in found))


class Pacer:
    """The pace of one target. Any thread may call any method, with the time of one clock.

    Args:
        lock: Held by each method.
        random: A number from 0 to 1, so that the probes of many processes do not come at once.
    """

    def __init__(self, lock: AbstractContextManager[object], random: Callable[[], float]) -> None:
        self._random = random
        self._epoch = 0
        self.renew(lock)

    def renew(self, lock: AbstractContextManager[object]) -> None:
        """Begin anew, as in a forked child: the requests of its parent do not run there."""
        self._lock = lock
        self._epoch += 1
        self._running = self._refused = 0
        self._joined = self._departed = self._waiting = 0
        self._speed, self._last = 0.0, -math.inf
        """Turns in a second, and when the last one was given."""
        self._sent = _Sent()
        self._young: list[Turn] = []
        """Those that may be on their way."""
        self._answered_at = -math.inf
        self._slowest = 0.0
        """How long a refusal takes."""
        self.refusal: tuple[int, str] = (429, "")
        """Status and words of the last one."""
        self._ramp_at: float | None = None
        self._forget()

    def _forget(self) -> None:
        self._first: float | None = None
        """Since when is measured."""
        self._rate = math.inf
        self._size: float | None = None
        """Tokens of an average request, if it is tokens that the quota counts."""
        self._measured: tuple[float, float] | None = None
        self._drift = [0.0, 0.0]
        self._known = False
        """Whether the pace was measured over a whole window."""
        self._window = _SHORTEST_WINDOW
        self._opened = self._next = self._tokens_next = 0.0
        self._limit = self._top = math.inf
        """How many may run, and how many it was when that was first learned."""
        self._quota = False
        """Whether refusals were seen to have nothing to do with how many are running."""
        self._rounds, self._full, self._step = 0, False, 1.0
        self._streak = 0
        self._refused_at = -math.inf
        self._closed = False
        self._gate = self._probed_at = 0.0
        self._closed_at = -math.inf
        self._level = 0
        """How many were left running when the gate was closed."""
        self._probe: Turn | None = None
        self._probes = 0
        self._backoff = _FIRST_PROBE

    # Asking.

    def turn(self, now: float, pace: Pace, tokens: float, waiter: Waiter | None = None) -> Turn | float:
        """The turn of a request, or the seconds after which to ask again.

        Args:
            now: The time.
            pace: The asker's own limits.
            tokens: About the size of its prompt; another unit will do, if it is always the same.
            waiter: Its place in the queue; without one it may not go before those that have one.
        """
        with self._lock:
            if waiter is None and self._waiting:
                return 0.0
            position = 0 if waiter is None else max(0, waiter.number - self._departed)
            wait = self._wait(now, pace, tokens, position)
            if wait > 0:
                return wait
            self._running += 1
            turn = Turn(now, tokens, self._running, self._epoch)
            if self._closed:
                self._probe = turn
            if self._first is None:
                self._first = now
            self._sent.add(now, tokens)
            self._young.append(turn)
            self._speed = self._speed * math.exp((self._last - now) / _SMOOTH) + 1 / _SMOOTH
            self._last = now
            if waiter is not None:
                self._depart(waiter)
            return turn

    def _wait(self, now: float, pace: Pace, tokens: float, position: int) -> float:
        """Seconds that a request at this position of the queue has to wait; 0 if it is its turn."""
        speed = max(self._speed, 0.2 if self._rate == math.inf else self._rate)
        if self._closed:
            wait = self._until_probe(now)
            if self._closed:
                if wait <= 0 and position < 4:
                    return 0.0
                return min(max(wait, 0.01) + position / speed / 2, _LONGEST_SLEEP)
        if wait := self._for_place(now, pace.max_concurrency, position, speed):
            return wait
        rate, cost = self._rate, 1.0
        if rate < math.inf:
            if now - self._refused_at > max(_FORGET, 10 * self._window):
                self._forget()
                rate = math.inf
            else:
                rate *= self._growth(now)
                cost = tokens / self._size if self._size else 1.0
        if pace.requests_per_minute is not None:
            rate, cost = min(rate / cost, pace.requests_per_minute / 60), 1.0
        per_token = 0.0 if pace.tokens_per_minute is None else 60 / pace.tokens_per_minute
        if rate == math.inf and not per_token:
            return 0.0
        wait = max(self._next, self._tokens_next) - now
        if wait > 0:
            return min(max(0.001, wait + position / rate), _LONGEST_SLEEP)
        if position > max(4.0, rate / 4):
            return min(max(0.001, position / rate / 2), _LONGEST_SLEEP)
        self._next = max(self._next, now - _SLACK) + cost / rate
        self._tokens_next = max(self._tokens_next, now - _SLACK) + per_token * tokens
        return 0.0

    def _for_place(self, now: float, most: int | None, position: int, speed: float) -> float:
        """Seconds until there may be a place, of those that the ramp, a pool or the asker leaves; 0 if there is one."""
        if len(self._young) >= _ON_THE_WAY:
            self._young = [turn for turn in self._young if turn.on_its_way(now)]
            if len(self._young) >= _ON_THE_WAY:
                return min(max(0.01, (position + 1) / speed / 2), 2.0)
        needed = self._running + 1 + position
        if most is not None and self._running >= most:
            return min(max(0.005, (position + 1) / speed / 2), 2.0)
        if self._limit < math.inf:
            if self._running + 1 <= self._limit:
                return 0.0
            self._full = True
            return min(max(0.005, (position + 1) / speed / 2), 2.0)
        if self._running < _AT_ONCE or self._rate < math.inf:
            if not self._running and now - self._last > _IDLE:
                self._ramp_at = None
            return 0.0
        if self._ramp_at is None:
            self._ramp_at = now
        doublings = (now - self._ramp_at) / _DOUBLING
        if doublings > _DOUBLINGS or self._running < _AT_ONCE * math.exp2(doublings):
            return 0.0
        return max(0.001, min(2.0, _DOUBLING * (math.log2(needed / _AT_ONCE) - doublings)))

    def _growth(self, now: float) -> float:
        """What the pace is now, as a multiple of what it was when the gate was opened."""
        passed = now - self._opened
        if not self._known:
            return math.exp2(min(passed, 30.0))
        over = passed / max(self._window, _LEAST_BETWEEN / self._rate) - 1
        return math.exp(min(_STEEP * over * over, 30.0)) if over > 0 else 1.0

    def _until_probe(self, now: float) -> float:
        """Seconds until the next probe; opens the gate if the last one has not been refused."""
        if self._probe is None:
            return self._gate - now
        patience = _PATIENCE if not self._slowest else min(10.0, max(0.25, 5 * self._slowest))
        out = now - self._probe.at
        if out >= patience:
            if self._running > self._level:
                self._is_quota()  # none of those that ran had to end for it
            self._open(self._probe)
        return min(0.1, patience - out)

    # What becomes of it.

    def admitted(self, turn: Turn, now: float) -> None:
        """The target begins to answer, or refuses this one request for what it is."""
        with self._lock:
            if turn.epoch != self._epoch:
                return
            self._answered_at, turn.admitted = now, True
            if turn is self._probe:
                self._open(turn)
            elif turn.at > self._refused_at:
                self._streak = 0
            if self._limit < math.inf:
                self._rounds += 1
                if self._rounds >= _LEAST_BETWEEN:
                    if self._full:
                        self._limit += self._step
                        self._step *= 2
                    self._rounds, self._full = 0, False

    def refused(self, turn: Turn, now: float, retry_after: float | None, status: int, words: str) -> None:
        """The target takes no more at the moment.

        Args:
            turn: Whose request it was; it is gone with that.
            now: The time.
            retry_after: Seconds for which the target wants to be left alone, if it says so.
            status: The status of the refusal.
            words: Its text.
        """
        with self._lock:
            if turn.epoch != self._epoch:
                return
            self._running -= 1
            self._refused += 1
            turn.over = True
            self.refusal = status, words
            self._slowest = max(0.9 * self._slowest, now - turn.at)
            self._sent.take_back(turn.at, turn.tokens)
            if turn is self._probe:
                self._probe, self._probes, self._probed_at = None, self._probes + 1, turn.at
                if turn.level <= min(0.9 * self._level, self._level - 2):
                    self._is_quota()  # places were free
                self._close_until(now, retry_after)
            elif turn.at <= max(self._refused_at, self._closed_at):
                # Of the same moment: what is left running is what was admitted then.
                self._narrow()
                self._level = min(self._level, self._running)
                if self._closed and retry_after is not None:
                    self._close_until(now, max(retry_after, self._gate - now))
            elif not self._closed:
                crowded = math.inf > self._limit < turn.level / 0.9
                if crowded or self._limit == math.inf:
                    self._narrow()
                self._refused_at = now
                self._streak += 1
                if crowded and self._streak < 3 and retry_after is None:
                    return  # a pool, as it seems: fewer at a time will do
                self._closed, self._closed_at, self._level = True, now, self._running
                self._probes, self._probed_at = 0, now
                self._close_until(now, retry_after)

    def _close_until(self, now: float, retry_after: float | None) -> None:
        self._refused_at = now
        if retry_after is None:
            self._gate = now + self._backoff * (0.75 + self._random() / 2)
            self._backoff = min(_LONGEST_PROBE / 1.25, self._backoff * _BACKOFF)
        else:
            self._gate = self._probed_at = now + retry_after

    def _narrow(self) -> None:
        """Take what is left running for all that there is room for, unless that cannot be."""
        if self._quota:
            return
        first = self._limit == math.inf or (self._closed and not self._probes and self._rate == math.inf)
        self._limit = max(1.0, min(self._limit, self._running))
        self._rounds, self._full, self._step = 0, False, 1.0
        if first:
            self._top = self._limit
        elif self._limit <= 0.6 * self._top:
            self._is_quota()  # more than that have run before

    def _is_quota(self) -> None:
        self._quota, self._limit = True, math.inf

    def _open(self, probe: Turn) -> None:
        """Let all through again, at the pace that was measured."""
        # It opened between the last two probes.
        opened = (probe.at + min(probe.at, max(self._probed_at, self._closed_at))) / 2
        begun = self._opened if self._rate < math.inf or self._first is None else self._first
        drought, cycle = opened - self._closed_at, max(0.0, opened - begun)
        if self._rate == math.inf:
            self._window = cycle
        elif drought > 0.15 * cycle and self._growth(self._closed_at) < 1.5:
            self._window = max(0.97 * self._window, min(cycle, 2 * self._window))
        elif cycle > self._window:
            self._window *= 0.97
        self._window = min(_LONGEST_WINDOW, max(_SHORTEST_WINDOW, self._window))
        since = max(opened - max(1.1 * self._window, 1.2 * drought), self._first or 0.0)
        seconds = max(0.25, opened - since)
        measured = _BELOW * self._count(*self._sent.since(since), seconds)
        soon = self._known and cycle < self._window / 2
        if self._known:
            # What is measured in a hurry is not far from what it was.
            measured = max(measured, (0.5 if drought > 0.3 * self._window else 0.7) * self._rate)
        before = self._rate * self._growth(self._closed_at) if self._rate < math.inf else math.inf
        if soon:
            before = max(0.96 * before, 0.9 * measured)
        self._rate = max(0.05, min(before, measured))
        self._known = self._quota or seconds >= self._window
        first = min(_FIRST_PROBE, max(0.05, 0.25 * drought))
        self._backoff = min(2.0, max(first, self._backoff)) if soon else first
        self._probe, self._closed, self._streak = None, False, 0
        self._opened = self._next = opened

    def _count(self, requests: float, tokens: float, seconds: float) -> float:
        """How many were let through in a second: requests, or average ones if it is tokens that are counted.

        Which it is, is told by what varies less from one refusal to the next.
        """
        rates = requests / seconds, tokens / seconds
        if self._measured is not None:
            for number in (0, 1):
                change = abs(math.log(rates[number] / self._measured[number]))
                self._drift[number] = 0.8 * self._drift[number] + min(change, 0.5)
            if self._size is None and self._drift[1] < _STEADIER * self._drift[0]:
                self._size = tokens / requests
            elif self._size is not None and self._drift[0] < _STEADIER * self._drift[1]:
                self._rate *= self._size * requests / tokens
                self._size = None
        self._measured = rates
        return rates[0] if self._size is None else rates[1] / self._size

    def gone(self, turn: Turn, now: float) -> None:
        """The request is over, or was given up."""
        with self._lock:
            if turn.epoch != self._epoch:
                return
            self._running -= 1
            turn.over = True
            if turn.admitted:
                self._answered_at = now
            if turn is self._probe:
                self._probe = None
                self._close_until(now, None)

    # Waiting.

    def join(self) -> Waiter:
        """Take a place at the end of the queue."""
        with self._lock:
            self._joined += 1
            self._waiting += 1
            return Waiter(self._joined - 1)

    def rejoin(self, waiter: Waiter) -> None:
        """Take the old place again, after a refusal."""
        with self._lock:
            if not waiter.waits:
                waiter.waits = True
                self._waiting += 1
                self._departed -= 1

    def leave(self, waiter: Waiter) -> None:
        """Give the place up."""
        with self._lock:
            self._depart(waiter)

    def _depart(self, waiter: Waiter) -> None:
        if waiter.waits:
            waiter.waits = False
            self._waiting -= 1
            self._departed += 1

    def dry_since(self) -> float | None:
        """Since when the target has answered nothing at all; `None` if it does."""
        with self._lock:
            running = self._running - (self._probe is not None)
            return self._answered_at if self._closed and running <= 0 else None

    def state(self, now: float) -> PaceState:
        """What the pace is now."""
        with self._lock:
            return PaceState(
                per_second=None if self._rate == math.inf else self._rate * self._growth(now),
                limit=None if self._limit == math.inf else int(self._limit),
                running=self._running,
                waiting=self._waiting,
                refused=self._refused,
                closed_for=now - self._closed_at if self._closed else None,
            )
