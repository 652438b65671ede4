"""How many requests may run at a time: at pools, which refuse while their places are taken, and at engines that queue."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Places", "Queue"]

_LEAST_BETWEEN: Final = 60
"""Answers between two attempts at more: a refusal in so many is what learning costs."""
_IN_TIME: Final = 0.75
"""How much of what an engine can begin to answer in time may run, so that it does."""
_MARGIN: Final = 1.25
"""How many more have to be ahead of a late request than an answer leaves behind."""
_FADES: Final = 0.99
"""By what these get fewer with each answer."""


class Places:
    """The limit, until it is found to be none: a quota refuses however few are running, a pool admits when one has ended."""

    def __init__(self) -> None:
        self.limit = math.inf
        self.is_quota = False
        """Whether refusals were seen to have nothing to do with how many are running."""
        self._proven = 0.0
        """At which limit a number of requests were answered."""
        self._answers, self._missed, self._step = 0, False, 1.0

    def narrow(self, left: int) -> None:
        """Requests were refused beside so many others: take these for all that there is room for, unless that cannot be."""
        if self.is_quota:
            return
        if left < 1:
            self.disprove()
            return
        self.limit = min(self.limit, float(left))
        self._answers, self._missed, self._step = 0, False, 1.0
        if self.limit <= 0.6 * self._proven:
            self.disprove()  # more than that have run before

    def may_explain(self, level: int) -> bool:
        """Whether a request may have been refused because so many were running: about the limit, or it is a guess so far."""
        return self.limit < math.inf and (level > 0.9 * self.limit or self._proven < self.limit)

    def disprove(self) -> None:
        """It is a quota: there is no limit."""
        self.is_quota, self.limit = True, math.inf

    def free(self, running: int, most: int | None) -> float:
        """How many more may run, by what is known and what the asker allows."""
        if running + 1 > self.limit:
            self._missed = True
        return min(self.limit, math.inf if most is None else most) - running

    def answered(self) -> None:
        """A request was admitted. If there was no place for others, there are more after a while, more and more."""
        if self.limit == math.inf:
            return
        self._answers += 1
        if self._answers >= _LEAST_BETWEEN:
            self._proven = max(self._proven, self.limit)
            if self._missed:
                self.limit += self._step
                self._step *= 2
            self._answers, self._missed = 0, False


class Queue:
    """The limit at an engine that refuses nothing but lets requests wait, so that they are answered before they are given up.

    An answer that takes long by itself is told from one that waits by those of older requests. An engine with a queue
    answers in order: an answer leaves few older requests behind. So where a late request has many more ahead of it, it
    waits; and where answers leave many behind, requests run beside each other, and lateness has to do with none of them.
    """

    def __init__(self) -> None:
        self.limit = math.inf
        self._passed = 0.0
        """How many older requests an answer leaves behind, of late."""
        self._soon = self._slowest = 0.0
        """Seconds after which answers are to begin, and that the slowest one took since the last growth."""
        self._answers, self._missed = 0, False

    def late(self, level: int, served: int, done: int, seconds: float) -> bool:
        """Whether a request was given up because it had to wait for others; then fewer may run.

        Args:
            level: How many were running when it began, with it.
            served: How many are being answered.
            done: How many were answered since it began.
            seconds: How long it was waited for.
        """
        ahead = level - served - done
        enough = _MARGIN * self._passed + 1 if self.limit == math.inf else 0.0
        if not enough < ahead < level:
            return False
        self.limit = max(1.0, served + _IN_TIME * done)
        self._soon, self._slowest, self._answers, self._missed = _IN_TIME * seconds, 0.0, 0, False
        return True

    def free(self, running: int) -> float:
        """How many more may run."""
        if running + 1 > self.limit:
            self._missed = True
        return self.limit - running

    def begun(self, ahead: int, seconds: float) -> None:
        """An answer begins after so many seconds, before those to so many requests that are older."""
        self._passed = max(float(ahead), _FADES * self._passed)
        self._answers += 1
        self._slowest = max(self._slowest, seconds)
        if self._answers >= self.limit:
            if self._missed:
                self.limit *= max(1.0, self._soon / self._slowest)  # twice as many wait twice as long
            self._slowest, self._answers, self._missed = 0.0, 0, False
