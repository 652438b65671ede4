"""How much an emulator admits before it answers 429, or lets wait. A value and its arithmetic, no I/O and no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

__all__ = ["Quota"]


@dataclass(frozen=True, slots=True)
class Quota:
    """How much is allowed; what exceeds it is answered with Google's 429, but for `slots`.

    Example: `Emulator(quota=Quota(requests=60, retry_after=True))`. Another one may be set while the emulator runs.
    """

    requests: int | None = None
    """Chat requests per window; `None`: any number."""
    tokens: int | None = None
    """Estimated prompt tokens per window; `None`: any number."""
    window: float = 60.0
    """Length of the window in seconds."""
    kind: Literal["sliding", "fixed", "bucket"] = "sliding"
    """`sliding`: the window ends now. `fixed`: windows follow each other. `bucket`: a bucket that holds a window's worth
    and is filled steadily."""
    cap: int | None = None
    """Chat requests that run at a time; a further one is refused. `None`: any number."""
    slots: int | None = None
    """Answers that are made at a time, each for its turn's `delay`; the others wait for their head, as an engine's queue
    lets them, until their client leaves. `None`: any number."""
    retry_after: bool = False
    """Whether the 429 says in `Retry-After` when there is room again (whole seconds, rounded up). Google's does not."""


class Meter:
    """What a quota has seen."""

    def __init__(self) -> None:
        self.running = 0
        """Chat requests that were admitted and have not ended."""
        self._spent: deque[tuple[float, int]] = deque()
        self._used = [0.0, 0.0]
        """Requests and tokens: of the window, or what is missing from the bucket."""
        self._at = 0.0

    def admit(self, quota: Quota, tokens: int, now: float) -> float | None:
        """Takes a request into account, which runs until `leave`; `now` is a monotonic time in seconds.

        Returns:
            `None` if it is admitted, else the seconds until there is room, as far as that is known.
        """
        if quota.cap is not None and self.running >= quota.cap:
            return 0.0
        wait = getattr(self, f"_{quota.kind}")(quota, now)
        limits = (quota.requests, quota.tokens)
        for limit, used, more in zip(limits, self._used, (1, tokens), strict=True):
            if limit is not None and used + more > limit:
                return max(0.0, wait or (used + more - limit) * quota.window / (limit or 1))
        self._used = [self._used[0] + 1, self._used[1] + tokens]
        if quota.kind == "sliding":
            self._spent.append((now, tokens))
        self.running += 1
        return None

    def leave(self) -> None:
        """A request that was admitted has ended."""
        self.running -= 1

    def _sliding(self, quota: Quota, now: float) -> float:
        while self._spent and self._spent[0][0] <= now - quota.window:
            _, tokens = self._spent.popleft()
            self._used = [self._used[0] - 1, self._used[1] - tokens]
        return self._spent[0][0] + quota.window - now if self._spent else quota.window

    def _fixed(self, quota: Quota, now: float) -> float:
        begun = now - now % quota.window
        if begun != self._at:
            self._at, self._used = begun, [0.0, 0.0]
        return begun + quota.window - now

    def _bucket(self, quota: Quota, now: float) -> float:
        passed, self._at = now - self._at, now
        for number, limit in enumerate((quota.requests, quota.tokens)):
            self._used[number] = max(0.0, self._used[number] - passed * (limit or 0) / quota.window)
        return 0.0
