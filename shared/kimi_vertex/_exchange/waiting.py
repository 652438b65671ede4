"""Waits between two attempts: for an endpoint that starts, and for one that is overloaded. Both say that they wait."""

from __future__ import annotations

import logging
import math
from typing import Final, Literal

from kimi_vertex.errors import APIError, APIStatusError, CredentialsError, RateLimitError
from kimi_vertex.options import Wait

from .advice import is_waking
from .commands import Sleep, Steps
from .state import Exchange

__all__ = ["await_start", "sleep"]

logger = logging.getLogger("kimi_vertex")

_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 30.0
_GROWTH: Final = 1.5
_GROWINGS: Final = 20
_NEWS: Final = 5.0
"""Seconds between two pieces of news of a wait."""


def await_start(exchange: Exchange, error: APIError | CredentialsError) -> Steps[bool | None]:
    """Wait for an endpoint that has no replica yet, if the user wants that; say whether to ask again.

    `None` if this is not such a wait.

    While it starts, what its front end says changes: every error that may pass counts as part of the start, but for a
    quota that is used up, which is another state.
    """
    timeout, total = exchange.settings.wake_timeout, exchange.timeouts.total
    if timeout is None or isinstance(error, CredentialsError):
        return None
    waking = isinstance(error, APIStatusError) and exchange.said is not None and is_waking(exchange.said)
    begun = exchange.waking_since is not None
    if not waking and not (begun and error.is_retryable and not isinstance(error, RateLimitError)):
        return None
    now = exchange.clock()
    if exchange.waking_since is None:
        exchange.waking_since = now
    end = min(exchange.waking_since + timeout, exchange.started + (math.inf if total is None else total))
    if now >= end:
        return False
    asked = error.retry_after if isinstance(error, APIStatusError) else None
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * _GROWTH ** min(exchange.wakes, _GROWINGS)) * (
        0.75 + exchange.random() / 2
    )
    delay = min(max(pause, min(asked or 0.0, _LONGEST_PAUSE)), end - now)
    exchange.wakes += 1
    logger.info(
        "The endpoint is starting (%s); asking again in %.0f s.", exchange.place, delay, extra=exchange.record
    )
    yield from sleep(exchange, "waking", delay, end, error)
    exchange.retrying_since = exchange.alone_since = exchange.clock()
    return True


def sleep(
    exchange: Exchange, reason: Literal["waking", "retry"], delay: float, end: float, error: Exception
) -> Steps[None]:
    """Wait, and say so now and every few seconds."""
    exchange.stats.wait(reason, delay)
    if exchange.on_wait is None:
        yield Sleep(delay)
        return
    since = exchange.started if reason == "retry" else exchange.waking_since or exchange.started
    while delay > 0:
        now = exchange.clock()
        left = max(0.0, end - now)
        exchange.on_wait(Wait(reason, now - since, delay, left, exchange.stats.attempts, str(error)))
        step = min(delay, _NEWS)
        yield Sleep(step)
        delay -= step
