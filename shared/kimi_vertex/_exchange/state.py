"""What is known of one request: what was asked for, and what its attempts have come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kimi_vertex import _wire
from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._answer.reask import Rejected, correction
from kimi_vertex._request.body import Payload, without_fixed_sampling, without_forced_choice
from kimi_vertex._target.facts import TargetFacts
from kimi_vertex._target.target import Target
from kimi_vertex.completion import Accumulator, Completion
from kimi_vertex.errors import APIStatusError
from kimi_vertex.events import Event
from kimi_vertex.options import Settings, ThinkingCallback, Timeouts

from .commands import Head
from .failures import status_error
from .stats import RequestStats, StatsRecorder

__all__ = ["Exchange"]


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Target, payload and stream change where an attempt teaches better."""

    target: Target
    settings: Settings
    facts: TargetFacts
    payload: Payload
    stream: bool
    shows_events: bool
    """Whether the caller sees events as they come, so that what was shown cannot be taken back."""
    headers: Mapping[str, str]
    timeouts: Timeouts
    clock: Callable[[], float]
    today: Callable[[], datetime]
    random: Callable[[], float]
    on_request: Callable[[RequestStats], None] | None = None
    on_thinking: ThinkingCallback | None = None

    started: float = field(init=False)
    stats: StatsRecorder = field(init=False)
    decoder: Decoder | None = field(init=False, default=None)
    """Reads the answer of the current attempt."""
    retries: int = field(init=False, default=0)
    token: str | None = field(init=False, default=None)
    """The `authorization` header that was sent last, if a better one can be had."""
    refused_token: str | None = field(init=False, default=None)
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
        self.started = self.clock()
        self.stats = StatsRecorder(self.clock, self.on_request)
        model = self.payload.model
        if self.payload.forced_choice and self.facts.value("refuses_forced_choice", model=model):
            self.payload = without_forced_choice(self.payload)
        if self.facts.value("fixes_sampling", model=self.payload.model):
            self.payload = without_fixed_sampling(self.payload)
        field = self.facts.value("thinking_field", model=model)
        if field is not None:
            self.payload = self.payload.with_thinking_field(field)
        if self.facts.value("strips_markers", model=model):
            self.payload = self.payload.with_markers()
        if self.facts.value("loses_closing_tag", model=model):
            self.payload = self.payload.with_counts()

    @property
    def completion(self) -> Completion:
        """The answer as far as it has arrived."""
        return self.decoder.completion if self.decoder is not None else Completion()

    @property
    def place(self) -> str:
        """Where the request goes, for error texts."""
        return self.target.describe(self.payload.model)

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

    def status_error(
        self, head: Head, error: _wire.WireError, *, status: int, partial: Completion | None = None
    ) -> APIStatusError:
        """The error for what the service said."""
        return status_error(
            status,
            error,
            headers=head.headers,
            target=self.target,
            model=self.payload.model,
            now=self.today(),
            partial=partial,
        )
