"""Figures about one request, for a metrics system. Times come from the caller's clock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from kimi_vertex.completion import Completion
from kimi_vertex.events import Event, FinishReason, TextDelta, Usage

__all__ = ["RequestStats", "StatsRecorder"]

logger = logging.getLogger("kimi_vertex")


@dataclass(frozen=True, slots=True)
class RequestStats:
    """What one request did, retries included. Handed to `on_request` when it is over.

    A stream that its reader left early has neither a finish reason nor an error.
    """

    attempts: int
    seconds: float
    """From the start of the request to its end."""
    seconds_to_first_event: float | None
    """To the first piece of thinking, text or tool call."""
    seconds_to_first_text: float | None
    """To the first piece of the answer that a user sees."""
    finish_reason: FinishReason | None
    usage: Usage | None
    error: str | None
    """Name of the error's class, or `None`."""
    reasked: bool = False
    """Whether the model was asked again, because a tool call of its answer was invalid."""
    refusals: int = 0
    """How many of the attempts the service refused for want of room; they are not retries."""
    waited: float = 0.0
    """Seconds that the request waited for its turns."""


class StatsRecorder:
    """Collects the figures; costs nothing without a listener."""

    __slots__ = (
        "_attempts",
        "_clock",
        "_first",
        "_first_text",
        "_listener",
        "_reasked",
        "_start",
        "refusals",
        "waited",
    )

    def __init__(self, clock: Callable[[], float], listener: Callable[[RequestStats], None] | None) -> None:
        self._clock = clock
        self._listener = listener
        self._start = clock()
        self._attempts = 0
        self._reasked = False
        self.refusals = 0
        self.waited = 0.0
        self._first: float | None = None
        self._first_text: float | None = None

    @property
    def listening(self) -> bool:
        """Whether there is still a time to be taken."""
        return self._listener is not None and self._first_text is None

    def attempt(self) -> None:
        """A request is about to be made."""
        self._attempts += 1

    def reask(self) -> None:
        """The model is about to be asked again."""
        self._reasked = True

    def events(self, events: list[Event]) -> None:
        """Events are about to be shown."""
        if not self.listening:
            return
        now = self._clock() - self._start
        if self._first is None:
            self._first = now
        if any(type(event) is TextDelta for event in events):
            self._first_text = now

    def done(self, completion: Completion | None, error: Exception | None) -> None:
        """The request is over; `completion` may be partial. A listener that raises does not break it."""
        if self._listener is None:
            return
        try:
            self._listener(
                RequestStats(
                    attempts=self._attempts,
                    seconds=self._clock() - self._start,
                    seconds_to_first_event=self._first,
                    seconds_to_first_text=self._first_text,
                    finish_reason=completion.finish_reason if completion else None,
                    usage=completion.usage if completion else None,
                    error=type(error).__name__ if error else None,
                    reasked=self._reasked,
                    refusals=self.refusals,
                    waited=self.waited,
                )
            )
        except Exception:
            logger.warning("on_request raised; the request is not affected.", exc_info=True)
