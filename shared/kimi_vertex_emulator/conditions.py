"""The weather that an emulator runs in: faults at a rate, quotas, latency. Values and their arithmetic, no I/O.

Whatever is random is drawn from a seed and the number of the request, so that a run can be repeated.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from kimi_vertex_emulator.script import FAULTS, Fault, FaultKind, known

__all__ = ["Faults", "Latency", "LatencyProfile", "Quota"]

LatencyProfile = Literal["none", "fast", "realistic", "slow"]
"""Named latencies, see `Latency.of`."""

_PROFILES: dict[LatencyProfile, tuple[float, float, float]] = {
    # Seconds to the first token, tokens per second, spread. Chosen to exercise clients; no service was measured.
    "none": (0.0, 0.0, 0.0),
    "fast": (0.05, 400.0, 0.0),
    "realistic": (0.9, 60.0, 0.35),
    "slow": (4.0, 12.0, 0.35),
}


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults at a rate, the same ones in every run with the same seed and the same order of requests.

    Example:
        ```python
        Emulator(faults=Faults({"429": 0.05, "cut-mid": 0.02}, token={"503": 0.5}, seed=7))
        ```

    Raises:
        ValueError: A kind is unknown, or the rates of a route are negative or add up to more than 1.
    """

    chat: Mapping[FaultKind, float] = field(default_factory=dict)
    """Rate of each kind among the chat calls, 0 to 1."""
    token: Mapping[FaultKind, float] = field(default_factory=dict)
    """Rate of each kind among the requests to the token sources."""
    seed: int = 0
    after: int = 3
    """`Fault.after` of faults in the middle."""
    seconds: float = 30.0
    """`Fault.seconds`."""
    retry_after: str | None = None
    """`Fault.retry_after`."""

    def __post_init__(self) -> None:
        for rates in (self.chat, self.token):
            for kind in rates:
                known(kind, FAULTS, "fault")
            if min(rates.values(), default=0) < 0 or sum(rates.values()) > 1 + 1e-9:
                raise ValueError(f"fault rates must not be negative nor add up to more than 1: {dict(rates)}")

    def draw(self, route: Literal["chat", "token"], number: int) -> Fault | None:
        """The fault that strikes the request with this number, `None` for most."""
        rates = self.chat if route == "chat" else self.token
        point = random.Random(f"{self.seed}/{route}/{number}").random()
        for kind, rate in rates.items():
            point -= rate
            if point < 0:
                return Fault(kind, after=self.after, seconds=self.seconds, retry_after=self.retry_after)
        return None


@dataclass(frozen=True, slots=True)
class Quota:
    """How much is allowed in a sliding window; what exceeds it is answered with Google's 429.

    Example: `Emulator(quota=Quota(requests=60, retry_after=True))`.
    """

    requests: int | None = None
    """Chat calls per window; `None`: any number."""
    tokens: int | None = None
    """Estimated prompt tokens per window; `None`: any number."""
    window: float = 60.0
    """Length of the window in seconds."""
    retry_after: bool = False
    """Whether the 429 says in `Retry-After` when there is room again (whole seconds, rounded up). Google's does not."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a model takes: until its first token, and for each further one.

    Applies to scripted turns and to the brain's, streamed or whole, on top of `Turn.pause`.
    """

    first_token: float = 0.0
    """Seconds until the response begins."""
    tokens_per_second: float = 0.0
    """Speed of the tokens after it; 0: all at once."""
    spread: float = 0.0
    """Relative deviation of both, drawn for each answer and each delta: 0.35 is between 65 % and 135 %."""

    @classmethod
    def of(cls, profile: LatencyProfile) -> Latency:
        """A named latency.

        `none`; `fast`: 50 ms, 400 tokens per second; `realistic`: 0.9 s, 60 tokens per second, spread 35 %;
        `slow`: 4 s, 12 tokens per second, spread 35 %.

        Raises:
            ValueError: The name is unknown.
        """
        known(profile, get_args(LatencyProfile), "latency profile")
        return cls(*_PROFILES[profile])

    def start(self, draw: random.Random) -> float:
        """Seconds until an answer begins."""
        return self.first_token * self._factor(draw)

    def duration(self, tokens: float, draw: random.Random) -> float:
        """Seconds that so many tokens take."""
        return tokens / self.tokens_per_second * self._factor(draw) if self.tokens_per_second else 0.0

    def _factor(self, draw: random.Random) -> float:
        return draw.uniform(1 - self.spread, 1 + self.spread) if self.spread else 1.0


class Meter:
    """What a quota has seen in its window."""

    def __init__(self) -> None:
        self._spent: deque[tuple[float, int]] = deque()

    def admit(self, quota: Quota, tokens: int, now: float) -> float | None:
        """Takes a request into account.

        Args:
            quota: The quota.
            tokens: Estimated tokens of its prompt.
            now: A monotonic time in seconds.

        Returns:
            `None` if it is admitted, else the seconds until there is room.
        """
        while self._spent and self._spent[0][0] <= now - quota.window:
            self._spent.popleft()
        full = quota.requests is not None and len(self._spent) >= quota.requests
        used = sum(spent for _, spent in self._spent)
        if full or (quota.tokens is not None and used + tokens > quota.tokens):
            first = self._spent[0][0] if self._spent else now
            return first + quota.window - now
        self._spent.append((now, tokens))
        return None
