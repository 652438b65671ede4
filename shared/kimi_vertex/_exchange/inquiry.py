"""A request for a resource instead of an answer: an endpoint, a list of endpoints, a server's models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from kimi_vertex.errors import APIResponseError, AuthenticationError

from .caller import Caller, authorize, read_json, refusal, send
from .commands import Flow, Identity, Request, Steps

__all__ = ["Inquiry"]


@dataclass(slots=True, kw_only=True)
class Inquiry(Caller):
    """One GET as the client's account, with the errors that requests to the model have."""

    found: Any = field(init=False, default=None)
    """The JSON that came."""

    def run(self, path: str, query: Mapping[str, object]) -> Flow:
        """The flow; a token that is refused is replaced once.

        Raises:
            KimiVertexError: As documented at `KimiVertexClient.get`.
        """
        identity = yield from authorize(self, None)
        try:
            self.found = yield from self._ask(path, query, identity)
        except AuthenticationError:
            if identity.token is None:
                raise
            identity = yield from authorize(self, identity.token)
            self.found = yield from self._ask(path, query, identity)

    def _ask(self, path: str, query: Mapping[str, object], identity: Identity) -> Steps[Any]:
        url = self.target.resource_url(quote(path.strip("/")), identity.universe_domain)
        if query:
            url += f"?{urlencode(query)}"
        headers = identity.added_to(self.headers, accept="application/json")
        head = yield from send(self, Request("GET", url, headers, None))
        if head.status != 200:
            raise (yield from refusal(self, head))
        try:
            return (yield from read_json(self))
        except ValueError:
            kind = head.headers.get("content-type", "no content type").partition(";")[0]
            raise APIResponseError(
                f"The answer cannot be read: it is not JSON but {kind}, perhaps a login or a proxy's. Check the address and "
                f"HTTPS_PROXY ({self.place})."
            ) from None
