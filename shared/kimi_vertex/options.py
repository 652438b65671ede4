"""The options of a request, and the settings of a client. Values only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, runtime_checkable

from .models import Effort, Server

__all__ = [
    "Pace",
    "PaceState",
    "RequestOptions",
    "Settings",
    "ThinkingCallback",
    "Timeouts",
    "ToolChoice",
    "Wait",
    "WaitCallback",
]

ToolChoice: TypeAlias = str | bool | Mapping[str, Any] | None
"""`"auto"`, `"none"`, `"required"` (also `"any"` and `True`), a tool's name, or a dict in OpenAI's form or
Anthropic's, whose `disable_parallel_tool_use` counts as `parallel_tool_calls=False`."""
ThinkingCallback: TypeAlias = Callable[[str], Any]
"""A function, or a coroutine function, that takes the next piece of thinking."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits of your own for the requests of a process to one model of a target, beside what its answers teach."""

    max_concurrency: int | None = None
    """Requests that run at a time."""
    requests_per_minute: float | None = None
    """Requests that begin in a minute, spread evenly."""
    tokens_per_minute: float | None = None
    """Prompt tokens in a minute, as `estimate_tokens` counts them."""
    max_wait: float | None = None
    """Seconds that a request may wait for its turns, all in all, and for a target that cannot be connected to. Default: for its
    turns as long as the target answers others, and `max_retry_seconds` once it answers nothing; a connection that fails is a
    retry."""


@dataclass(frozen=True, slots=True)
class PaceState:
    """How fast a target is asked at the moment, by all clients of a process that share it."""

    per_second: float | None
    """Requests that may begin in a second; `None` while that is not limited."""
    limit: int | None
    """Requests that may run at a time; `None` while that is not limited."""
    running: int
    """Requests that are being answered."""
    waiting: int
    """Requests that wait for their turn."""
    refused: int
    """How often the target has refused a request."""
    closed_for: float | None
    """For how many seconds nothing but single probes has been let through; `None` if that is not so."""


@dataclass(frozen=True, slots=True)
class Wait:
    """News of a wait that is under way, handed to `on_wait` when it begins and every few seconds."""

    reason: Literal["waking", "retry", "pace"]
    """`waking`: the endpoint has no replica yet. `retry`: the service failed or could not be reached. `pace`: it takes no
    more for now, and the request waits for its turn."""
    seconds: float
    """How long has been waited, all in all."""
    next_attempt: float
    """In how many seconds the endpoint is asked again, at the earliest."""
    left: float
    """Until the wait is given up, in seconds; infinite while the service answers other requests."""
    attempts: int
    """How often has been asked."""
    error: str
    """What the last attempt came to."""

    def __str__(self) -> str:
        """The news as one line."""
        what = {
            "waking": "The endpoint is starting",
            "retry": "The service is not available",
            "pace": "The service takes no more for now",
        }[self.reason]
        left = f" ({self.left:.0f} s left)" if self.left < math.inf else ""
        return f"{what}: waited {self.seconds:.0f} s, asking again in {self.next_attempt:.0f} s{left}."


WaitCallback: TypeAlias = Callable[[Wait], Any]
"""A function, or a coroutine function, that takes news of a wait."""


@runtime_checkable
class HTTPTimeout(Protocol):
    """The timeout of an HTTP library, such as `httpx.Timeout`."""

    @property
    def connect(self) -> float | None:
        """Seconds to connect."""
        ...

    @property
    def read(self) -> float | None:
        """Seconds between two pieces."""
        ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds; `None` waits forever. What is late is an `APITimeoutError`."""

    connect: float | None = 10.0
    """To get a place in the connection pool, and for each step of connecting. Counted by the HTTP library."""
    first_byte: float | None = 600.0
    """From the start of an attempt to the head of the response, the token's fetch and the upload included. Without
    streaming the head comes after all of the thinking and answering."""
    idle: float | None = 300.0
    """Between two lines of a stream, or two pieces of a whole answer. Kimi can be silent for minutes. A keep-alive
    comment is a line and shows that the server lives; a few bytes without a line's end do not."""
    first_token: float | None = None
    """From the start of an attempt to the first thinking, text or tool call of a stream, also if it is held back."""
    total: float | None = None
    """From the start of the request to the end of the answer, with all attempts and the time that the reader of a
    stream takes between two events."""

    @classmethod
    def of(cls, timeout: Any) -> Any:
        """An `httpx.Timeout` as `Timeouts`: `read` is for the head of the answer and between two pieces.

        Anything else is returned as it is.
        """
        if isinstance(timeout, HTTPTimeout):
            return cls(connect=timeout.connect, first_byte=timeout.read, idle=timeout.read)
        return timeout


class RequestOptions(TypedDict, total=False):
    """The options of one request; each overrides the client's setting of the same name.

    What is set in neither place is not sent, so that the server's own default holds.
    """

    model: str
    """The model's name, where the server has several."""
    temperature: float | None
    """Between 0 and 2."""
    top_p: float | None
    """Nucleus sampling: the share of probability that is drawn from."""
    max_tokens: int | None
    """The limit, in tokens, for thinking and answer together."""
    max_completion_tokens: int | None
    """OpenAI's newer name of `max_tokens`."""
    stop: str | Sequence[str] | None
    """Texts that end the answer."""
    tools: Sequence[Mapping[str, Any]] | None
    """Tools in OpenAI's form: `{"type": "function", "function": {"name", "description", "parameters"}}`."""
    tool_choice: ToolChoice
    """`"auto"`, `"none"`, `"required"` (also `"any"`, `True`), a tool's name, or OpenAI's or Anthropic's dict."""
    parallel_tool_calls: bool | None
    """Whether one turn may call several tools."""
    response_format: Mapping[str, Any] | None
    """What the answer has to be, in OpenAI's form: `{"type": "json_schema", "json_schema": {...}}`."""
    seed: int | None
    """Makes answers repeatable, as far as the server can."""
    chat_template_kwargs: Mapping[str, Any] | None
    """For vLLM and SGLang, such as `{"thinking": False}`."""
    reasoning_effort: Effort | None
    """How much the model thinks, in the words of its server; refused if the model does not have the level."""
    thinking: Mapping[str, Any] | None
    """For Moonshot's own dialect: `{"type": "enabled" | "disabled", "keep": "all"}`."""
    frequency_penalty: float | None
    """This and the next seven are fields of `extra_body`, which can stand here, too."""
    presence_penalty: float | None
    repetition_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    top_k: int | None
    min_p: float | None
    n: int | None
    """How many answers there are; refused if that is not 1."""
    stream_options: Mapping[str, Any] | None
    """Usage is asked for whether or not it says so."""
    extra_body: Mapping[str, Any] | None
    """Any further fields of the request's body; they win over everything else."""
    extra_headers: Mapping[str, str] | None
    """Further headers of the request, beside the client's."""
    timeout: float | Timeouts | HTTPTimeout | None
    """Seconds to the head of the answer and between two pieces of it, or `Timeouts`, or an `httpx.Timeout`."""
    on_thinking: ThinkingCallback | None
    """Told each piece of thinking as it arrives; makes `complete` stream from the service."""
    traced: bool | None
    """`True`: another tracer makes the span of this request, so that `kimi_vertex.otel` makes none."""


ReplayThinking: TypeAlias = Literal["all", "tools", "none"]
EmptyTurnPolicy: TypeAlias = Literal["flag", "retry", "raise", "promote"]
ToolValidation: TypeAlias = Literal["off", "flag", "repair", "reask"]


@dataclass(frozen=True, slots=True)
class Settings:
    """A client's settings that shape requests and answers. Documented at `KimiVertexClient`."""

    defaults: RequestOptions = field(default_factory=RequestOptions)
    replay_thinking: ReplayThinking = "all"
    empty_turn: EmptyTurnPolicy = "flag"
    implicit_thinking: bool | None = None
    server: Server | None = None
    recover_calls: bool = True
    break_tokens: bool = True
    tool_validation: ToolValidation = "reask"
    max_retries: int = 2
    max_retry_seconds: float = 120.0
    wake_timeout: float | None = None
    pace: Pace | None = field(default_factory=Pace)
    timeouts: Timeouts = field(default_factory=Timeouts)
