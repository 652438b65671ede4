"""Where requests go: from settings and environment to one checked `Target`, and from it to URLs.

No I/O, no credentials. Whatever is wrong with a setting is said here, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from kimi_vertex.errors import ConfigurationError
from kimi_vertex.models import MANAGED_MODEL, Server

from .names import (
    EndpointName,
    check_endpoint_id,
    check_location,
    check_managed_model,
    check_model_text,
    check_project,
    parse_base_url,
    parse_dedicated_dns,
    parse_emulator_host,
    parse_endpoint_host,
    parse_resource_name,
    same_project,
)

__all__ = ["DEFAULT_UNIVERSE", "Api", "Environment", "Target", "resolve_target"]

Api: TypeAlias = Literal["chat", "rawPredict", "predict"]

DEFAULT_UNIVERSE: Final = "googleapis.com"
PROJECT_VARIABLE: Final = "GOOGLE_CLOUD_PROJECT"
LOCATION_VARIABLE: Final = "GOOGLE_CLOUD_LOCATION"
ENDPOINT_VARIABLE: Final = "KIMI_VERTEX_ENDPOINT"
EMULATOR_VARIABLE: Final = "KIMI_VERTEX_EMULATOR_HOST"
EMULATOR_PROJECT: Final = "emulator"

_MANAGED_PATH: Final = "/endpoints/openapi"

# The documentation says "10 MB" and "1.5 MB". Read as binary units, so that nothing is refused
# here that the service might take; what lies between is the service's to refuse.
# https://cloud.google.com/vertex-ai/docs/predictions/choose-endpoint-type
_DEDICATED_LIMIT: Final = 10 * 1024 * 1024
_SHARED_LIMIT: Final = 1536 * 1024


_NO_MODEL: Final = (
    f'No model: pass endpoint= for your own deployment, or model="{MANAGED_MODEL}" for the managed service. '
    "An endpoint is named projects/PROJECT/locations/REGION/endpoints/ID; base_url= reaches any other server."
)


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment says about targets, not yet checked; an empty variable says nothing."""

    project: str | None = None
    location: str | None = None
    endpoint: str | None = None
    emulator: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Environment:
        """Read the variables."""
        return cls(
            project=environ.get(PROJECT_VARIABLE) or None,
            location=environ.get(LOCATION_VARIABLE) or None,
            endpoint=environ.get(ENDPOINT_VARIABLE) or None,
            emulator=environ.get(EMULATOR_VARIABLE) or None,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """One place that answers chat completions. Build it with `resolve_target`."""

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
    api: Api = "chat"
    model: str | None = None
    base_url_is_loopback: bool = False
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
            return not (self.base_url or "").endswith(_MANAGED_PATH)
        return self.kind == "endpoint"

    @property
    def needs_credentials(self) -> bool:
        """Whether credentials must be found if none were given.

        `False` for an emulator and for a `base_url` on this machine. Credentials that the user did
        give are sent there all the same.
        """
        return not (self.emulator or self.base_url_is_loopback)

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

    def with_dedicated_dns(self, dns: str | None) -> Target:
        """Return the same target after the discovery: `dns` is `dedicatedEndpointDns`, empty if shared."""
        host = parse_endpoint_host(dns, "the endpoint's dedicatedEndpointDns") if dns else None
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
            universe_domain: That of the credentials.
            model: The request's own model, if it differs; only the managed `rawPredict` has it in its URL.
        """
        method = _method(self.api, stream=stream)
        if self.base_url is not None:
            return self.base_url + method
        origin = self._origin(universe_domain)
        if self.kind == "endpoint":
            return f"{origin}/v1/{self._endpoint_name()}{method}"
        if self.api == "chat":
            return f"{origin}/v1/{self._parent()}{_MANAGED_PATH}{method}"
        publisher, _, name = check_managed_model(model or self.model or "").partition("/")
        return f"{origin}/v1/{self._parent()}/publishers/{publisher}/models/{name}{method}"

    def discovery_url(self, universe_domain: str = DEFAULT_UNIVERSE) -> str:
        """Return the URL that answers with the endpoint resource, on the region's shared host."""
        origin = self.emulator_origin or _shared_origin(self.location, universe_domain)
        return f"{origin}/v1/{self._endpoint_name()}"

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
    if location == "global":
        return f"https://aiplatform.{universe_domain}"
    if location in {"us", "eu"}:
        return f"https://aiplatform.{location}.rep.{universe_domain}"
    return f"https://{location}-aiplatform.{universe_domain}"


def _method(api: Api, *, stream: bool) -> str:
    if api == "chat":
        return "/chat/completions"
    if api == "rawPredict":
        return ":streamRawPredict" if stream else ":rawPredict"
    return ":predict"


def resolve_target(
    *,
    model: str | None = None,
    project: str | None = None,
    location: str | None = None,
    endpoint: str | None = None,
    endpoint_host: str | None = None,
    base_url: str | None = None,
    api: Api = "chat",
    environ: Mapping[str, str],
) -> Target:
    """Decide where requests go.

    `base_url` wins over everything; then `endpoint` or `endpoint_host`; then `KIMI_VERTEX_ENDPOINT`;
    else the managed service. `KIMI_VERTEX_EMULATOR_HOST` redirects the last three.

    Args:
        model: `publisher/model`, which the managed service needs; any other server may go without.
        project: Project id or number. Default: `GOOGLE_CLOUD_PROJECT`, else the credentials' project.
        location: Region, `us`, `eu` or `global`. Default: `GOOGLE_CLOUD_LOCATION`, else `global`.
        endpoint: `projects/P/locations/R/endpoints/ID`, or the id alone.
        endpoint_host: `ID.REGION-NUMBER.prediction.vertexai.goog`, which also names the endpoint, its
            region and its project if those are not given; or a private address.
        base_url: Everything before `/chat/completions`.
        api: The method to call; `chat` is OpenAI's chat completions.
        environ: The environment, `os.environ` as a rule.

    Raises:
        ConfigurationError: If a setting is malformed, missing, or contradicts another.
    """
    if api not in {"chat", "rawPredict", "predict"}:
        raise ConfigurationError(f'api={api!r}: must be "chat", "rawPredict" or "predict".')
    env = Environment.read(environ)
    if base_url is not None:
        return _base_url(base_url, env, api=api, model=model, project=project, location=location)
    origin = parse_emulator_host(env.emulator, EMULATOR_VARIABLE) if env.emulator else None
    place = Target(
        kind="managed",
        project=_project(project, env, strict=origin is None) or (EMULATOR_PROJECT if origin else None),
        location=_location(location, env),
        emulator_origin=origin,
        api=api,
    )
    source = "endpoint"
    if not endpoint and not endpoint_host:
        endpoint, source = env.endpoint, ENDPOINT_VARIABLE
    if endpoint or endpoint_host:
        place = replace(place, kind="endpoint", model=check_model_text(model))
        return _endpoint(endpoint, source, endpoint_host, place, project=project, location=location)
    return _managed(place, model)


def _project(given: str | None, env: Environment, *, strict: bool) -> str | None:
    if given:
        return check_project(given, "project", strict=strict)
    return check_project(env.project, PROJECT_VARIABLE, strict=strict) if env.project else None


def _location(given: str | None, env: Environment) -> str:
    if given:
        return check_location(given, "location")
    return check_location(env.location, LOCATION_VARIABLE) if env.location else "global"


def _base_url(
    base_url: str,
    env: Environment,
    *,
    api: Api,
    model: str | None,
    project: str | None,
    location: str | None,
) -> Target:
    url, loopback = parse_base_url(base_url, api)
    return Target(
        kind="base_url",
        project=_project(project, env, strict=False),
        location=check_location(location, "location") if location else env.location or "global",
        base_url=url,
        base_url_is_loopback=loopback,
        api=api,
        # Google's own path of the managed service has to be told a model; no other server is told Google's name for it.
        model=check_model_text(model) or (MANAGED_MODEL if url.endswith(_MANAGED_PATH) else None),
    )


def _managed(place: Target, model: str | None) -> Target:
    """The managed service, or the emulator in its stead, which needs to be told less."""
    if model is None and not place.emulator:
        raise ConfigurationError(_NO_MODEL)
    if place.api == "predict":
        raise ConfigurationError('api="predict" needs an endpoint of your own: pass endpoint=.')
    return replace(place, model=MANAGED_MODEL if model is None else check_managed_model(model))


def _endpoint(
    endpoint: str | None,
    source: str,
    endpoint_host: str | None,
    place: Target,
    *,
    project: str | None,
    location: str | None,
) -> Target:
    """An endpoint of the user's own.

    A resource name decides on project and region and may not contradict what the user said; then comes what the
    user said, then what a dedicated host says. Only for the project does the environment come before the host.

    Args:
        endpoint: Resource name or id.
        source: The setting or variable that `endpoint` is from, for error texts.
        endpoint_host: The endpoint's own host.
        place: The target as far as settings and environment describe it together.
        project: As given by the user.
        location: As given by the user.
    """
    host = parse_endpoint_host(endpoint_host, "endpoint_host") if endpoint_host else None
    served = parse_dedicated_dns(host) if host else None
    if endpoint and "/" in endpoint:
        name = _resource_name(endpoint, source, project, location)
        project, location, endpoint_id = name.project, name.location, name.endpoint_id
    elif endpoint:
        project, endpoint_id = place.project, check_endpoint_id(endpoint, source)
    elif served is not None:
        project, endpoint_id = place.project, served.endpoint_id
    else:
        raise ConfigurationError(
            f"endpoint_host={endpoint_host!r} does not say which endpoint it serves: pass endpoint= too."
        )
    if served is not None:
        if (served.endpoint_id, served.location) != (endpoint_id, location or served.location):
            raise ConfigurationError(
                f"endpoint_host serves endpoint {served.endpoint_id} in {served.location}, but endpoint "
                f"{endpoint_id} in {location or served.location} was asked for. Leave one of them out."
            )
        project, location = project or served.project, served.location
    location = location or place.location
    if location == "global":
        raise ConfigurationError(
            f"Endpoint {endpoint_id} needs the region that it is deployed in: pass location= (us-central1, for "
            f"example), set {LOCATION_VARIABLE}, or give endpoint its full resource name "
            "projects/PROJECT/locations/REGION/endpoints/ID."
        )
    return replace(place, project=project, location=location, endpoint_id=endpoint_id, host=host)


def _resource_name(value: str, source: str, project: str | None, location: str | None) -> EndpointName:
    """The parts of a resource name, which the user's own settings may repeat but not contradict."""
    name = parse_resource_name(value, source)
    if location and location != name.location:
        raise ConfigurationError(
            f"{source} is in location {name.location}, but location is {location!r}. "
            "Leave location out: the resource name has it."
        )
    if project and not same_project(project, name.project):
        raise ConfigurationError(
            f"{source} is in project {name.project}, but project is {project!r}. "
            "Leave project out: the resource name has it."
        )
    return name
