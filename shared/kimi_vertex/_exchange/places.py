"""How many requests may run at a time, for targets that are pools: they refuse while their places are taken."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Places"]

_LEAST_BETWEEN: Final = 60
"""Answers between two attempts at more: a refusal in so many is what learning costs."""


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
