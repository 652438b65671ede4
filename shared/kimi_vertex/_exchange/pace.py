"""One pace for all requests of a process to one target: who may ask now, and what refusals and answers say of that.

No socket, no clock, no thread: the time comes from the caller, and so does the lock. A request asks for its turn, is
admitted or refused, and is gone.

The pace is in one of three phases:

- *Starting*: nothing was refused yet. 64 may run at once, and twice as many with each quarter of a second.
- *Closed*: a refusal has closed the gate for all. Single probes, with longer and longer pauses, find out when it opens.
- *Paced*: the gate has opened. Requests begin at the pace that was admitted over the last burst and the drought after it:
  that figure is the quota, whatever its window is. It stays for as long as the window seems to be, or for twice as long as
  before if the last attempt at more has led to nothing and requests are few, then grows, faster and faster, until the next
  refusal. After a long time without one, nothing is known any more.

In each of them, a bounded number may be on their way (`Turn.on_its_way`), which bounds what can be refused before the first
refusal is heard; and beside the pace is a limit of requests that run at a time, for pools (`Places`) and for engines that
queue (`Queue`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Final

from kimi_vertex.options import Pace, PaceState

from .line import Held, Line, Lock, Waiter
from .measure import LONGEST_WINDOW, Measure
from .places import Places, Queue

__all__ = ["Pacer", "Turn"]

_AT_ONCE: Final = 64
"""How many requests may run at first; the number doubles while nothing is refused."""
_DOUBLING: Final = 0.25
"""Seconds in which it does."""
_DOUBLINGS: Final = 10
"""After how many of them the number is not limited any more."""
_IDLE: Final = 60.0
"""After so many seconds without a request it begins anew."""
_ON_THE_WAY: Final = 96
"""How many requests may be on their way at a time: that many are refused at most before the first refusal is heard."""
_BACK: Final = 0.1
"""Seconds that a refusal takes to come back at least; more where the way out took more."""
_UNSEEN: Final = 1.0
"""After so many seconds a request has arrived, where the HTTP client does not tell when it was written."""
_FIRST_PROBE: Final = 0.25
_LONGEST_PROBE: Final = 15.0
_BACKOFF: Final = 1.5
"""By what the pause between two probes grows."""
_PATIENCE: Final = 1.0
"""A probe that has not been refused for so many seconds is admitted: a refusal is quick, an answer need not be."""
_SHORTEST_WINDOW: Final = 3.0
_BELOW: Final = 0.985
"""The pace after a refusal, as a part of what was measured."""
_STEEP: Final = 0.7
"""How fast the pace grows after its rest: by e to this power in one window."""
_LEAST_BETWEEN: Final = 60
"""Requests between two attempts at more, once they have led to nothing: a refusal in so many is what learning costs."""
_MORE: Final = 1.5
"""By what the pace rises at least where an attempt at more has led to something."""
_SLACK: Final = 0.5
"""Seconds of the pace that a late sleeper is made good for."""
_FORGET: Final = 300.0
"""After so many seconds without a refusal nothing is known any more."""
_ALONE: Final = 60.0
"""No longer is a target left alone: who waits for two minutes shall have asked, and quotas are per minute."""
_ASIDE: Final = 4
"""How many places a request may go before its turn, while those before it sleep."""
_LONGEST_SLEEP: Final = 5.0


class _Phase(Enum):
    STARTING = "starting"
    CLOSED = "closed"
    PACED = "paced"


class Turn:
    """A request that may be made, until it is gone."""

    __slots__ = ("admitted", "answered", "at", "begun", "epoch", "level", "over", "sent", "tokens")

    def __init__(self, at: float, tokens: float, level: int, answered: int, epoch: int) -> None:
        self.at = at
        self.tokens = tokens
        self.level = level
        """How many were running, with this one."""
        self.answered = answered
        """How many had been answered."""
        self.epoch = epoch
        self.admitted = self.begun = self.over = False
        self.sent: float | None = None
        """When it was written."""

    def on_its_way(self, now: float) -> bool:
        """Whether its refusal may still be under way: the way back takes as long as the way out, as far as is known."""
        if self.admitted or self.over:
            return False
        if self.sent is None:
            return now < self.at + _UNSEEN
        return now < self.sent + max(_BACK, self.sent - self.at)


class Pacer:
    """The pace of one target. Any thread may call any method, with the time of one clock.

    Args:
        lock: Taken by each method. A finalizer may call `gone` and `leave` in a thread that has it.
        random: A number from 0 to 1, so that the probes of many processes do not come at once.
        most: How many requests the process itself has room for.
    """

    def __init__(self, lock: Lock, random: Callable[[], float], most: float = math.inf) -> None:
        self._random, self._most = random, most
        self._epoch = 0
        self.renew(lock)

    def renew(self, lock: Lock) -> None:
        """Begin anew, as in a forked child: the requests of its parent do not run there."""
        self._held = Held(lock)
        self._epoch += 1
        self._running = self._refused = self._served = self._answered = 0
        """How many are under way, were refused, are being answered, and were answered."""
        self._late_at = -math.inf
        """When fewer were let run because a request was late; those that began before say nothing new."""
        self._line = Line()
        self._measure = Measure()
        self._on_the_way: list[Turn] = []
        """Those that may be, and may be not any more."""
        self._last = self._answered_at = -math.inf
        """When a turn was last given, and when an answer last came."""
        self._slowest = 0.0
        """How long a refusal takes."""
        self.refusal: tuple[int, str] = (429, "")
        """Status and words of the last one."""
        self._ramp_at: float | None = None
        self._has_places = False
        """Whether requests wait for the end of others."""
        self._start()

    def _start(self) -> None:
        self._phase = _Phase.STARTING
        self._measure.forget()
        self._places, self._queue = Places(), Queue()
        """Of a pool, and of an engine that lets requests wait."""
        self._first = math.inf
        """Since when is measured."""
        self._rate = math.inf
        """Requests that may begin in a second, when the gate was opened; infinite before it was for the first time."""
        self._known = False
        """Whether that was measured over a whole window, of which others had not taken everything."""
        self._window = _SHORTEST_WINDOW
        self._rest = 0.0
        """Seconds for which the pace stays, from the opening of the gate on."""
        self._opened = self._next = self._tokens_next = 0.0
        """When the gate was opened, and when the next request may begin, by the pace and by the asker's own tokens."""
        self._refused_at = self._closed_at = -math.inf
        self._streak = 0
        """Refusals with nothing admitted in between."""
        self._left = 0
        """How many were left running beside the last refusals that came together."""
        self._gate = self._probed_at = 0.0
        """When the next probe may go, and when the last one went."""
        self._probe: Turn | None = None
        self._pause = _FIRST_PROBE

    # Asking.

    def turn(self, now: float, pace: Pace, tokens: float, waiter: Waiter | None = None) -> Turn | float:
        """The turn of a request, or the seconds after which to ask again.

        Args:
            now: The time.
            pace: The asker's own limits.
            tokens: About the size of its prompt; another unit will do, if it is always the same.
            waiter: Its place in the line; without one it may not go before those that have one.
        """
        with self._held:
            if waiter is None and len(self._line):
                return 0.0
            position = 0 if waiter is None else self._line.position(waiter, now)
            wait = self._wait(now, pace, tokens, position)
            if wait > 0:
                if waiter is not None:
                    waiter.rung, waiter.due = False, now + wait
                return wait
            self._running += 1
            turn = Turn(now, tokens, self._running, self._answered, self._epoch)
            if self._phase is _Phase.CLOSED:
                self._probe = turn
            self._first, self._last = min(self._first, now), now
            self._measure.add(now, tokens)
            self._on_the_way.append(turn)
            self._line.serve(now)
            if waiter is not None:
                self._line.leave(waiter)
            if self._has_places:
                self._line.ring(_ASIDE)
            return turn

    def _wait(self, now: float, pace: Pace, tokens: float, position: int) -> float:
        """Seconds that a request at this position of the line has to wait; 0 if it is its turn."""
        if self._phase is _Phase.CLOSED:
            wait = self._until_probe(now)
            if self._phase is _Phase.CLOSED:
                if wait <= 0 and position < _ASIDE:
                    return 0.0
                return min(max(wait, 0.01) + position / self._line.speed(now) / 2, _LONGEST_SLEEP)
        return self._for_place(now, pace.max_concurrency, position) or self._for_pace(
            now, pace, tokens, position
        )

    def _until_probe(self, now: float) -> float:
        """Seconds until the next probe; opens the gate if the last one has not been refused."""
        probe = self._probe
        if probe is None:
            return self._gate - now
        patience = _PATIENCE if not self._slowest else min(10.0, max(0.25, 5 * self._slowest))
        out = now - probe.at
        if out >= patience:
            if self._running > self._left:
                self._places.disprove()  # none of those that ran had to end for it
            self._open(probe, now)
        return min(0.1, patience - out)

    def _for_place(self, now: float, most: int | None, position: int) -> float:
        """Seconds until there may be a place, of those that the start, a pool or the asker leaves; 0 if there is one."""
        if len(self._on_the_way) >= _ON_THE_WAY:
            self._on_the_way = [turn for turn in self._on_the_way if turn.on_its_way(now)]
            if len(self._on_the_way) >= _ON_THE_WAY:
                wait = (position + 1) / self._line.speed(now) / 2
                return min(max(0.01, wait), _LONGEST_SLEEP)
        free = min(self._places.free(self._running, most), self._queue.free(self._running))
        if 2 * self._running >= self._most:  # else it is far off, and no waiter is woken for it
            free = min(free, self._most - self._running)
        self._has_places = free < math.inf
        if free < 1 or position >= free + _ASIDE:
            if free >= 1:
                self._line.ring(_ASIDE)
            # It is woken when a place is free; this is for the case that those before it are not there any more.
            wait = (position + 1) / self._line.speed(now)
            return min(max(0.005, wait), _LONGEST_SLEEP)
        if self._phase is _Phase.PACED or self._running < _AT_ONCE:
            if not self._running and now - self._last > _IDLE:
                self._ramp_at = None
            return 0.0
        if self._ramp_at is None:
            self._ramp_at = now
        doublings = (now - self._ramp_at) / _DOUBLING
        if doublings > _DOUBLINGS or self._running < _AT_ONCE * math.exp2(doublings):
            return 0.0
        needed = math.log2((self._running + 1 + position) / _AT_ONCE)
        return max(0.001, min(_LONGEST_SLEEP, _DOUBLING * (needed - doublings)))

    def _for_pace(self, now: float, pace: Pace, tokens: float, position: int) -> float:
        """Seconds until a request at this position may begin, by the pace and the asker's own; 0 if it may."""
        rate, cost = math.inf, 1.0
        if self._phase is _Phase.PACED:
            if now - self._refused_at > max(_FORGET, 10 * self._window):
                self._start()
            else:
                rate, cost = self._rate * self._growth(now), self._measure.cost(tokens)
        if pace.requests_per_minute is not None:
            rate, cost = min(rate / cost, pace.requests_per_minute / 60), 1.0
        per_token = 0.0 if pace.tokens_per_minute is None else 60 / pace.tokens_per_minute
        if rate == math.inf and not per_token:
            return 0.0
        wait = max(self._next, self._tokens_next) - now
        if wait > 0:
            return min(max(0.001, wait + position / rate), _LONGEST_SLEEP)
        if position > max(_ASIDE, rate / 4):
            return min(max(0.001, position / rate / 2), _LONGEST_SLEEP)
        self._next = max(self._next, now - _SLACK) + cost / rate
        self._tokens_next = max(self._tokens_next, now - _SLACK) + per_token * tokens
        return 0.0

    def _growth(self, now: float) -> float:
        """What the pace is now, as a multiple of what it was when the gate was opened."""
        passed = now - self._opened
        if not self._known:
            return math.exp2(min(passed, 30.0))
        over = passed / self._rest - 1
        return math.exp(min(_STEEP * over * over, 30.0)) if over > 0 else 1.0

    # What becomes of it.

    def admitted(self, turn: Turn, now: float) -> None:
        """The target begins to answer, or refuses this one request for what it is."""
        with self._held:
            if turn.epoch != self._epoch:
                return
            self._answered_at, turn.admitted = now, True
            if turn is self._probe:
                self._open(turn, now)
            elif turn.at > self._refused_at:
                self._streak = 0
            self._places.answered()

    def begun(self, turn: Turn, now: float) -> None:
        """Something of the answer is there: a stream's first token, or all of an answer that comes as a whole."""
        with self._held:
            if turn.epoch == self._epoch:
                done = self._served + self._answered - turn.answered
                self._queue.begun(turn.level - done, now - turn.at)
                turn.begun = True
                self._served += 1

    def late(self, turn: Turn, now: float) -> bool:
        """The answer did not begin in time; say whether others did meanwhile. Fewer may run if these were before it."""
        with self._held:
            if turn.epoch != self._epoch:
                return False
            done = self._answered - turn.answered
            if turn.at >= self._late_at and self._queue.late(turn.level, self._served, done, now - turn.at):
                self._late_at = now
            return done + self._served > 0

    def refused(self, turn: Turn, now: float, retry_after: float | None, status: int, words: str) -> None:
        """The target takes no more at the moment.

        Args:
            turn: Whose request it was; it is gone with that.
            now: The time.
            retry_after: Seconds for which the target wants to be left alone, if it says so.
            status: The status of the refusal.
            words: Its text.
        """
        with self._held:
            if turn.epoch != self._epoch:
                return
            self._end(turn)
            self._refused += 1
            self.refusal = status, words
            self._slowest = max(0.9 * self._slowest, now - turn.at)
            self._measure.take_back(turn.at, turn.tokens)
            closed = self._phase is _Phase.CLOSED
            if turn is self._probe:
                self._probe, self._probed_at = None, turn.at
                if turn.level <= max(1, min(0.9 * self._left, self._left - 2)):
                    self._places.disprove()  # places were free, or nothing else was running
                self._close_until(now, retry_after)
            elif turn.at <= max(self._refused_at, self._closed_at):
                # Of the same moment: what is left is what was admitted then, also if it has ended since.
                self._left -= 1
                self._places.narrow(self._left)
                if closed and retry_after is not None:
                    self._gate = self._probed_at = max(self._gate, now + min(retry_after, _ALONE))
            elif not closed:
                self._left, crowded = self._running, self._places.may_explain(turn.level)
                if crowded or self._places.limit == math.inf:
                    self._places.narrow(self._left)
                self._refused_at = now
                self._streak += 1
                if crowded and self._streak < 3 and retry_after is None:
                    return  # a pool, as it seems: fewer at a time will do
                self._phase, self._closed_at = _Phase.CLOSED, now
                self._probed_at = now
                self._close_until(now, retry_after)

    def _close_until(self, now: float, retry_after: float | None) -> None:
        """Keep the gate closed for as long as the target says, but neither for less than the next pause nor for ever."""
        self._refused_at = now
        self._gate = now + self._pause * (0.75 + self._random() / 2)
        self._pause = min(_LONGEST_PROBE / 1.25, self._pause * _BACKOFF)
        if retry_after is not None:
            self._gate = self._probed_at = max(self._gate, now + min(retry_after, _ALONE))

    def _open(self, probe: Turn, now: float) -> None:
        """Let all through again, at the pace that was measured."""
        # It opened between the last two probes.
        opened = (probe.at + min(probe.at, max(self._probed_at, self._closed_at))) / 2
        drought, cycle = opened - self._closed_at, max(0.0, opened - max(self._first, self._opened))
        grown = self._growth(self._closed_at)
        if self._rate == math.inf:
            self._window = cycle
        elif drought > 0.15 * cycle and grown < 1.5:
            self._window = max(0.97 * self._window, min(cycle, 2 * self._window))
        elif cycle > self._window:
            self._window *= 0.97 if grown > 1.2 else 1.03
        self._window = min(LONGEST_WINDOW, max(_SHORTEST_WINDOW, self._window))
        since = max(opened - max(1.1 * self._window, 1.2 * drought), self._first)
        seconds = max(0.25, opened - since)
        measured, factor = self._measure.per_second(since, seconds)
        old = self._rate = self._rate * factor
        several = measured * seconds > 1.5  # where nothing at all was let through, one request is measured
        measured *= _BELOW
        soon = self._known and cycle < self._window / 2
        if self._known:
            # What is measured in a hurry is not far from what it was.
            measured = max(measured, (0.5 if drought > 0.3 * self._window else 0.7) * self._rate)
        before = self._rate * grown
        if soon:
            before = max(0.96 * before, 0.9 * measured)
        self._rate = max(0.05, min(before, measured))
        if self._known and grown > 1:
            self._rest = 2 * self._rest if self._rate < _MORE * old else 0.0
        self._rest = max(self._window, min(self._rest, _LEAST_BETWEEN / self._rate))
        self._known |= several and (self._places.is_quota or seconds >= self._window)
        first = min(_FIRST_PROBE, max(0.05, 0.25 * drought))
        self._pause = min(2.0, max(first, self._pause)) if soon else first
        self._phase, self._probe, self._streak = _Phase.PACED, None, 0
        self._opened, self._next = opened, now
        self._line.ring(max(_ON_THE_WAY, int(self._rate * _LONGEST_SLEEP)))

    def gone(self, turn: Turn, now: float) -> None:
        """The request is over, or was given up."""
        self._held.later(partial(self._gone, turn, now))

    def _gone(self, turn: Turn, now: float) -> None:
        if turn.epoch != self._epoch:
            return
        self._end(turn)
        if turn.admitted:
            self._answered_at = now
        if turn is self._probe:
            self._probe = None
            self._close_until(now, None)
        if self._has_places:
            self._line.ring(_ASIDE)

    def _end(self, turn: Turn) -> None:
        turn.over = True
        self._running -= 1
        if turn.begun:
            self._served -= 1
            self._answered += 1

    # Waiting.

    def join(self, now: float) -> Waiter:
        """Take a place at the end of the line."""
        with self._held:
            return self._line.join(now)

    def rejoin(self, waiter: Waiter, now: float) -> None:
        """Take the old place again, after a refusal."""
        with self._held:
            self._line.rejoin(waiter, now)

    def leave(self, waiter: Waiter) -> None:
        """Give the place up, if it is still there."""
        self._held.later(partial(self._line.leave, waiter))

    def dry_since(self) -> float | None:
        """Since when the target has answered nothing at all; `None` if it does."""
        with self._held:
            running = self._running - (self._probe is not None)
            return self._answered_at if self._phase is _Phase.CLOSED and running <= 0 else None

    def state(self, now: float) -> PaceState:
        """What the pace is now."""
        with self._held:
            limit = min(self._places.limit, self._queue.limit)
            closed = self._phase is _Phase.CLOSED
            return PaceState(
                per_second=None if self._rate == math.inf else self._rate * self._growth(now),
                limit=None if limit == math.inf else int(limit),
                running=self._running,
                waiting=len(self._line),
                refused=self._refused,
                closed_for=now - self._closed_at if closed else None,
            )
