"""What is known of every request to a target, one for an answer or one for a resource, and how each of its steps is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from kimi_vertex import _wire
from kimi_vertex._secrets import Hidden, masked
from kimi_vertex._target.target import Target
from kimi_vertex.completion import Completion
from kimi_vertex.errors import APIStatusError, APITimeoutError

from .commands import Authorize, Head, Identity, ReadBody, Request, Send, Steps, TransportFailure
from .failures import broken, status_error, unreachable
from .said import Said, read

__all__ = ["Caller", "authorize", "read_json", "refusal", "send"]


@dataclass(slots=True, kw_only=True)
class Caller:
    """Who asks where, and what the target said."""

    target: Target
    headers: Hidden[Mapping[str, str]]
    clock: Callable[[], float]
    today: Callable[[], datetime]
    proxy_of: Callable[[str], str | None] = lambda _: None
    """The proxy on the way to a URL, with the variable that names it."""

    identity: Identity | None = field(init=False, default=None)
    """Whose request it is, as of the last attempt."""
    attempted: float = field(init=False, default=0.0)
    """When the last attempt began."""
    said: Said | None = field(init=False, default=None)
    """What the service said in its last error."""

    @property
    def model(self) -> str | None:
        """The model that is asked, if any."""
        return None

    @property
    def place(self) -> str:
        """Where the request goes, for error texts."""
        return self.target.describe(self.model)

    def circumstances(self) -> dict[str, Any]:
        """Further fields of what the service said."""
        return {}

    def status_error(
        self, head: Head, error: _wire.WireError, *, status: int, partial: Completion | None = None
    ) -> APIStatusError:
        """The error for what the service said, which is kept in `said`."""
        identity = self.identity
        assert identity is not None, "nothing is sent before it is known"
        error = replace(
            error,
            message=self.masked(error.message),
            code=self.masked(error.code),
            body=self.masked(error.body),
        )
        self.said = replace(
            read(status, error, self.target, self.model),
            account=identity.account,
            token=bool(identity.headers),
            can_refresh=identity.can_refresh,
            seconds=self.clock() - self.attempted,
            **self.circumstances(),
        )
        return status_error(self.said, error, headers=head.headers, now=self.today(), partial=partial)

    def masked(self, said: Any) -> Any:
        """What a server said, without the secrets of the request, which it may repeat."""
        identity = self.identity
        return masked(said, (self.headers, *(() if identity is None else (identity.headers,))))


def authorize(caller: Caller, refused: Hidden[str] | None) -> Steps[Identity]:
    """Begin an attempt, perhaps after a token was refused: find out whose it is, and the project where only the
    credentials know it.
    """
    caller.attempted = caller.clock()
    try:
        identity: Identity = yield Authorize(refused, project=caller.target.needs_project)
    except TransportFailure as failure:
        raise APITimeoutError(
            f"Google gave no access token in time: try again, or check network and proxy. {failure} ({caller.place})."
        ) from None
    caller.identity = identity
    if caller.target.needs_project and identity.project:
        caller.target = caller.target.with_project(identity.project)
    return identity


def send(caller: Caller, request: Request, sent: Callable[[], None] | None = None) -> Steps[Head]:
    """Make a request; return the head of its answer, without secrets."""
    try:
        head: Head = yield Send(request, sent)
    except TransportFailure as failure:
        host, proxy = urlsplit(request.url).netloc, caller.proxy_of(request.url)
        raise unreachable(failure, caller.place, target=caller.target, host=host, proxy=proxy) from None
    return replace(head, headers=caller.masked(head.headers))


def refusal(caller: Caller, head: Head) -> Steps[APIStatusError]:
    """Read on to the error of a status; a body that breaks off does not hide the status."""
    try:
        body: bytes = yield ReadBody(of_error=True)
    except TransportFailure:
        body = b""
    text = caller.masked(body.decode("utf-8-sig", "replace"))
    return caller.status_error(head, _wire.error_from_body(text), status=head.status)


def read_json(caller: Caller) -> Steps[Any]:
    """Read a body of JSON.

    Raises:
        ValueError: It is something else.
    """
    try:
        return json.loads((yield ReadBody()))
    except TransportFailure as failure:
        raise broken(failure, caller.place, None) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
