"""What a target admits: how many requests in a second, or how much of their size, if that is what its quota counts."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

__all__ = ["LONGEST_WINDOW", "Measure"]

LONGEST_WINDOW: Final = 90.0
"""Seconds over which a quota is measured at most."""
_TICK: Final = 0.1
_STEADIER: Final = 0.7
"""How much less requests or their tokens have to vary to be taken for what the quota counts."""


class Measure:
    """Requests that were let through and not refused, and their tokens, by the tenth of a second."""

    def __init__(self) -> None:
        self._ticks: deque[list[float]] = deque(maxlen=int(2 * LONGEST_WINDOW / _TICK))
        self.forget()

    def forget(self) -> None:
        """Forget what the quota counts."""
        self.size: float | None = None
        """Tokens of an average request, if it is tokens that the quota counts."""
        self._last: tuple[float, float] | None = None
        self._drift = [0.0, 0.0]

    def add(self, at: float, tokens: float) -> None:
        """A request is let through."""
        tick = at // _TICK
        if self._ticks and self._ticks[-1][0] >= tick:
            last = self._ticks[-1]
            last[1] += 1
            last[2] += tokens
        else:
            self._ticks.append([tick, 1, tokens])

    def take_back(self, at: float, tokens: float) -> None:
        """One of them was refused."""
        tick = at // _TICK
        for found in reversed(self._ticks):
            if found[0] <= tick:
                found[1] -= 1
                found[2] -= tokens
                return

    def cost(self, tokens: float) -> float:
        """What a request takes of the pace: one, or its part of the average size."""
        return tokens / self.size if self.size else 1.0

    def per_second(self, since: float, seconds: float) -> tuple[float, float]:
        """How many were let through in a second; and by what earlier figures are to be multiplied, if the unit is another now.

        Which it is, is told by what varies less from one refusal to the next. If tokens are counted, the figure is in
        requests of average size.
        """
        found = [tick for tick in self._ticks if tick[0] >= since // _TICK]
        requests, tokens = (max(1.0, sum(tick[column] for tick in found)) for column in (1, 2))
        rates, factor = (requests / seconds, tokens / seconds), 1.0
        if self._last is not None:
            for number in (0, 1):
                change = abs(math.log(rates[number] / self._last[number]))
                self._drift[number] = 0.8 * self._drift[number] + min(change, 0.5)
            if self.size is None and self._drift[1] < _STEADIER * self._drift[0]:
                self.size = tokens / requests
            elif self.size is not None and self._drift[0] < _STEADIER * self._drift[1]:
                factor = self.size * requests / tokens
                self.size = None
        self._last = rates
        return (rates[0] if self.size is None else rates[1] / self.size), factor
