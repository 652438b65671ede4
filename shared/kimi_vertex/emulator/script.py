"""What a test tells the emulator to answer, and what the emulator tells a test it was asked.

Plain values; how they look on the wire is decided elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl

__all__ = ["Answer", "Call", "Part", "Raw", "Recorded", "Turn"]

Part: TypeAlias = bytes | float | Literal["reset", "cut", "end"]
"""One step of a raw answer.

`bytes` are sent as one HTTP chunk; a `float` is a pause in seconds; `"reset"` resets the TCP
connection; `"cut"` closes it without the final chunk; `"end"` finishes the body (implied).
"""

_COMMANDS = ("reset", "cut", "end")


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
    """Seconds between two events of the stream."""


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer in exact bytes: for faults, foreign dialects and recorded captures.

    Raises:
        ValueError: A part is a `str` that is no command.
    """

    parts: Sequence[Part]
    status: int | None = 200
    """`None` sends no head: the parts then act on the bare connection, which is closed at the end."""
    headers: Mapping[str, str] | None = None
    """Added to the default head, whose content type is an event stream for 200 and JSON otherwise."""

    def __post_init__(self) -> None:
        for part in self.parts:
            if isinstance(part, str) and part not in _COMMANDS:
                raise ValueError(f"Raw part {part!r} is no command; use bytes, seconds or one of {_COMMANDS}")


Answer: TypeAlias = Turn | Raw
"""What can be put in the emulator's queue."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    """Decoded path without the query."""
    query: str
    """Raw query string without the question mark; empty if there is none."""
    headers: Mapping[str, str]
    """Names in lower case; repeated headers are joined with a comma."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: The body is no JSON.
        """
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The body as a URL-encoded form; empty if it is something else."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace")))

    @property
    def bearer(self) -> str | None:
        """The bearer token of the `Authorization` header, `None` if there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None
