"""A request's turn at its target: taken before each attempt, given back after it, and waited for in between."""

from __future__ import annotations

import logging
import math
from typing import Final

from kimi_vertex._request.body import Payload
from kimi_vertex.errors import (
    APIError,
    APIStatusError,
    APITimeoutError,
    CredentialsError,
    InternalServerError,
    RateLimitError,
)
from kimi_vertex.estimates import estimate_tokens
from kimi_vertex.options import Wait

from .advice import is_waking
from .commands import Sleep, Steps
from .pace import Turn
from .state import Exchange

__all__ = ["await_turn", "begin_answer", "end_turn", "may_wait", "take_turn"]

logger = logging.getLogger("kimi_vertex")

_REFUSALS: Final = frozenset({429, 503, 529})
_NEWS: Final = 5.0
"""Seconds between two pieces of news of a wait."""
_WORTH_NEWS: Final = 1.0
_IMAGE: Final = 4096
"""An image counts as so many characters."""


def take_turn(exchange: Exchange) -> bool:
    """Take the request's turn if it can be had at once."""
    pacer = exchange.pacer
    if pacer is None:
        return True
    if exchange.refusal is not None:
        return False  # its place in the queue is the old one
    exchange.size = _size(exchange.payload, exact=exchange.pace.tokens_per_minute is not None)
    turn = pacer.turn(exchange.clock(), exchange.pace, exchange.size)
    if not isinstance(turn, Turn):
        return False
    exchange.turn = turn
    return True


def await_turn(exchange: Exchange) -> Steps[None]:
    """Wait for the request's turn, and say so.

    Raises:
        RateLimitError: The target takes nothing, or the wait is longer than the request may wait.
        InternalServerError: Likewise, where the last refusal was not a 429.
    """
    pacer, begun = exchange.pacer, exchange.clock()
    assert pacer is not None, "only paced requests wait"
    if exchange.waiter is None:
        exchange.waiter = pacer.join(begun)
    else:
        pacer.rejoin(exchange.waiter, begun)
    told = -math.inf
    try:
        while True:
            now = exchange.clock()
            turn = pacer.turn(now, exchange.pace, exchange.size, exchange.waiter)
            if isinstance(turn, Turn):
                exchange.turn = turn
                return
            end = _end(exchange)
            if now >= end:
                raise _given_up(exchange, now)
            if now - told >= _NEWS and (
                exchange.refusal or turn >= _WORTH_NEWS or now - begun >= _WORTH_NEWS
            ):
                told = now
                _tell(exchange, now, turn, end)
            yield Sleep(min(turn, max(0.001, end - now)), exchange.waiter)
    finally:
        pacer.leave(exchange.waiter)
        waited = exchange.clock() - begun
        exchange.stats.waited += waited
        exchange.retrying_since += waited


def end_turn(exchange: Exchange, error: APIError | CredentialsError | None = None) -> None:
    """Give the turn back, and tell the pace what the request has come to."""
    turn, exchange.turn = exchange.turn, None
    pacer = exchange.pacer
    if turn is None or pacer is None:
        return
    now = exchange.clock()
    if isinstance(error, APIStatusError):
        if _is_refusal(exchange, error):
            exchange.refusal = error
            exchange.stats.refusals += 1
            pacer.refused(turn, now, error.retry_after, error.status_code, error.message)
            return
        if error.status_code < 500 and not turn.admitted:
            pacer.admitted(turn, now)
    late = isinstance(error, APITimeoutError) and not turn.begun
    if late and pacer.late(turn, now):
        exchange.retrying_since = now  # the target does well: it may have been a wait for others
        limit = pacer.state(now).limit
        if exchange.stats.attempts == 1 and limit is not None and turn.level > limit:
            exchange.retries -= 1  # this process had sent too much at once: to ask again is no retry
    pacer.gone(turn, now)


def begin_answer(exchange: Exchange) -> None:
    """Something of the answer is there."""
    if exchange.turn is not None and exchange.pacer is not None:
        exchange.pacer.begun(exchange.turn, exchange.clock())


def may_wait(exchange: Exchange, error: APIStatusError) -> bool:
    """Whether a request that was refused is asked again when its turn comes."""
    now = exchange.clock()
    if exchange.settings.max_retry_seconds == 0 and exchange.pace.max_wait is None:
        return False
    if now + (error.retry_after or 0.0) >= _end(exchange):
        return False
    logger.info("Refused (%s); the request waits for its turn.", type(error).__name__)
    return True


def _is_refusal(exchange: Exchange, error: APIStatusError) -> bool:
    """Whether the target takes no more at the moment: not where it starts, nor where a quota is spent for the day."""
    if error.status_code not in _REFUSALS or not error.is_retryable:
        return False
    if exchange.waking_since is not None and not isinstance(error, RateLimitError):
        return False
    return exchange.said is None or not is_waking(exchange.said)


def _end(exchange: Exchange) -> float:
    """Until when the request may wait, as things are."""
    assert exchange.pacer is not None
    total, most = exchange.timeouts.total, exchange.pace.max_wait
    end = math.inf if total is None else exchange.started + total
    if most is not None:
        return min(end, exchange.alone_since + most)
    dry = exchange.pacer.dry_since()
    if dry is None:
        return end
    return min(end, max(dry, exchange.alone_since) + exchange.settings.max_retry_seconds)


def _given_up(exchange: Exchange, now: float) -> APIStatusError:
    assert exchange.pacer is not None
    exchange.gave_up = True
    state, (status, words) = exchange.pacer.state(now), exchange.pacer.refusal
    last, total, most = exchange.refusal, exchange.timeouts.total, exchange.pace.max_wait
    waited = now - exchange.alone_since
    if total is not None and now >= exchange.started + total:
        news = f"The request's turn did not come within Timeouts.total ({total:.0f} s): raise it, or send less at once."
    elif most is not None:
        news = (
            f"The request's turn did not come within max_wait ({most:.0f} s): raise it, or send less at once."
        )
    else:
        news = f"The service has taken nothing while this request waited {waited:.0f} s: try again later, or ask for more quota."
    pace = f"{state.per_second:.1f} per second" if state.per_second is not None else "not limited"
    queue = f"The pace was {pace}, {state.waiting} requests wait."
    kind = RateLimitError if status == 429 else InternalServerError
    error = kind(
        f"{news} {queue} Its last refusal: {words or 'it has refused nothing'} ({exchange.place}).",
        status_code=status,
        code=last.code if last is not None else None,
        body=last.body if last is not None else None,
        retry_after=last.retry_after if last is not None else None,
        request_id=last.request_id if last is not None else None,
    )
    error.is_retryable = True
    return error


def _tell(exchange: Exchange, now: float, delay: float, end: float) -> None:
    if exchange.on_wait is None or exchange.pacer is None:
        return
    state = exchange.pacer.state(now)
    words = str(exchange.refusal) if exchange.refusal is not None else f"{state.waiting} requests wait"
    attempts = exchange.stats.refusals + exchange.retries + exchange.wakes
    exchange.on_wait(Wait("pace", now - exchange.alone_since, delay, end - now, attempts, words))


def _size(payload: Payload, *, exact: bool) -> float:
    """How long a prompt is: in tokens, or in characters, which do for comparison and cost nothing."""
    count = estimate_tokens if exact else len
    size = 0
    for message in payload.body["messages"]:
        for text in (message.get("content"), message.get("reasoning_content")):
            if isinstance(text, str):
                size += count(text)
            elif text:
                size += sum(count(part["text"]) if "text" in part else _IMAGE for part in text)
    return float(size)
