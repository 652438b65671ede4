"""The HTTP clients behind one `KimiVertexClient`: when they are made, shared, forgotten and closed."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from .errors import ConfigurationError

__all__ = ["Clients"]


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
                    f"{name} is a {type(value).__name__}; it must be an httpx.{kind.__name__}."
                )
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._client: httpx.Client | None = None
        self._finalizer: weakref.finalize[Any, Clients] | None = None
        self._by_loop: dict[
            asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]
        ] = {}

    def _options(self) -> dict[str, Any]:
        # A local server needs no proxy, and no certificates, whose loading takes longer than a local call.
        local: dict[str, Any] = {"trust_env": False, "verify": False} if self._loopback else {}
        # Waiting for a place in a pool looks like a stalled server; the number of streams is the caller's choice.
        return {"limits": httpx.Limits(max_connections=None, max_keepalive_connections=20), **local}

    def blocking(self) -> httpx.Client:
        """The client for blocking calls, shared by all threads."""
        if self._given is not None:
            return self._given
        with self._lock:
            self._forget_parent()
            if self._client is None:
                self._client = httpx.Client(**self._options())
                self._finalizer = weakref.finalize(self, self._client.close)
            return self._client

    async def on_loop(self) -> httpx.AsyncClient:
        """The client of the running event loop."""
        if self._given_async is not None:
            return self._given_async
        loop = asyncio.get_running_loop()
        with self._lock:
            self._forget_parent()
            known = self._by_loop.get(loop)
            if known is not None:
                return known[0]
            for other in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[other]
            client = httpx.AsyncClient(**self._options())
            keeper = _keep(client, weakref.ref(self), loop)
            self._by_loop[loop] = (client, keeper)
        await keeper.__anext__()
        return client

    def _forget_parent(self) -> None:
        """After a fork: connections belong to the parent, and must not even be closed here."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._client = None
            if self._finalizer is not None:
                self._finalizer.detach()
            self._by_loop.clear()

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._by_loop.pop(loop, None)

    def close(self) -> None:
        """Close the blocking client. A client that the user gave stays open."""
        with self._lock:
            client, self._client = self._client, None
            finalizer, self._finalizer = self._finalizer, None
        if client is not None and self._pid == os.getpid():
            if finalizer is not None:
                finalizer.detach()
            client.close()

    async def aclose(self) -> None:
        """Close the running loop's client, and the blocking one."""
        known = self._by_loop.get(asyncio.get_running_loop())
        if known is not None:
            await known[1].aclose()
        self.close()


async def _keep(
    client: httpx.AsyncClient, owner: weakref.ref[Clients], loop: asyncio.AbstractEventLoop
) -> AsyncGenerator[None, None]:
    """Hold a loop's client, and close it when the loop closes its asynchronous generators."""
    try:
        yield
    finally:
        clients = owner()
        if clients is not None:
            clients._drop(loop)  # noqa: SLF001  # same module, and the dictionary is nobody else's business
        await client.aclose()
