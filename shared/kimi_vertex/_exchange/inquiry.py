"""A request for a resource instead of an answer: an endpoint, a list of endpoints, a server's models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from kimi_vertex import _wire
from kimi_vertex._secrets import Hidden, masked
from kimi_vertex._target.target import Target
from kimi_vertex.errors import APIResponseError, APIStatusError, APITimeoutError

from .commands import Authorize, Flow, Head, Identity, ReadBody, Request, Send, Steps, TransportFailure
from .failures import broken, status_error, unreachable
from .said import read

__all__ = ["Inquiry"]


@dataclass(slots=True)
class Inquiry:
    """One GET as the client's account, with the errors that requests to the model have."""

    target: Target
    headers: Hidden[Mapping[str, str]]
    clock: Callable[[], float]
    today: Callable[[], datetime]
    proxy_of: Callable[[str], str | None]
    found: Any = field(init=False, default=None)
    """The JSON that came."""

    def run(self, path: str, query: Mapping[str, object]) -> Flow:
        """The flow; a token that is refused is replaced once.

        Raises:
            KimiVertexError: As documented at `KimiVertexClient.get`.
        """
        refused: Hidden[str] | None = None
        while True:
            identity = yield from self._authorize(refused)
            try:
                self.found = yield from self._ask(path, query, identity)
            except APIStatusError as error:
                if error.status_code != 401 or refused is not None or identity.token is None:
                    raise
                refused = identity.token
            else:
                return

    def _authorize(self, refused: Hidden[str] | None) -> Steps[Identity]:
        try:
            identity: Identity = yield Authorize(refused, project=self.target.needs_project)
        except TransportFailure as failure:
            raise APITimeoutError(
                f"Google gave no access token in time: try again, or check network and proxy. {failure}."
            ) from None
        if self.target.needs_project and identity.project:
            self.target = self.target.with_project(identity.project)
        return identity

    def _ask(self, path: str, query: Mapping[str, object], identity: Identity) -> Steps[Any]:
        place, began = self.target.describe(), self.clock()
        url = self.target.resource_url(quote(path.strip("/")), identity.universe_domain)
        if query:
            url += f"?{urlencode(query)}"
        headers = identity.added_to(self.headers, accept="application/json")
        try:
            head: Head = yield Send(Request("GET", url, headers, None))
        except TransportFailure as failure:
            host = urlsplit(url).netloc
            raise unreachable(
                failure, place, target=self.target, host=host, proxy=self.proxy_of(url)
            ) from None
        try:
            body: bytes = yield ReadBody(of_error=head.status != 200)
        except TransportFailure as failure:
            if head.status == 200:
                raise broken(failure, place, None) from None
            body = b""
        text = body.decode("utf-8-sig", "replace")
        if head.status != 200:
            error = _wire.error_from_body(masked(text, (headers,)))
            head = replace(head, headers=masked(head.headers, (headers,)))
            said = replace(
                read(head.status, error, self.target, None),
                account=identity.account,
                token=bool(identity.headers),
                can_refresh=identity.can_refresh,
                seconds=self.clock() - began,
            )
            raise status_error(said, error, headers=head.headers, now=self.today())
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            kind = head.headers.get("content-type", "no content type").partition(";")[0]
            raise APIResponseError(
                f"The answer cannot be read: it is not JSON but {kind}, perhaps a login or a proxy's. Check the address and "
                f"HTTPS_PROXY ({place})."
            ) from None
