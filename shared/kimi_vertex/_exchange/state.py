"""What a flow knows of its call, and what it has learned in the attempts so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kimi_vertex import _wire
from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._answer.reask import ReaskingDecoder, Rejected
from kimi_vertex._request.body import Payload, without_forced_choice
from kimi_vertex._target.target import Target
from kimi_vertex.completion import Completion
from kimi_vertex.errors import APIStatusError
from kimi_vertex.events import Event
from kimi_vertex.options import Settings, ThinkingCallback, Timeouts

from .commands import Head
from .failures import status_error
from .stats import RequestStats

__all__ = ["Call", "State", "Traits"]


@dataclass(slots=True)
class Traits:
    """What a client has learned about its server, shared by all of its calls."""

    refuses_forced_choice: bool = False
    dedicated_dns: dict[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """All that a flow needs to know."""

    target: Target
    settings: Settings
    traits: Traits
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
    decoder: Decoder | None = None
    """The decoder of the current attempt."""

    @property
    def completion(self) -> Completion:
        """The answer as far as it has arrived."""
        return self.decoder.completion if self.decoder is not None else Completion()


class State:
    """What changes from attempt to attempt."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.started = call.clock()
        self.retries = 0
        self.stream = call.stream
        self.target = call.target
        self.payload = call.payload
        self.rejected: str | None = None
        self.token: str | None = None
        self.refreshed = False
        self.found_empty = False
        self.shown = False
        self.rejected_answers = Rejected(call.settings.tool_validation_retries)
        self.held_back: list[Event] = []
        """What an attempt that failed had not shown yet."""
        if self.payload.forced_choice and call.traits.refuses_forced_choice:
            self.payload = without_forced_choice(self.payload)

    @property
    def place(self) -> str:
        """Where the request goes, for error texts."""
        return self.target.describe(self.payload.model)

    def new_decoder(self) -> Decoder:
        """A decoder for the next answer."""
        payload, validation = self.payload, self.call.settings.tool_validation
        if validation == "reask":
            return ReaskingDecoder(
                self.rejected_answers,
                tools=payload.tools,
                history=payload.history,
                implicit_thinking=payload.implicit_thinking,
            )
        return Decoder(
            tools=payload.tools,
            history=payload.history,
            implicit_thinking=payload.implicit_thinking,
            validation=validation,
        )

    def ask_again(self, decoder: Decoder) -> None:
        """The answer is not to be used: from here on the request goes on with its correction."""
        assert isinstance(decoder, ReaskingDecoder)
        self.payload = self.payload.continued(decoder.correction)
        self.rejected_answers = decoder.rejected()
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
            now=self.call.today(),
            partial=partial,
        )
