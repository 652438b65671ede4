"""Tokens for requests: one source, shared by all threads and event loops, that never refreshes twice at once.

A token lives in google-auth's credentials object only: not in settings, logs, reprs, pickles or exceptions.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kimi_vertex._auth.imports import IMPORTING
from kimi_vertex._secrets import Hidden
from kimi_vertex._target.hosts import check_universe
from kimi_vertex._target.target import DEFAULT_UNIVERSE
from kimi_vertex.errors import CredentialsError, KimiVertexError
from kimi_vertex.places import Login

from .credentials import CredentialSettings

if TYPE_CHECKING:
    from .google import Loaded

__all__ = ["TokenSource"]

_LOG: Final = logging.getLogger("kimi_vertex.auth")
_UNIVERSE_VARIABLE: Final = "GOOGLE_CLOUD_UNIVERSE_DOMAIN"
_SHORTEST_WAIT: Final = 1.0
"""Seconds for which a token service may be silent, however little time a request has."""
_PAUSE_AFTER_FAILURE: Final = 30.0
"""Seconds between two early renewals of a token that still works, when the first one failed."""

_Flight: TypeAlias = "Future[KimiVertexError | None]"


class _SingleFlight:
    """Runs one piece of work at a time, in a thread; whoever asks meanwhile waits for the same outcome.

    The outcome is a value, not a raised exception, so that each waiter can raise its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flight: _Flight | None = None

    @property
    def busy(self) -> bool:
        return self._flight is not None

    def join(
        self, work: Callable[[], KimiVertexError | None], *, unless: Callable[[], bool]
    ) -> _Flight | None:
        """Return the work that is under way or that begins now; `None` if `unless` says it is not needed."""
        with self._lock:
            if self._flight is not None:
                return self._flight
            if unless():
                return None
            flight: _Flight = Future()
            # A running future cannot be cancelled: no waiter that gives up takes the others with it.
            flight.set_running_or_notify_cancel()
            thread = threading.Thread(
                target=self._run, args=(flight, work), name="kimi-vertex-auth", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                flight.set_result(CredentialsError("No token was fetched: the interpreter is shutting down."))
                return flight
            self._flight = flight
            return flight

    def _run(self, flight: _Flight, work: Callable[[], KimiVertexError | None]) -> None:
        outcome: KimiVertexError | None = CredentialsError(
            "The token refresh was interrupted.", is_retryable=True
        )
        try:
            outcome = work()
        finally:
            with self._lock:
                self._flight = None
            flight.set_result(outcome)


class TokenSource:
    """Authorization headers from Google credentials.

    Nothing is read, imported or fetched before the first token is asked for. A token that is about to
    expire (within 3:45 minutes) is still served while one refresh runs in the background; one that has
    expired makes callers wait for a single refresh. `refresh` and `apply` are used rather than
    `before_request`, which adds a lookup of the account's regions and blocking calls to the metadata server.
    """

    def __init__(self, settings: CredentialSettings) -> None:
        self.settings = settings
        self._loaded: Loaded | None = None
        self.project: str | None = None
        """The credentials' own project, known after `load()`; `None` if they have none."""
        self._universe: str | None = None
        self._quiet_until = 0.0
        self._reset_locks()
        _SOURCES.add(self)

    def _reset_locks(self) -> None:
        self._load_lock = threading.Lock()
        self._token_flight = _SingleFlight()
        self._project_flight = _SingleFlight()

    @property
    def can_refresh(self) -> bool:
        """Whether a refused token may be replaced: not if it is static."""
        return not self.settings.is_static

    @property
    def account(self) -> str | None:
        """Whose credentials these are, as far as they know without a request."""
        credentials = self._loaded.credentials if self._loaded is not None else None
        for name in ("service_account_email", "signer_email", "account"):
            found = getattr(credentials, name, None) if credentials is not None else None
            if isinstance(found, str) and "@" in found and found.isprintable():
                return found
        return None

    @property
    def login(self) -> Login:
        """Whose credentials these are, known after `headers()`."""
        settings, loaded = self.settings, self._loaded
        if loaded is None:
            return Login(settings.kind, settings.token_variable or "access_token")
        login: Login = _load_google().describe(loaded, settings, self.account)
        return login

    @property
    def universe_domain(self) -> str:
        """The credentials' universe, known after `load()` or `headers()`; before, `googleapis.com`.

        For a static token it is `GOOGLE_CLOUD_UNIVERSE_DOMAIN`, if that is set.
        """
        if self._universe is not None:
            return self._universe
        return (
            DEFAULT_UNIVERSE if self.can_refresh else os.environ.get(_UNIVERSE_VARIABLE) or DEFAULT_UNIVERSE
        )

    def headers(self, *, rejected: Hidden[str] | None = None, timeout: float | None = None) -> dict[str, str]:
        """Return fresh headers for one request, waiting for a token if there is none that works.

        Args:
            rejected: The `authorization` header that got a 401, to be replaced although it looks valid. If that has
                happened already, the new one is returned without another refresh.
            timeout: Seconds to wait; the shared refresh goes on, but not for long where the token service is silent.

        Raises:
            CredentialsError: If there are no credentials, or no token can be had for them.
            TimeoutError: The time is over.
        """
        if flight := self._needed(rejected, timeout):
            _raise(flight.result(timeout))
        return self._headers()

    async def aheaders(
        self, *, rejected: Hidden[str] | None = None, seconds: float | None = None
    ) -> dict[str, str]:
        """Like `headers`; nothing blocks the event loop, and cancelling does not stop the shared refresh.

        `seconds` bounds the refresh that may begin, not the wait.
        """
        if flight := self._needed(rejected, seconds):
            _raise(await asyncio.wrap_future(flight))
        return self._headers()

    def load(self, *, timeout: float | None = None) -> None:
        """Find the credentials, their project and their universe.

        No token is fetched, except for an external account, whose project only Google knows.

        Args:
            timeout: Seconds to wait; the shared search goes on.

        Raises:
            CredentialsError: If there are no credentials or they cannot be used.
            TimeoutError: The time is over.
        """
        if flight := self._project_needed():
            _raise(flight.result(timeout))

    async def aload(self) -> None:
        """Like `load`, without blocking the event loop."""
        if flight := self._project_needed():
            _raise(await asyncio.wrap_future(flight))

    def _needed(self, rejected: Hidden[str] | None, timeout: float | None) -> _Flight | None:
        """Return the refresh that the caller has to wait for; `None` if it may apply the token at once."""
        if not self.can_refresh:
            return None
        if rejected is not None:
            replace = partial(self._replace, timeout)
            return self._token_flight.join(replace, unless=lambda: self._is_replaced(rejected))
        state = self._state()
        if state == "FRESH":
            return None
        if state == "STALE":
            if time.monotonic() >= self._quiet_until and not self._token_flight.busy:
                self._token_flight.join(self._renew_early, unless=lambda: self._state() == "FRESH")
            return None
        return self._token_flight.join(
            partial(self._obtain, timeout), unless=lambda: self._state() != "INVALID"
        )

    def _state(self) -> str:
        if self._loaded is None:
            return "INVALID"
        credentials = self._loaded.credentials
        state: str = credentials.token_state.name
        if state == "INVALID" and credentials.token is None and credentials.valid:
            return "FRESH"  # anonymous credentials are valid without a token
        return state

    def _is_replaced(self, rejected: Hidden[str]) -> bool:
        return self._state() != "INVALID" and Hidden(self._headers().get("authorization", "")) != rejected

    def _headers(self) -> dict[str, str]:
        settings = self.settings
        headers: dict[str, str] = {}
        if settings.is_static:
            headers["authorization"] = f"Bearer {settings.token}"
        elif self._loaded is not None:
            self._loaded.credentials.apply(headers)
        return headers

    def _obtain(self, timeout: float | None) -> KimiVertexError | None:
        failure = self._attempt(lambda: self._refresh(timeout, always=False))
        if failure is not None and self.settings.is_reference:
            self._loaded = (
                None  # the next attempt sees it if the user has logged in again, or replaced the file
            )
        return failure

    def _replace(self, timeout: float | None) -> KimiVertexError | None:
        return self._attempt(lambda: self._refresh(timeout, always=True))

    def _renew_early(self) -> KimiVertexError | None:
        failure = self._attempt(lambda: self._refresh(None, always=True))
        if failure is not None:
            self._quiet_until = time.monotonic() + _PAUSE_AFTER_FAILURE
            _LOG.warning(
                "The access token was not renewed early; it is used until it expires. %s", failure.message
            )
        return failure

    def _attempt(self, work: Callable[[], None]) -> KimiVertexError | None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - google-auth and its plug-ins raise what they like
            _google = _load_google()

            failure: KimiVertexError = _google.explain(error, self.settings)
            return failure
        return None

    def _refresh(self, timeout: float | None, *, always: bool) -> None:
        _google = _load_google()

        # All who ask meanwhile wait for this, so that it neither outlasts the limits of the request that it began with by
        # much, nor is cut too short for the others.
        longest = _google.LONGEST_WAIT
        seconds = longest if timeout is None else min(max(timeout, _SHORTEST_WAIT), longest)
        with _google.open_transport(self.settings.ca_certs, seconds) as request:
            credentials = self._load().credentials
            if always or self._state() != "FRESH":
                credentials.refresh(request)
                if credentials.token is None and not credentials.valid:
                    raise CredentialsError(f"Google's answer held no access token for {self.settings.kind}.")
                _LOG.debug(
                    "access token renewed (%s), expires %s UTC", self.settings.kind, credentials.expiry
                )

    def _load(self) -> Loaded:
        """Load credentials once. Runs in a flight's thread only: it may block."""
        _google = _load_google()

        with self._load_lock:
            loaded = self._loaded
            if loaded is None:
                loaded = _google.load(self.settings)
                # On Compute Engine this asks the metadata server. A name that is none would lead tokens elsewhere.
                universe = str(loaded.credentials.universe_domain)
                self._universe = check_universe(universe, "the credentials' universe_domain")
                self._loaded = loaded
            return loaded

    def _project_needed(self) -> _Flight | None:
        if not self.can_refresh or self.project is not None:
            return None
        return self._project_flight.join(
            lambda: self._attempt(self._find_project), unless=lambda: self.project is not None
        )

    def _find_project(self) -> None:
        _google = _load_google()

        loaded = self._load()
        if loaded.project is None and callable(getattr(loaded.credentials, "get_project_id", None)):
            self.headers()  # the shared refresh; the lookup would otherwise start one of its own
        with _google.open_transport(self.settings.ca_certs) as request:
            self.project = _google.find_project(loaded, request)

    def _after_fork(self) -> None:
        """Forget the parent's threads and locks: the child has none of the former, and maybe held latter."""
        interrupted = self._token_flight.busy or self._project_flight.busy
        if interrupted and not callable(getattr(self.settings.credentials, "refresh", None)):
            self._loaded = None
        self._reset_locks()

    def __repr__(self) -> str:
        return f"TokenSource({self.settings.kind})"


def _load_google() -> Any:
    """google-auth, which is loaded at the first token."""
    with IMPORTING:
        from . import google  # noqa: PLC0415  # see above
    return google


def _raise(failure: KimiVertexError | None) -> None:
    """Raise a copy, since several callers raise the same failure, each with a traceback of its own."""
    if failure is not None:
        raise copy.copy(failure)


_SOURCES: Final[weakref.WeakSet[TokenSource]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for source in list(_SOURCES):
        source._after_fork()  # noqa: SLF001 - this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
