"""How much an emulator admits before it answers 429. A value and its arithmetic, no I/O and no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Quota"]


@dataclass(frozen=True, slots=True)
class Quota:
    """How much is allowed in a sliding window; what exceeds it is answered with Google's 429.

    Example: `Emulator(quota=Quota(requests=60, retry_after=True))`.
    """

    requests: int | None = None
    """Chat requests per window; `None`: any number."""
    tokens: int | None = None
    """Estimated prompt tokens per window; `None`: any number."""
    window: float = 60.0
    """Length of the window in seconds."""
    retry_after: bool = False
    """Whether the 429 says in `Retry-After` when there is room again (whole seconds, rounded up). Google's does not."""


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
