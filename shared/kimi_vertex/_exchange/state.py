"""What is known of one request: what was asked for, and what its attempts have come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._answer.reask import Rejected, correction
from kimi_vertex._request.body import Payload
from kimi_vertex._secrets import Hidden
from kimi_vertex._target.facts import TargetFacts
from kimi_vertex.completion import Accumulator, Completion
from kimi_vertex.errors import APIError, APIStatusError
from kimi_vertex.events import Event
from kimi_vertex.options import Pace, Settings, ThinkingCallback, Timeouts, Wait

from .caller import Caller
from .commands import Head
from .concessions import heed
from .failures import request_id
from .line import Waiter
from .pace import Pacer, Turn
from .stats import RequestStats, StatsRecorder, Watch

__all__ = ["WATCHERS", "Exchange"]

WATCHERS: Final[list[Callable[[Exchange], Sequence[Watch]]]] = []
"""Asked at the beginning of each request who wants to hear of its end, such as a tracer."""


@dataclass(slots=True, kw_only=True)
class Exchange(Caller):
    """One request and its answer. Target, payload and stream change where an attempt teaches better."""

    settings: Settings
    facts: TargetFacts
    payload: Payload
    write: Callable[[str | None], Payload]
    """Writes the payload for a model whose name was not known before."""
    stream: bool
    shows_events: bool
    """Whether the caller sees events as they come, so that what was shown cannot be taken back."""
    request_id: str
    """What is sent as `X-Request-Id`, so that the server's log can be searched."""
    timeouts: Timeouts
    random: Callable[[], float]
    on_request: Callable[[RequestStats], None] | None = None
    on_thinking: ThinkingCallback | None = None
    on_wait: Callable[[Wait], None] | None = None
    traced: bool = False
    """Whether another tracer makes the request's span."""
    on_end: Callable[[], None] | None = None
    """Called when the request is over."""
    pacer: Pacer | None = None
    """Whose turns the request takes; `None` if it is asked at once."""
    pace: Pace = field(default_factory=Pace)

    started: float = field(init=False)
    stats: StatsRecorder = field(init=False)
    decoder: Decoder | None = field(init=False, default=None)
    """Reads the answer of the current attempt."""
    retries: int = field(init=False, default=0)
    url: str | None = field(init=False, default=None)
    """What was last asked."""
    head: Head | None = field(init=False, default=None)
    """What it answered."""
    lookup_refused: int | None = field(init=False, default=None)
    """The status of the lookup of the endpoint's own host, if that failed."""
    waking_since: float | None = field(init=False, default=None)
    """When the endpoint was first found to be starting."""
    wakes: int = field(init=False, default=0)
    """How often it has been waited for."""
    retrying_since: float = field(init=False, default=0.0)
    """From when on `max_retry_seconds` is counted: not while the endpoint starts."""
    alone_since: float = field(init=False, default=0.0)
    """From when on a wait for a turn is counted: likewise."""
    turn: Turn | None = field(init=False, default=None)
    """The turn of the current attempt."""
    waiter: Waiter | None = field(init=False, default=None)
    """The place in the queue, once it has had to wait."""
    size: float = field(init=False, default=0.0)
    """About how long the prompt is."""
    refusal: APIStatusError | None = field(init=False, default=None)
    """How the target refused the request last, for want of room."""
    gave_up: bool = field(init=False, default=False)
    """Whether its turn did not come in time."""
    token: Hidden[str] | None = field(init=False, default=None)
    """The `authorization` header that was sent last, if a better one can be had."""
    refused_token: Hidden[str] | None = field(init=False, default=None)
    refreshed: bool = field(init=False, default=False)
    """Whether a refused token has been replaced."""
    found_empty: bool = field(init=False, default=False)
    """Whether a turn was empty."""
    shown: bool = field(init=False, default=False)
    """Whether the caller has seen any of the answer."""
    held_back: list[Event] = field(init=False, default_factory=list)
    """What an attempt that failed had not shown yet."""
    thought: Accumulator | None = field(init=False, default=None)
    """An empty turn's thinking that the caller has seen, where the request is made once more."""
    rejected: Rejected | None = field(init=False, default=None)
    """The answer that the model was asked to correct, which it is once."""

    def begin(self) -> None:
        """Start the clock."""
        self.started = self.retrying_since = self.alone_since = self.clock()
        self.stats = StatsRecorder(self.clock, self.on_request)
        for watcher in WATCHERS:
            self.stats.watches += watcher(self)
        self.payload = heed(self.payload, self.facts)

    def ask_for(self, model: str) -> None:
        """Write the request again for a model whose name was not known before."""
        self.payload = heed(self.write(model), self.facts)

    def sent(self) -> None:
        """The request is written."""
        if self.turn is not None:
            self.turn.sent = self.clock()

    @property
    def completion(self) -> Completion:
        """The answer as far as it has arrived."""
        return self.decoder.completion if self.decoder is not None else Completion()

    @property
    def attempt_id(self) -> str:
        """The id of the attempt: a server may refuse one that it still works on."""
        attempts = self.stats.attempts
        return self.request_id if attempts < 2 else f"{self.request_id}-{attempts}"

    @property
    def record(self) -> dict[str, dict[str, Any]]:
        """What a line of the log carries beside its words, as `logging`'s `extra`."""
        about = self._about()
        return {"kimi_vertex": {name: about[name] for name in ("client_request_id", "model", "target")}}

    def done(self, completion: Completion | None, error: Exception | None) -> None:
        """The request is over; `completion` may be partial."""
        if isinstance(error, APIError):
            error.client_request_id = self.attempt_id
            served = f", the service's {error.request_id}" if error.request_id else ""
            error.add_note(f"The request's id is {self.attempt_id}{served}.")
        self.stats.done(completion, error, self._about)

    def _about(self) -> dict[str, Any]:
        model, head, identity = self.payload.model, self.head, self.identity
        return {
            "model": model,
            "target": self.target.describe(),
            "streamed": self.stream,
            "status": head.status if head is not None else None,
            "client_request_id": self.request_id,
            "request_id": request_id(head.headers) if head is not None else None,
            "token_source": identity.source if identity is not None else None,
        }

    @property
    def model(self) -> str | None:
        """The model that is asked, if it has a name."""
        return self.payload.model

    def circumstances(self) -> dict[str, Any]:
        """How long the endpoint has been waited for, what serves the model, and how the endpoint's lookup ended."""
        return {
            "waited": self.clock() - self.waking_since if self.waking_since is not None else 0.0,
            "server": self.settings.server or self.target.server or self.facts.value("server"),
            "lookup_refused": self.lookup_refused,
        }

    def new_decoder(self) -> Decoder:
        """Make the decoder of the next attempt's answer."""
        payload = self.payload
        self.decoder = Decoder(
            tools=payload.tools,
            history=payload.history,
            implicit_thinking=payload.implicit_thinking,
            validation=self.settings.tool_validation,
            forced=payload.forced,
            rejected=self.rejected,
            texts=payload.texts(),
            recovers=self.settings.recover_calls and not payload.calls_nothing,
            split_by_usage=not payload.body.get("stop"),
            thought=self.thought,
        )
        return self.decoder

    def ask_again(self, rejected: Rejected) -> None:
        """Let the request go on with what is wrong with its answer."""
        self.payload = self.payload.continued(correction(rejected.answer))
        self.rejected = rejected
        self.shown = False  # nothing of the next answer
