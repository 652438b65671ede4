"""What a client does with its target beside asking the model: look around, share, close, copy, pickle."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from kimi_vertex._auth.credentials import CredentialSettings
from kimi_vertex._auth.imports import IMPORTING
from kimi_vertex._exchange.commands import Authorize, Flow, Steps
from kimi_vertex._exchange.inquiry import Inquiry
from kimi_vertex._settings import default_headers
from kimi_vertex._target.facts import Fact
from kimi_vertex._target.target import Target
from kimi_vertex.options import PaceState, Settings, Timeouts
from kimi_vertex.places import Login, Place

from .shared import Shared, share

if TYPE_CHECKING:
    from .clients import Clients
    from .drivers import SyncDriver

__all__ = ["TargetUser"]


class TargetUser:
    """The part of `KimiVertexClient` that knows no conversation."""

    _target: Target
    _model: str | None
    _settings: Settings
    _credentials: CredentialSettings | None
    _ca_certs: str | None
    _shared: Shared

    @property
    def project(self) -> str | None:
        """The project, as far as it is known without asking the credentials."""
        return self._target.project

    @property
    def location(self) -> str:
        """The location."""
        return self._target.location

    @property
    def facts(self) -> Mapping[str, Fact]:
        """What has been learned about the target so far, shared by all clients of its target and credentials."""
        return self._shared.facts

    @property
    def pace_state(self) -> PaceState:
        """How fast the target is asked for the client's model at the moment, by all clients of the process that share it."""
        return self._shared.pacer(self._model).state(time.monotonic())

    @property
    def _clients(self) -> Clients:
        return self._shared.clients(self)

    @property
    def place(self) -> Place:
        """Where requests go, as far as it is known without asking."""
        target = self._target
        if self._shared.facts.knows("dedicated_dns"):
            target = target.with_dedicated_dns(self._shared.facts.value("dedicated_dns"))
        known = not (target.needs_project or target.needs_discovery)
        url = target.url(stream=True) if known else None
        first = url or target.resource_url("")
        return Place(
            kind=target.kind,
            project=target.project,
            location=target.location,
            endpoint=target.resource_name,
            url=url,
            host=urlsplit(first).netloc,
            proxy=self._shared.proxy_of(first),
            emulator=target.emulator,
        )

    def get(self, path: str, **query: object) -> Any:
        """Get a resource of Vertex AI, as the client's account: `client.get("projects/P/locations/R/endpoints")`.

        Args:
            path: Its name; what stands behind `/v1/`, or behind `base_url`. The region in it decides which host is asked.
            **query: Parameters of the URL, such as `pageToken`.

        Returns:
            The JSON that came.

        Raises:
            CredentialsError: There are no usable credentials.
            APIError: The service refused, or the way to it failed.
        """
        inquiry = Inquiry(
            target=self._target,
            headers=default_headers(self._settings.defaults.get("extra_headers")),
            clock=time.monotonic,
            today=lambda: datetime.now(UTC),
            proxy_of=self._shared.proxy_of,
        )
        self._drive(inquiry.run(path, query))
        return inquiry.found

    def login(self) -> Login | None:
        """Say whose credentials the client uses, after a token was fetched; `None` if it sends none.

        Raises:
            CredentialsError: There are no usable credentials, or Google gave no token for them.
        """
        self._drive(_authorize())
        return None if self._shared.tokens is None else self._shared.tokens.login

    def _drive(self, flow: Flow) -> None:
        for _ in self._driver(self._settings.timeouts).run(flow):
            raise AssertionError("only answers have events")

    def _driver(self, timeouts: Timeouts) -> SyncDriver:
        with IMPORTING:
            from .drivers import SyncDriver  # noqa: PLC0415  # httpx is loaded by the first request

        return SyncDriver(self._clients, self._shared.tokens, timeouts)

    def close(self) -> None:
        """Close the connections of blocking requests, of running ones when they are over; the next one opens new ones.

        Clients of the same target and credentials share connections, which the last of them to close closes.
        """
        self._shared.release(self)

    async def aclose(self) -> None:
        """Close the running event loop's connections, under its requests, too; and those of blocking requests.

        As with `close`, not while other clients share them.
        """
        await self._shared.arelease(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._target.describe(self._model)}>"

    def __getstate__(self) -> dict[str, Any]:
        if self._credentials is not None:
            self._credentials.check_portable()
        return {name: value for name, value in self.__dict__.items() if name != "_shared"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shared = share(self._target, self._credentials, ca_certs=self._ca_certs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = copy.copy(self)
        memo[id(self)] = twin
        return twin

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


def _authorize() -> Steps[None]:
    yield Authorize()
