"""Where requests go: one checked `Target`, and from it the URLs. `resolve` builds it from settings.

No I/O, no credentials.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from kimi_vertex.errors import ConfigurationError
from kimi_vertex.models import Server

from .environment import EMULATOR_VARIABLE, PROJECT_VARIABLE
from .hosts import check_universe, parse_discovered_host
from .names import check_location, check_managed_model, check_project

__all__ = ["DEFAULT_UNIVERSE", "MANAGED_PATH", "Api", "Route", "Target"]

Api: TypeAlias = Literal["auto", "chat", "invoke", "rawPredict", "predict"]
Route: TypeAlias = tuple[Literal["chat", "invoke", "rawPredict", "predict"], Literal["v1", "v1beta1"]]
"""A method and the version of the API that has it."""

DEFAULT_UNIVERSE: Final = "googleapis.com"

_LOCATION: Final = re.compile(r"(?:^|/)locations/([^/]+)")
MANAGED_PATH: Final = "/endpoints/openapi"

# The documentation says "10 MB" and "1.5 MB". Read as binary units, so that nothing is refused
# here that the service might take; what lies between is the service's to refuse.
# https://cloud.google.com/vertex-ai/docs/predictions/choose-endpoint-type
_DEDICATED_LIMIT: Final = 10 * 1024 * 1024
_SHARED_LIMIT: Final = 1536 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """One place that answers chat completions. Build it with `resolve.resolve_target`."""

    kind: Literal["managed", "endpoint", "base_url"]
    project: str | None
    location: str
    endpoint_id: str | None = None
    host: str | None = None
    """Dedicated DNS name or private address of the endpoint, with its scheme only if that is `http`."""
    base_url: str | None = None
    """Everything before `/chat/completions`; used as it is."""
    emulator_origin: str | None = None
    """`http://host:port` of an emulator that stands in for every Google host."""
    api: Api = "auto"
    model: str | None = None
    route: Route | None = None
    """Which of `routes` is taken; `None` for the first one."""
    is_loopback: bool = False
    """Whether the base_url, the emulator or the endpoint's host is this machine."""
    plain_http: bool = False
    """Whether requests go over a network without encryption."""
    token_over_http: bool = False
    """Whether the user accepts that a token goes that way, too."""
    audience: str | None = None
    """Whom the server's ID tokens are made for; `None` where it takes access tokens."""
    discovered: bool = False
    """Whether the service has been asked for the endpoint's own host; see `with_dedicated_dns`."""

    @property
    def emulator(self) -> bool:
        """Whether an emulator stands in for Google's hosts."""
        return self.emulator_origin is not None

    @property
    def server(self) -> Server | None:
        """The kind of server, where the address says it."""
        host = urlsplit(self.base_url or "").hostname or ""
        return "moonshot" if host.startswith("api.moonshot.") else None

    @property
    def self_deployed(self) -> bool:
        """Whether the server may be any: it is not Google's managed service."""
        if self.kind == "base_url":
            return not (self.base_url or "").endswith(MANAGED_PATH)
        return self.kind == "endpoint"

    @property
    def base_url_is_loopback(self) -> bool:
        """Whether a `base_url` is on this machine."""
        return self.base_url is not None and self.is_loopback

    @property
    def is_direct(self) -> bool:
        """Whether no proxy is on the way: a server on this machine, or an emulator over http."""
        return self.base_url_is_loopback or (self.emulator and (self.is_loopback or self.plain_http))

    @property
    def has_certificate(self) -> bool:
        """Whether the server may show a certificate. A tunnel's end on this machine does: the server is elsewhere."""
        return not self.is_direct or (self.base_url or "").startswith("https://")

    @property
    def needs_credentials(self) -> bool:
        """Whether credentials must be found if none were given.

        `False` for an emulator, for a `base_url` on this machine, and over plain http. Credentials that the user did
        give are sent to the first two all the same.
        """
        if self.plain_http:
            return self.token_over_http and not self.emulator
        return self.audience is not None or not (self.emulator or self.base_url_is_loopback)

    def check_token(self) -> None:
        """Refuse to send a token that the user gave over a network without encryption.

        Raises:
            ConfigurationError: The user has not accepted that.
        """
        if self.plain_http and not self.token_over_http:
            where = f"{EMULATOR_VARIABLE} is another machine" if self.emulator else "The server"
            raise ConfigurationError(
                f"{where}, spoken to in plain http, which would show the token: leave credentials and access_token "
                'out, use https://, or accept it with insecure_http="with_token".'
            )

    @property
    def asks_for_model(self) -> bool:
        """Whether a server behind `base_url` has to be asked which model it has."""
        return self.base_url is not None and not self.model and not self.base_url.endswith(MANAGED_PATH)

    @property
    def models_url(self) -> str:
        """The URL that lists the models of a server behind `base_url`."""
        return f"{self.base_url}/models"

    @property
    def routes(self) -> tuple[Route, ...]:
        """The ways to call the target, in the order in which they are tried while the answer is 404 or 405."""
        if self.api not in {"auto", "chat"}:
            return ((self.api, "v1"),)  # type: ignore[return-value]
        if self.base_url is not None:
            return (("chat", "v1"),)
        routes: list[Route] = [("chat", "v1"), ("chat", "v1beta1")]
        if self.api == "auto" and self.kind == "endpoint":
            if self.host is not None:
                routes.append(("invoke", "v1"))
            routes.append(("rawPredict", "v1"))
        return tuple(routes)

    def with_route(self, route: Route) -> Target:
        """Return the same target, called in this way."""
        return replace(self, route=route)

    @property
    def resource_name(self) -> str | None:
        """The endpoint's full name; `None` for another target, or while its project is not known."""
        return self._endpoint_name() if self.kind == "endpoint" and self.project is not None else None

    @property
    def needs_project(self) -> bool:
        """Whether the project has still to be taken from the credentials, with `with_project`."""
        return self.project is None and self.kind != "base_url"

    @property
    def needs_discovery(self) -> bool:
        """Whether the endpoint's host has still to be asked for, with GET `discovery_url()`."""
        return self.kind == "endpoint" and self.host is None and not self.emulator and not self.discovered

    @property
    def payload_limit(self) -> int | None:
        """Bytes that a request's body may have; `None` if no limit is known.

        Before the discovery it is the larger of the two that are possible.
        """
        if self.kind != "endpoint":
            return None
        return _DEDICATED_LIMIT if self.host is not None or self.needs_discovery else _SHARED_LIMIT

    def with_project(self, project: str) -> Target:
        """Return the same target in `project`, which the credentials named."""
        return replace(self, project=check_project(project, "the credentials' project", strict=False))

    def with_dedicated_dns(self, dns: Any, universe_domain: str = DEFAULT_UNIVERSE) -> Target:
        """Return the same target after the discovery: `dns` is `dedicatedEndpointDns`, empty if shared.

        Raises:
            ConfigurationError: It is not a host of the service's.
        """
        host = parse_discovered_host(dns, universe_domain) if dns else None
        return replace(self, host=host or self.host, discovered=True)

    def url(
        self,
        *,
        stream: bool,
        universe_domain: str = DEFAULT_UNIVERSE,
        model: str | None = None,
    ) -> str:
        """Return the URL to POST to.

        Args:
            stream: Whether a streamed answer is wanted. It changes the URL only for `rawPredict`;
                `predict` has no streamed form, so the body must not ask for one either.
            model: The request's own model, if it differs; only the managed `rawPredict` has it in its URL.
        """
        api, version = self.route or self.routes[0]
        method = _method(api, stream=stream)
        if self.base_url is not None:
            return self.base_url + method
        origin = f"{self._origin(universe_domain)}/{version}"
        if self.kind == "endpoint":
            return f"{origin}/{self._endpoint_name()}{method}"
        if api == "chat":
            return f"{origin}/{self._parent()}{MANAGED_PATH}{method}"
        publisher, _, name = check_managed_model(model or self.model or "").partition("/")
        return f"{origin}/{self._parent()}/publishers/{publisher}/models/{name}{method}"

    def discovery_url(self, universe_domain: str = DEFAULT_UNIVERSE) -> str:
        """Return the URL that answers with the endpoint resource, on the region's shared host."""
        origin = self.emulator_origin or _shared_origin(self.location, universe_domain)
        return f"{origin}/v1/{self._endpoint_name()}"

    def resource_url(self, path: str, universe_domain: str = DEFAULT_UNIVERSE) -> str:
        """Return the URL of a resource: below `base_url`, or on the shared host of the region that its name has."""
        if self.base_url is not None:
            return f"{self.base_url}/{path}"
        named = _LOCATION.search(path)
        location = check_location(named[1], "the resource's location") if named else self.location
        return f"{self.emulator_origin or _shared_origin(location, universe_domain)}/v1/{path}"

    def describe(self, model: str | None = None) -> str:
        """Say where requests go, for error texts: project, location, and model or endpoint."""
        model = model or self.model
        named = f", model {model}" if model else ""
        if self.base_url is not None:
            return f"base_url {self.base_url}{named}"
        place = f"project {self.project or '(from the credentials)'}, location {self.location}"
        if self.kind == "endpoint":
            place += f", endpoint {self.endpoint_id}"
        return place + named + (f", emulator {self.emulator_origin}" if self.emulator else "")

    def _origin(self, universe_domain: str) -> str:
        if self.emulator_origin is not None:
            return self.emulator_origin
        if self.host is not None:
            return self.host if "://" in self.host else f"https://{self.host}"
        return _shared_origin(self.location, universe_domain)

    def _parent(self) -> str:
        if self.project is None:
            raise ConfigurationError(
                f"No Google Cloud project is known. Pass project=, set {PROJECT_VARIABLE}, or use credentials "
                "that name one (`gcloud config set project PROJECT`)."
            )
        return f"projects/{self.project}/locations/{self.location}"

    def _endpoint_name(self) -> str:
        return f"{self._parent()}/endpoints/{self.endpoint_id}"


def _shared_origin(location: str, universe_domain: str) -> str:
    check_universe(universe_domain, "the credentials' universe_domain")
    if location == "global":
        return f"https://aiplatform.{universe_domain}"
    if location in {"us", "eu"}:
        return f"https://aiplatform.{location}.rep.{universe_domain}"
    return f"https://{location}-aiplatform.{universe_domain}"


def _method(api: str, *, stream: bool) -> str:
    if api == "chat":
        return "/chat/completions"
    if api == "invoke":
        return "/invoke/v1/chat/completions"
    if api == "rawPredict":
        return ":streamRawPredict" if stream else ":rawPredict"
    return ":predict"
