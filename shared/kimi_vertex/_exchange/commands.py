"""What a flow may ask of its driver, and what it is told. Values only."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from kimi_vertex.completion import Completion
from kimi_vertex.events import Event
from kimi_vertex.options import Timeouts

__all__ = [
    "Authorize",
    "Command",
    "Drain",
    "Flow",
    "Head",
    "Identity",
    "Intake",
    "ReadBody",
    "ReadStream",
    "Request",
    "Send",
    "Sleep",
    "Steps",
    "TransportFailure",
]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request to make."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Identity:
    """What the credentials contribute to a request."""

    headers: Mapping[str, str]
    project: str | None
    universe_domain: str
    can_refresh: bool
    """Whether a refused token may be replaced by a better one."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Authorize:
    """Give me an `Identity`."""

    rejected: str | None = None
    """The `authorization` header that the service has just refused."""
    project: bool = False
    """Whether the project is needed too."""


@dataclass(frozen=True, slots=True)
class Send:
    """Make the request; give me the `Head`. An earlier response is closed."""

    request: Request


@dataclass(frozen=True, slots=True)
class ReadBody:
    """Give me the bytes of the whole body, and be done with the response."""


class Intake(Protocol):
    """What reads server-sent events. A stream has tens of thousands, too many to ask the flow about each."""

    def finished(self) -> bool:
        """Whether it wants no more, whatever follows in the body."""
        ...

    def take(self, batch: list[str], *, last: bool = False) -> list[Event]:
        """Read the data of events that came together; return what is to be shown for them. Raises nothing.

        Args:
            batch: The data.
            last: It is what the body ended with, and may be half an event.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReadStream:
    """Give the body's server-sent events to the intake and show what it returns, until it is done or the body ends."""

    intake: Intake


@dataclass(frozen=True, slots=True)
class Drain:
    """Read the little that is left, so that the connection can be used again; be done with the response."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for so many seconds."""

    seconds: float


Command: TypeAlias = Authorize | Send | ReadBody | ReadStream | Drain | Sleep
T = TypeVar("T")
Steps: TypeAlias = Generator[Command | list[Event], Any, T]
Flow: TypeAlias = Steps[Completion]
"""Yields commands, whose outcome it is sent, and lists of events, for which it is sent `None`."""

FailureKind: TypeAlias = Literal["connect", "connect_timeout", "timeout", "broken", "oversized"]


class TransportFailure(Exception):
    """Thrown into the flow by its driver when I/O fails."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
