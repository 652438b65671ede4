"""Whether and when a call that failed is tried again."""

from __future__ import annotations

import logging
from typing import Final

from kimi_vertex._request.body import without_forced_choice
from kimi_vertex.errors import APIError, APIStatusError, AuthenticationError, CredentialsError

from .commands import Sleep, Steps
from .failures import refuses_forced_choice
from .state import State

__all__ = ["before_retry"]

logger = logging.getLogger("kimi_vertex")

_FIRST_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 8.0


def before_retry(state: State, error: APIError | CredentialsError) -> Steps[bool]:
    """Make the next attempt possible, wait for its time and return true; false if there is to be none.

    What a user has seen is never started anew. A refused token is replaced once, a refused tool choice is given
    up once; neither counts as a retry. Everything else waits as long as the service asks, or a random part of a
    ceiling that doubles (full jitter: many clients that failed together do not come back together).
    """
    if state.shown:
        return False
    if isinstance(error, AuthenticationError) and not state.refreshed and state.token is not None:
        state.refreshed = True
        state.rejected = state.token
        return True
    if isinstance(error, APIStatusError) and _give_up_forced_choice(state, error):
        return True
    settings, call = state.call.settings, state.call
    if not error.is_retryable or state.retries >= settings.max_retries:
        return False
    asked = error.retry_after if isinstance(error, APIStatusError) else None
    ceiling = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0**state.retries)
    delay = ceiling * call.random() if asked is None else asked
    if call.clock() - state.started + delay > settings.max_retry_seconds:
        return False
    state.retries += 1
    logger.info("Attempt %d failed (%s); trying again in %.2f s.", state.retries, type(error).__name__, delay)
    yield Sleep(delay)
    return True


def _give_up_forced_choice(state: State, error: APIStatusError) -> bool:
    """Leave the choice of a tool to the model, where that is what the server refuses."""
    call = state.call
    if not (state.payload.forced_choice and refuses_forced_choice(error)):
        return False
    if not call.traits.refuses_forced_choice:
        call.traits.refuses_forced_choice = True
        logger.warning(
            "The server refuses a forced tool_choice while the model thinks; from now on it is sent as "
            "'auto' with an instruction to call the tool (%s).",
            state.place,
        )
    state.payload = without_forced_choice(state.payload)
    return True
