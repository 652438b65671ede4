"""Figures about one request, for a metrics system and for the log. Times come from the caller's clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from kimi_vertex.completion import Completion
from kimi_vertex.events import Event, FinishReason, TextDelta, ThinkingDelta, Usage

__all__ = ["RequestStats", "StatsRecorder", "Watch"]

logger = logging.getLogger("kimi_vertex")
_requests = logging.getLogger("kimi_vertex.requests")


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
    seconds_to_first_thinking: float | None = None
    """To the first piece of thinking."""
    model: str | None = None
    """The model that was asked for; `None` where the endpoint decides."""
    target: str = ""
    """Where the request went, in words: project, location and endpoint, or the `base_url`."""
    streamed: bool = False
    """Whether the server was asked for a stream."""
    status: int | None = None
    """The last HTTP status; `None` if no answer came."""
    client_request_id: str = ""
    """The id that was sent as `X-Request-Id`; further attempts have `-2`, `-3` ... behind it."""
    request_id: str | None = None
    """The service's own id of the last attempt, if it sent one."""
    failures: tuple[str, ...] = ()
    """What each attempt that another one followed came to: `"InternalServerError (503)"`."""
    waits: Mapping[str, float] = field(default_factory=dict)
    """Seconds that were waited before attempts, by the reason, which is that of `Wait`; those of `waited` among them."""
    token_source: str | None = None
    """What kind of credentials the request had: `"application default credentials"`, `"static access token"` ..."""

    def __str__(self) -> str:
        """One line for a log."""
        words = [self.error or self.finish_reason or "left by its reader", f"{self.seconds:.2f} s"]
        if self.usage is not None:
            words.append(f"{self.usage.prompt_tokens} + {self.usage.completion_tokens} tokens")
        if self.failures:
            words.append(f"{self.attempts} attempts: {', '.join(self.failures)}")
        where = f"{self.target}, id {self.client_request_id}"
        return f"{', '.join(words)} ({where})"


Watch: TypeAlias = Callable[[RequestStats, Completion | None, Exception | None], None]
"""Told the end of a request: its figures, what came, what went wrong."""


class StatsRecorder:
    """Collects the figures of one request, and tells the log and those who listen."""

    def __init__(self, clock: Callable[[], float], listener: Callable[[RequestStats], None] | None) -> None:
        self._clock = clock
        self._start = clock()
        self._reasked = False
        self.refusals = 0
        self.waited = 0.0
        self._first: float | None = None
        self._first_thinking: float | None = None
        self._first_text: float | None = None
        self.attempts = 0
        self.failures: list[str] = []
        """What each attempt that another one followed came to."""
        self.waits: dict[str, float] = {}
        """Seconds by reason."""
        self.watches: list[Watch] = [] if listener is None else [lambda stats, *_: listener(stats)]
        """Who is told the end; whoever is there from the beginning costs a call for each delta."""

    @property
    def listening(self) -> bool:
        """Whether there is still a time to be taken."""
        return bool(self.watches) and self._first_text is None

    def attempt(self) -> None:
        """A request is about to be made."""
        self.attempts += 1

    def failed(self, error: Exception) -> None:
        """An attempt failed, and another one may follow."""
        status = getattr(error, "status_code", None)
        self.failures.append(f"{type(error).__name__} ({status})" if status else type(error).__name__)

    def wait(self, reason: str, seconds: float) -> None:
        """There is a wait before the next attempt."""
        self.waits[reason] = self.waits.get(reason, 0.0) + seconds

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
        for event in events:
            if type(event) is ThinkingDelta and self._first_thinking is None:
                self._first_thinking = now
            if type(event) is TextDelta:
                self._first_text = now

    def done(
        self, completion: Completion | None, error: Exception | None, about: Callable[[], dict[str, Any]]
    ) -> None:
        """The request is over; `completion` may be partial. A listener that raises does not break it.

        Args:
            completion: What came.
            error: What went wrong.
            about: The other fields of `RequestStats`; not called if nobody listens.
        """
        logs = _requests.isEnabledFor(logging.INFO)
        if not (self.watches or logs):
            return
        stats = RequestStats(
            attempts=self.attempts,
            seconds=self._clock() - self._start,
            seconds_to_first_event=self._first,
            seconds_to_first_text=self._first_text,
            seconds_to_first_thinking=self._first_thinking,
            finish_reason=completion.finish_reason if completion else None,
            usage=completion.usage if completion else None,
            error=type(error).__name__ if error else None,
            reasked=self._reasked,
            # The last failure is the request's own error, if it has one.
            failures=tuple(self.failures[: self.attempts - 1]),
            refusals=self.refusals,
            waited=self.waited,
            waits=self.waits if not self.waited else {**self.waits, "pace": self.waited},
            **about(),
        )
        if logs:
            _requests.info("%s", stats, extra={"kimi_vertex": asdict(stats)})
        watches, self.watches = self.watches, []  # a watch may hold the request, which holds this
        for watch in watches:
            try:
                watch(stats, completion, error)
            except Exception:
                logger.warning("on_request raised; the request is not affected.", exc_info=True)
