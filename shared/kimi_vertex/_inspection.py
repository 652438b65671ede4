"""What a client can be asked beside the model: for looking around, and for finding out why something does not work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ._exchange.commands import Authorize, Flow, Steps
from ._exchange.inquiry import Inquiry
from ._target.facts import Fact
from ._target.target import Target
from .places import Login, Place

__all__ = ["Inspected"]


class Inspected:
    """The part of `KimiVertexClient` that commands such as `kimi-vertex doctor` use."""

    _target: Target

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
        """What has been learned about the target so far."""
        raise NotImplementedError

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
        inquiry = self._inquire()
        self._drive(inquiry.run(path, query))
        return inquiry.found

    def login(self) -> Login | None:
        """Say whose credentials the client uses, after a token was fetched; `None` if it sends none.

        Raises:
            CredentialsError: There are no usable credentials, or Google gave no token for them.
        """
        self._drive(_authorize())
        return self._who()

    @property
    def place(self) -> Place:
        """Where requests go, as far as it is known without asking."""
        target = self._target
        host = self.facts.get("dedicated_dns")
        if host is not None:
            target = target.with_dedicated_dns(host.value)
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
            proxy=self._inquire().proxy_of(first),
            emulator=target.emulator,
        )

    def _inquire(self) -> Inquiry:
        raise NotImplementedError

    def _drive(self, flow: Flow) -> None:
        raise NotImplementedError

    def _who(self) -> Login | None:
        raise NotImplementedError


def _authorize() -> Steps[None]:
    yield Authorize()
