"""The HTTP clients behind one `KimiVertexClient`: when they are made, shared, forgotten and closed."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import warnings
import weakref
from collections.abc import AsyncGenerator
from typing import Any, Final, TypeVar

import httpx

from .errors import ConfigurationError

__all__ = ["Clients"]

_IDLE_CONNECTIONS: Final = 20
# An agent is back from its tools within a minute; Google's front ends keep idle connections for longer.
_IDLE_SECONDS: Final = 60.0

ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)


class Clients:
    """The HTTP clients of one `KimiVertexClient`: made when first needed, one asynchronous one for each loop.

    A loop's client is closed with its loop (`asyncio.run` closes asynchronous generators, and one of them holds
    the client), so the same object works across any number of loops, threads and forks.
    """

    def __init__(
        self, *, loopback: bool, given: tuple[httpx.Client | None, httpx.AsyncClient | None] = (None, None)
    ) -> None:
        """Start without any client.

        Args:
            loopback: Whether the server is on this machine.
            given: The user's own clients.

        Raises:
            ConfigurationError: One of them is something else.
        """
        self._loopback = loopback
        self._given, self._given_async = given
        for name, value, kind in (
            ("http_client", self._given, httpx.Client),
            ("http_async_client", self._given_async, httpx.AsyncClient),
        ):
            if value is not None and not isinstance(value, kind):
                raise ConfigurationError(
                    f"{name} is {type(value).__name__}; it must be an httpx.{kind.__name__}."
                )
        self._certificates: ssl.SSLContext | None = None
        self._begin()
        _INSTANCES.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._borrowers: dict[httpx.Client, int] = {}
        self._finalizer: weakref.finalize[Any, Clients] | None = None
        self._by_loop: dict[
            asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]
        ] = {}

    def _options(self) -> dict[str, Any]:
        # Waiting for a place in a pool looks like a stalled server; the number of streams is the caller's choice.
        limits = httpx.Limits(
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
        )
        if self._loopback:
            # A local server needs no proxy, and no certificates, whose loading takes longer than a local call.
            return {"limits": limits, "trust_env": False, "verify": False}
        if self._certificates is None:
            self._certificates = httpx.create_ssl_context()
        return {"limits": limits, "verify": self._certificates}

    def borrow(self) -> httpx.Client:
        """The client for blocking calls, shared by all threads; to be given back.

        Raises:
            ConfigurationError: It is the user's, and closed.
        """
        if self._given is not None:
            return _open(self._given, "http_client")
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(**self._options())
                self._finalizer = weakref.finalize(self, self._client.close)
            self._borrowers[self._client] = self._borrowers.get(self._client, 0) + 1
            return self._client

    def give_back(self, client: httpx.Client) -> None:
        """A call is over. The last one closes a client that `close` has retired."""
        with self._lock:
            if client not in self._borrowers:
                return
            self._borrowers[client] -= 1
            if self._borrowers[client]:
                return
            del self._borrowers[client]
            retired = client is not self._client
        if retired:
            client.close()

    async def on_loop(self) -> httpx.AsyncClient:
        """The client of the running event loop.

        Raises:
            ConfigurationError: It is the user's, and closed.
        """
        if self._given_async is not None:
            return _open(self._given_async, "http_async_client")
        loop = asyncio.get_running_loop()
        with self._lock:
            known = self._by_loop.get(loop)
            if known is not None and not known[0].is_closed:
                return known[0]
            for other in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[other]
            client = httpx.AsyncClient(**self._options())
            keeper = _keep(client)
            self._by_loop[loop] = (client, keeper)
        # Its first step makes the generator known to the loop.
        await anext(keeper)
        return client

    def close(self) -> None:
        """Close the blocking client, once the calls that use it are over. A client that the user gave stays open.

        Not under a running call: a thread that reads from a socket does not notice that another one closes it.
        """
        with self._lock:
            client, self._client = self._client, None
            if self._finalizer is not None:
                self._finalizer.detach()
            in_use = client in self._borrowers
        if client is not None and not in_use:
            client.close()

    async def aclose(self) -> None:
        """Close the running loop's client, and the blocking one."""
        with self._lock:
            known = self._by_loop.pop(asyncio.get_running_loop(), None)
        if known is not None:
            await known[1].aclose()
        self.close()

    def _after_fork(self) -> None:
        """Forget the parent's connections, and its locks, which a thread that is not here may have held.

        Only this process's copies of the sockets are closed; the parent's connections live on.
        """
        if self._finalizer is not None:
            self._finalizer.detach()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self._begin()


_INSTANCES: Final[weakref.WeakSet[Clients]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for clients in list(_INSTANCES):
        clients._after_fork()  # noqa: SLF001  # this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


async def _keep(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    """Hold a loop's client, and close it when the loop closes its asynchronous generators."""
    try:
        yield
    finally:
        await client.aclose()


def _open(client: ClientT, name: str) -> ClientT:
    if client.is_closed:
        raise ConfigurationError(f"{name} is closed. Give the KimiVertexClient one that is open.")
    return client
