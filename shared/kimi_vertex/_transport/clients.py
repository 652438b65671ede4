"""The HTTP clients behind one `KimiVertexClient`: when they are made, shared, forgotten and closed."""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
import sys
import threading
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from http.cookiejar import CookieJar
from typing import Any, Final, Generic, TypeVar

import httpx

from kimi_vertex._auth.imports import IMPORTING
from kimi_vertex.errors import ConfigurationError

from .limits import Guard
from .network import certificates, set_proxies

__all__ = ["Clients", "load_late"]

_REQUESTS_PER_POOL: Final = 10
"""httpcore's pool looks at all of its connections whenever a request begins or ends, and asks the system about each
idle one: in one pool, many requests cost the square of their number. Ten is where small pools stop being cheaper."""
_EMPTY_POOLS: Final = 5
_EMPTY_BLOCKING: Final = 50
# An agent is back from its tools within a minute; Google's front ends keep idle connections for longer.
_IDLE_SECONDS: Final = 60.0

# What httpx and httpcore would load in the middle of the first request; see `_auth.imports`.
_LATE: Final = ("certifi", "encodings.idna", "httpcore")
_LATE_ON_LOOPS: Final = (
    "anyio.streams.tls",
    "anyio.to_thread",
    "anyio.lowlevel",
    "anyio._backends._asyncio",
    "sniffio",
)

ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)


class _Pools(Generic[ClientT]):
    """As many clients as the requests that run at a time need, each with a pool of its own.

    The first one that has room is taken, so that the last ones run empty; of the empty ones, a few are kept.
    """

    def __init__(
        self, make: Callable[[], ClientT], *, requests: int = _REQUESTS_PER_POOL, empty: int = _EMPTY_POOLS
    ) -> None:
        self._make: Callable[[], ClientT] = make
        self._requests = requests
        self._empty = empty
        self._running: dict[ClientT, int] = {}
        self._open: list[ClientT] = []
        self.closed = False
        """Whether the loop that the clients belong to has closed them."""

    @property
    def clients(self) -> list[ClientT]:
        """All clients that are still to be closed."""
        return list(self._running)

    def borrow(self) -> ClientT:
        """A client for one more request."""
        for client in self._open:
            if self._running[client] < self._requests:
                self._running[client] += 1
                return client
        client = self._make()
        self._running[client] = 1
        self._open.append(client)
        return client

    def give_back(self, client: ClientT) -> ClientT | None:
        """A request is over. Returns a client that is not needed any more, to be closed."""
        if client not in self._running:
            return None
        self._running[client] -= 1
        if self._running[client]:
            return None
        if client in self._open:
            empty = [known for known in self._open if not self._running[known]]
            if len(empty) <= self._empty:
                return None
            client = empty[-1]
            self._open.remove(client)
        del self._running[client]
        return client

    def retire(self) -> list[ClientT]:
        """Lend none of the clients again. Returns those without a request, to be closed; `give_back` the others."""
        idle = [client for client in self._open if not self._running[client]]
        for client in idle:
            del self._running[client]
        self._open.clear()
        return idle


class _NoCookies(CookieJar):
    """Keeps no cookies: each answer could bring one, and all of them would be sent with every request."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep none."""


def _hide_location(response: httpx.Response) -> None:
    """Put an address to go to where httpx does not look: it reads it even to say that it does not go there.

    What it raises for an address that is no URL is not one of its own errors.
    """
    location = response.headers.pop("location", None)
    if location is not None:
        response.extensions["location"] = location


async def _ahide_location(response: httpx.Response) -> None:
    _hide_location(response)


def load_late(*, on_loop: bool = False) -> None:
    """Import what requests need, as far as it is there."""
    for name in _LATE_ON_LOOPS if on_loop else _LATE:
        if name not in sys.modules:
            with suppress(ImportError):
                importlib.import_module(name)


class Clients:
    """The HTTP clients of one `KimiVertexClient`: made when first needed, asynchronous ones for each loop.

    A loop's clients are closed with it (`asyncio.run` closes asynchronous generators, and one of them holds
    the clients), so the same object works across any number of loops, threads and forks.
    """

    def __init__(
        self,
        *,
        loopback: bool,
        tls: bool = False,
        given: tuple[httpx.Client | None, httpx.AsyncClient | None] = (None, None),
        ca_certs: str | None = None,
    ) -> None:
        """Start without any client.

        Args:
            loopback: Whether the server is on this machine, so that no proxy is needed.
            tls: Whether a certificate is to be checked; loading the authorities takes longer than a local request.

        Raises:
            ConfigurationError: One of them is something else.
        """
        self._loopback = loopback
        self._tls = tls
        self._ca_certs = ca_certs
        self._given, self._given_async = given
        for name, value, kind in (
            ("http_client", self._given, httpx.Client),
            ("http_async_client", self._given_async, httpx.AsyncClient),
        ):
            if value is not None and not isinstance(value, kind):
                package = type(value).__module__.partition(".")[0]
                raise ConfigurationError(
                    f"{name} is {package}.{type(value).__name__}; it must be an httpx.{kind.__name__}."
                    + (" httpx2 is another library, with classes of its own." if package == "httpx2" else "")
                )
        self._certificates: ssl.SSLContext | None = None
        self._begin()
        _INSTANCES.add(self)

    def _begin(self) -> None:
        # Reentrant: the garbage collector may end a forgotten stream, which gives its client back, in the middle.
        self._lock = threading.RLock()
        self._pools: _Pools[httpx.Client] | None = None
        self._connections: weakref.WeakKeyDictionary[httpx.Client, list[Any]] = weakref.WeakKeyDictionary()
        self._finalizer: weakref.finalize[Any, Clients] | None = None
        self.guard = Guard()
        """Ends blocking waits that last too long."""
        self._unguard = weakref.finalize(self, self.guard.close)
        self._by_loop: dict[
            asyncio.AbstractEventLoop, tuple[_Pools[httpx.AsyncClient], AsyncGenerator[None, None]]
        ] = {}

    def _options(self) -> dict[str, Any]:
        # Waiting for a place in a pool looks like a stalled server; the number of streams is the caller's choice.
        limits = httpx.Limits(
            max_connections=None,
            max_keepalive_connections=_REQUESTS_PER_POOL,
            keepalive_expiry=_IDLE_SECONDS,
        )
        options: dict[str, Any] = {"limits": limits, "cookies": _NoCookies()}
        if self._loopback:
            options["trust_env"] = False
        if not self._tls:
            return {**options, "verify": False}
        if self._certificates is None:
            self._certificates = certificates(self._ca_certs)
        return {**options, "verify": self._certificates}

    def connections(self, client: httpx.Client) -> list[Any]:
        """The streams, as httpcore has them, of a client that was borrowed; to be kept up by the borrower.

        A client of the user's may carry other requests: of those that it has already, none is known.
        """
        if client is self._given:
            return []
        return self._connections.setdefault(client, [])

    def borrow(self) -> httpx.Client:
        """A client for a blocking request, shared with other threads; to be given back.

        Raises:
            ConfigurationError: It is the user's, and closed.
        """
        if self._given is not None:
            return _open(self._given, "http_client")
        with self._lock:
            if self._pools is None:
                # One request each: its connection is then known before the head of the answer comes.
                self._pools = _Pools(
                    partial(
                        _make,
                        httpx.Client,
                        {**self._options(), "event_hooks": {"response": [_hide_location]}},
                    ),
                    requests=1,
                    empty=_EMPTY_BLOCKING,
                )
                self._finalizer = weakref.finalize(self, _close_all, self._pools)
            return self._pools.borrow()

    def give_back(self, client: httpx.Client) -> None:
        """A request is over."""
        with self._lock:
            unneeded = self._pools.give_back(client) if self._pools is not None else None
        if unneeded is not None:
            unneeded.close()

    async def aborrow(self) -> httpx.AsyncClient:
        """A client for a request on the running event loop; to be given back.

        Raises:
            ConfigurationError: It is the user's, and closed.
        """
        if self._given_async is not None:
            return _open(self._given_async, "http_async_client")
        loop = asyncio.get_running_loop()
        with self._lock:
            known = self._by_loop.get(loop)
            if known is not None and not known[0].closed:
                return known[0].borrow()
            for other in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[other]
            pools: _Pools[httpx.AsyncClient] = _Pools(
                partial(
                    _make,
                    httpx.AsyncClient,
                    {**self._options(), "event_hooks": {"response": [_ahide_location]}},
                )
            )
            keeper = _keep(pools)
            self._by_loop[loop] = (pools, keeper)
            client = pools.borrow()
        # Its first step makes the generator known to the loop.
        await anext(keeper)
        return client

    async def agive_back(self, client: httpx.AsyncClient) -> None:
        """A request is over."""
        with self._lock:
            known = self._by_loop.get(asyncio.get_running_loop())
            unneeded = known[0].give_back(client) if known is not None else None
        if unneeded is not None:
            await unneeded.aclose()

    def close(self) -> None:
        """Close the blocking clients, once the requests that use them are over. A client that the user gave stays open.

        Not under a running request: a thread that reads from a socket does not notice that another one closes it.
        """
        with self._lock:
            idle = self._pools.retire() if self._pools is not None else []
        for client in idle:
            client.close()
        self.guard.close()

    async def aclose(self) -> None:
        """Close the running loop's clients, and the blocking ones."""
        with self._lock:
            known = self._by_loop.pop(asyncio.get_running_loop(), None) if self._by_loop else None
        if known is not None:
            await known[1].aclose()
        self.close()

    def _after_fork(self) -> None:
        """Forget the parent's connections, and its locks, which a thread that is not here may have held.

        Only this process's copies of the sockets are closed; the parent's connections live on.
        """
        if self._finalizer is not None:
            self._finalizer.detach()
        self._unguard.detach()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self._begin()


_INSTANCES: Final[weakref.WeakSet[Clients]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for clients in list(_INSTANCES):
        clients._after_fork()  # noqa: SLF001  # this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _close_all(pools: _Pools[httpx.Client]) -> None:
    for client in pools.clients:
        client.close()


async def _keep(pools: _Pools[httpx.AsyncClient]) -> AsyncGenerator[None, None]:
    """Hold a loop's clients, and close them when the loop closes its asynchronous generators."""
    try:
        yield
    finally:
        pools.closed = True
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # the end of the process: a loop that nest_asyncio runs leaves its generators to that
        else:
            for client in pools.clients:
                await client.aclose()


def _make(kind: type[ClientT], options: dict[str, Any]) -> ClientT:
    try:
        with IMPORTING:  # OpenSSL takes locks of its own for a TLS context
            return kind(**options)
    except (ImportError, ValueError, TypeError, httpx.InvalidURL) as error:
        proxies = ", ".join(f"{name}={value!r}" for name, value in set_proxies())
        if not proxies:
            raise
        needs = "pip install 'httpx[socks]' for SOCKS" if isinstance(error, ImportError) else str(error)
        raise ConfigurationError(
            f"A proxy that the environment names cannot be used ({proxies}): {needs}. Correct or unset it."
        ) from None


def _open(client: ClientT, name: str) -> ClientT:
    if client.is_closed:
        raise ConfigurationError(f"{name} is closed. Give the KimiVertexClient one that is open.")
    return client
