"""What the clients of a process share: tokens by credentials; connections and facts by target and credentials.

The registry holds everything weakly. What the last client leaves behind is gone, its connections included.
"""

from __future__ import annotations

import math
import os
import random
import sys
import threading
import weakref
from collections.abc import Hashable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kimi_vertex._auth.credentials import CredentialSettings
from kimi_vertex._auth.imports import IMPORTING
from kimi_vertex._auth.tokens import TokenSource
from kimi_vertex._exchange.pace import Pacer
from kimi_vertex._target.facts import TargetFacts
from kimi_vertex._target.target import Target

if TYPE_CHECKING:
    import httpx

    from .clients import Clients

__all__ = ["Shared", "share"]


class Shared:
    """One target as one set of credentials reaches it: connections, token source, and what was learned.

    Every `KimiVertexClient` holds one of these for life. It becomes a user when it first needs connections; they are
    closed when the last user closes, or is gone.
    """

    def __init__(
        self,
        target: Target,
        tokens: TokenSource | None,
        own: tuple[httpx.Client | None, httpx.AsyncClient | None] = (None, None),
        ca_certs: str | None = None,
    ) -> None:
        """Start without connections.

        Raises:
            ConfigurationError: One of them is not an HTTP client.
        """
        self.tokens = tokens
        self.facts = TargetFacts(target.describe(), lambda: datetime.now(UTC))
        self._pacers: dict[str | None, Pacer] = {}
        self._loopback = target.is_direct
        self._tls = target.has_certificate
        self._own = own
        self._ca_certs = ca_certs
        self._clients: Clients | None = None
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._has_own = any(client is not None for client in own)
        if self._has_own:
            self._make_clients()

    def pacer(self, model: str | None) -> Pacer:
        """The pace of a model: Vertex AI counts its quotas for each."""
        if model not in self._pacers:
            with _LOCK:
                pacer = self._pacers.setdefault(model, Pacer(threading.Lock(), random.random, _room()))
                _PACERS.add(pacer)
        return self._pacers[model]

    def proxy_of(self, url: str) -> str | None:
        """The proxy on the way to a URL, as far as it is known: the user's own clients have their own."""
        if self._loopback or self._has_own:
            return None
        from .network import proxy_of  # noqa: PLC0415  # for errors only

        return proxy_of(url)

    def clients(self, user: object) -> Clients:
        """The HTTP clients, for a user who is counted from now on."""
        self._users.add(user)
        return self._clients or self._make_clients()

    def _make_clients(self) -> Clients:
        with IMPORTING:
            from .clients import Clients, load_late  # noqa: PLC0415  # httpx is loaded by the first request

            load_late()

        with _LOCK:
            if self._clients is None:
                self._clients = Clients(
                    loopback=self._loopback, tls=self._tls, given=self._own, ca_certs=self._ca_certs
                )
            return self._clients

    def release(self, user: object) -> None:
        """A user closes: the connections of blocking requests are closed if no other user is left."""
        clients = self._released(user)
        if clients is not None:
            clients.close()

    async def arelease(self, user: object) -> None:
        """Like `release`, for the connections of the running event loop and those of blocking requests."""
        clients = self._released(user)
        if clients is not None:
            await clients.aclose()

    def _released(self, user: object) -> Clients | None:
        self._users.discard(user)
        return None if self._users else self._clients


_LOCK = threading.RLock()
# What connections depend on.
_NETWORK: Final = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"),
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"),
)
_PACERS: Final[weakref.WeakSet[Pacer]] = weakref.WeakSet()
_TOKENS: Final[weakref.WeakValueDictionary[Hashable, TokenSource]] = weakref.WeakValueDictionary()
_SHARED: Final[weakref.WeakValueDictionary[Hashable, Shared]] = weakref.WeakValueDictionary()


def share(
    target: Target,
    credentials: CredentialSettings | None,
    own: tuple[httpx.Client | None, httpx.AsyncClient | None] = (None, None),
    ca_certs: str | None = None,
) -> Shared:
    """What a new client shares with those that there are.

    Model and method do not tell targets apart. HTTP clients of the user's are not shared, nor is what is learned
    through them: they may lead anywhere.
    """
    # An object counts as itself; the source that is found by it keeps it alive, so that its id is not used again.
    identity = None if credentials is None else credentials.key
    with _LOCK:
        tokens = _TOKENS.get(identity) if credentials is not None else None
        if tokens is None and credentials is not None:
            tokens = _TOKENS[identity] = TokenSource(credentials)
        if any(client is not None for client in own):
            return Shared(target, tokens, own, ca_certs)
        network = tuple(map(os.environ.get, _NETWORK))
        key = (replace(target, model=None, api="chat"), identity, ca_certs, network)
        shared = _SHARED.get(key)
        if shared is None:
            shared = _SHARED[key] = Shared(target, tokens, ca_certs=ca_certs)
        return shared


def _room() -> float:
    """How many requests may run at a time, each of which has a connection: for three quarters of the files of a process."""
    if sys.platform == "win32":
        return math.inf
    import resource  # noqa: PLC0415  # not on Windows

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if most == resource.RLIM_INFINITY else max(1, most * 3 // 4)


def _after_fork_in_child() -> None:
    global _LOCK  # noqa: PLW0603  # a thread that is not here may have held it
    _LOCK = threading.RLock()
    for pacer in _PACERS:
        pacer.renew(threading.Lock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
