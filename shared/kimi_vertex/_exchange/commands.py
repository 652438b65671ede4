"""What a flow may ask of its driver, and what it is told. Values only."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from kimi_vertex._secrets import Hidden
from kimi_vertex.events import Event

from .line import Waiter

__all__ = [
    "Authorize",
    "Command",
    "Drain",
    "Flow",
    "Head",
    "Identity",
    "ReadBody",
    "ReadChunk",
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
    headers: Hidden[Mapping[str, str]]
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Identity:
    """What the credentials contribute to a request."""

    headers: Hidden[Mapping[str, str]]
    project: str | None
    universe_domain: str
    can_refresh: bool
    """Whether a refused token may be replaced by a better one."""
    account: str | None = None
    """Whose credentials these are, as far as they know."""
    source: str | None = None
    """What kind of credentials, in words."""

    @property
    def token(self) -> Hidden[str] | None:
        """The `authorization` header, if a better one can be had."""
        if not (self.can_refresh and "authorization" in self.headers.reveal()):
            return None
        return Hidden(self.headers.reveal()["authorization"])

    def added_to(self, headers: Hidden[Mapping[str, str]], **more: str) -> Hidden[Mapping[str, str]]:
        """The headers of a request: others, this identity's, and further ones."""
        further = {name.replace("_", "-"): value for name, value in more.items()}
        return Hidden({**headers.reveal(), **self.headers.reveal(), **further})


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Authorize:
    """Give me an `Identity`. The first command of each attempt: the attempt's clock starts here."""

    rejected: Hidden[str] | None = None
    """The `authorization` header that the service has just refused."""
    project: bool = False
    """Whether the project is needed too."""


@dataclass(frozen=True, slots=True)
class Send:
    """Make the request; give me the `Head`. An earlier response is closed."""

    request: Request
    sent: Callable[[], None] | None = None
    """Called once the body is written, if the HTTP client lets that be seen."""


@dataclass(frozen=True, slots=True)
class ReadBody:
    """Give me the bytes of the whole body, and be done with the response."""

    of_error: bool = False
    """Whether the beginning is enough, or what comes in a moment: the body only explains a status."""


@dataclass(slots=True)
class ReadChunk:
    """Show the events, then give me `(data, ended)`: the data of the server-sent events that came together.

    If the body has ended, the data are what it ended with, and may be half an event. One object serves a whole
    stream, because a stream has tens of thousands of chunks.
    """

    show: list[Event] = field(default_factory=list)
    begun: bool = False
    """Whether the answer's first token has come."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Read the little that is left, so that the connection can be used again; be done with the response."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for so many seconds, or until the waiter is woken."""

    seconds: float
    waiter: Waiter | None = None


Command: TypeAlias = Authorize | Send | ReadBody | ReadChunk | Drain | Sleep
T = TypeVar("T")
Steps: TypeAlias = Generator[Command | list[Event], Any, T]
Flow: TypeAlias = Steps[None]
"""Yields commands, whose outcome it is sent, and lists of events to show, for which it is sent `None`."""

FailureKind: TypeAlias = Literal["connect", "connect_timeout", "proxy", "timeout", "broken", "unreadable"]


class TransportFailure(Exception):
    """Thrown into the flow by its driver when I/O fails."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
