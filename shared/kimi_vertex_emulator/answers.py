"""What a test tells the emulator to answer: plain values. Other modules decide how they look on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

__all__ = [
    "CHUNKINGS",
    "DIALECTS",
    "FAULTS",
    "Answer",
    "Call",
    "Chunking",
    "Dialect",
    "Fault",
    "Part",
    "Raw",
    "Turn",
]

Part: TypeAlias = bytes | float | Literal["reset", "cut"]
"""One step of a raw answer: an HTTP chunk, a pause in seconds, a reset of the TCP connection, or its end without the
final chunk."""

COMMANDS: Final = ("reset", "cut")

Dialect: TypeAlias = Literal[
    "vertex",  # the managed service, SGLang with Google's additions: thinking in `reasoning_content`
    "vllm-old",  # vLLM up to 0.15: thinking in `reasoning_content`, ids `chatcmpl-tool-...`
    "vllm-new",  # vLLM from 0.16 on: thinking in `reasoning`
    "vllm-no-parser",  # vLLM without a reasoning parser: `<think>...</think>` inside the content
    "close-tag-only",  # Kimi K2.5 without a reasoning parser: thinking, a lone `</think>`, the answer
    "sglang-no-tool-parser",  # SGLang without a tool parser: calls as Kimi's own tokens inside the content
    "sglang-no-parser",  # SGLang without either parser: tags and Kimi's own tokens inside the content
    "calls-in-thinking",  # a model that forgot to end its thinking: calls as Kimi's own tokens behind it
    "llama.cpp",  # random ids, timings, usage in a chunk of its own if asked for
    "moonshot",  # Moonshot's own API: usage inside the choice, ids `NAME:N`
    "gateway",  # a gateway such as OpenRouter: comments, thinking twice, two finish chunks
    "moonshot-k3",  # Kimi K3 on Moonshot's API: each call comes whole, with the id `NAME:N`
    "vllm-k3",  # Kimi K3 on vLLM with its parsers: each call comes whole, with a random id
    "vllm-k3-rust",  # Kimi K3 on vLLM's front end in Rust: calls in pieces, and one that the limit cuts looks whole
    "sglang-k3",  # Kimi K3 on SGLang with its parsers: each call comes whole, with the id `NAME:N`
    "raw-k3",  # Kimi K3 on a server without parsers: the whole turn as K3's markup inside the content
]
"""Which server's spelling an answer has."""

DIALECTS: Final[tuple[Dialect, ...]] = get_args(Dialect)
"""Every dialect."""

Chunking: TypeAlias = Literal[
    "default",  # a word or so each, always the same way
    "whole",  # one delta for each field
    "token",  # about four characters each, as tokens are
    "character",  # one character each: tags and Kimi's tokens are cut too
    "random",  # pieces of 1 to 12 characters, drawn from the emulator's seed
]
"""How the text of a streamed turn is cut into deltas."""

CHUNKINGS: Final[tuple[Chunking, ...]] = get_args(Chunking)
"""Every way of cutting."""

FAULTS: Final[tuple[str, ...]] = (
    # Before the head: a TCP RST, a clean end, what is not HTTP, silence.
    *("reset", "close", "garbage", "stall"),
    # A status in Google's shape, or in the token endpoint's; 413 and 502 are pages of HTML.
    *("400", "401", "403", "404", "408", "413", "429", "500", "502", "503", "504"),
    # A useless 200: silence after its head, no body, a page of HTML, an error object.
    *("stall-head", "empty-body", "wrong-content-type", "bad-gzip", "error-200"),
    # After a part of the answer. `no-finish` ends cleanly without finish reason, `half-event` inside an event.
    *("reset-mid", "cut-mid", "stall-mid", "no-finish", "half-event", "malformed-json"),
    # The same with an error in an event: an object, one in a list, one in vLLM's shape.
    *("error-event", "error-event-list", "error-event-flat"),
    # Whole but odd: comments first, a comment of 2 MB, a null finish reason, a connection that stays open for a while.
    *("keep-alive", "oversized-line", "plain-text", "no-reason", "no-done", "open-end"),
)
"""Every kind of fault."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of a scripted turn."""

    name: str
    """The tool's name."""
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    """An object, or text that is sent as it is, valid JSON or not."""
    id: str | None = None
    """Default: `functions.NAME:N` with N counted over the conversation, as Kimi does."""

    @property
    def arguments_text(self) -> str:
        """The arguments as the JSON text that goes over the wire."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(dict(self.arguments), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the model, sent as a stream or as one body, as the request asks.

    A `str` is cut into several deltas, the same way every time; a sequence gives exactly its
    elements as deltas. Scripted turns are sent in full, whatever `max_tokens` and `stop` say.

    Raises:
        ValueError: A dialect or a way of cutting is unknown, or a number is negative.
    """

    thinking: str | Sequence[str] | None = None
    """`None`: the turn has no thinking; `""`: the model says that it thought nothing."""
    text: str | Sequence[str] | None = None
    tool_calls: Sequence[Call] = ()
    finish_reason: str | None = None
    """Default: `tool_calls` where there are calls, else `stop`."""
    usage: Mapping[str, Any] | None = None
    """Default: estimated counts in the shape that Vertex reports."""
    pause: float = 0.0
    """Seconds between two events of the stream; 0: the emulator's `pace`."""
    delay: float = 0.0
    """Seconds before the answer begins, streamed or whole."""
    dialect: Dialect | None = None
    """Default: what the emulator speaks on the request's route."""
    chunking: Chunking | None = None
    """How a `str` is cut into deltas; a sequence stays as it is. Default: the emulator's setting."""

    def __post_init__(self) -> None:
        not_negative(pause=self.pause, delay=self.delay)
        if self.dialect is not None:
            known(self.dialect, DIALECTS, "dialect")
        if self.chunking is not None:
            known(self.chunking, CHUNKINGS, "chunking")


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer in exact bytes: for faults, foreign dialects and recorded captures.

    Raises:
        ValueError: A part is a `str` other than the two commands, or a negative pause.
    """

    parts: Sequence[Part]
    status: int | None = 200
    """`None` sends no head: the parts then act on the bare connection, which is closed at the end."""
    headers: Mapping[str, str] | None = None
    """Added to the default head, whose content type is an event stream for 200 and JSON otherwise."""

    def __post_init__(self) -> None:
        for part in self.parts:
            if isinstance(part, str) and part not in COMMANDS:
                raise ValueError(
                    f"Raw part {part!r} is not a command; use bytes, seconds or one of {COMMANDS}"
                )
            if isinstance(part, int | float):
                not_negative(pause=part)


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that fails.

    Raises:
        ValueError: The kind is unknown, or a number is negative.
    """

    kind: str
    """One of `FAULTS`."""
    after: int = 3
    """How many events of a stream come before a fault in the middle. Of a whole body, half comes."""
    seconds: float = 30.0
    """How long a stall and an `open-end` are silent, and how long `keep-alive` comments take."""
    retry_after: str | None = None
    """The `Retry-After` header of an HTTP status: seconds or an HTTP date. Default: no such header."""
    turn: Turn | None = None
    """The answer that a fault in the middle breaks. Default: the brain's."""

    def __post_init__(self) -> None:
        known(self.kind, FAULTS, "fault")
        not_negative(after=self.after, seconds=self.seconds)


Answer: TypeAlias = Turn | Raw | Fault
"""What can be put in the emulator's queue or in a script."""


def known(value: object, names: Sequence[str], what: str) -> None:
    """Refuses a name that is not in the list.

    Raises:
        ValueError: It is not.
    """
    if value not in names:
        raise ValueError(f"{what} {value!r} is unknown; it must be one of {', '.join(names)}")


def not_negative(**values: float) -> None:
    """Refuses a negative number.

    Raises:
        ValueError: One is; the text names it.
    """
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name} {value} is negative; it must be 0 or more")
