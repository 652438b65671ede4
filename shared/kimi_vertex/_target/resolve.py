"""From settings and environment to one checked `Target`. Whatever is wrong with a setting is said here.

No I/O: this runs when a model object is built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast, get_args

from kimi_vertex._text import shown
from kimi_vertex.errors import ConfigurationError
from kimi_vertex.models import MANAGED_MODEL

from .environment import (
    EMULATOR_VARIABLE,
    LOCATION_VARIABLE,
    PROJECT_VARIABLE,
    Environment,
)
from .hosts import Address, InsecureHttp, parse_base_url, parse_emulator_host, parse_endpoint_host
from .names import (
    EndpointName,
    check_endpoint_id,
    check_location,
    check_managed_model,
    check_model_text,
    check_project,
    check_text,
    parse_dedicated_dns,
    parse_resource_name,
    same_project,
)
from .target import MANAGED_PATH, Api, Target

__all__ = ["resolve_target"]

EMULATOR_PROJECT: Final = "emulator"

_APIS: Final = get_args(Api)
_NO_MODEL: Final = (
    'No model: pass endpoint="projects/PROJECT/locations/REGION/endpoints/ID", or set KIMI_VERTEX_ENDPOINT to it. '
    "`kimi-vertex endpoints` lists yours. Without one, run `python -m kimi_vertex_emulator` and set "
    "KIMI_VERTEX_EMULATOR_HOST. base_url= reaches any other server, "
    f'model="{MANAGED_MODEL}" the managed service.'
)


def resolve_target(
    *,
    model: str | None = None,
    project: str | int | None = None,
    location: str | None = None,
    endpoint: str | int | None = None,
    endpoint_host: str | None = None,
    base_url: str | None = None,
    api: Api | None = None,
    audience: str | None = None,
    insecure_http: InsecureHttp | None = None,
    environment: Environment,
) -> Target:
    """Decide where requests go, by the settings of a client and the environment.

    Arguments win over variables. `base_url` is a place of its own; then come `endpoint` and `endpoint_host`; else the
    managed service. `KIMI_VERTEX_EMULATOR_HOST` stands in for the last three.

    Raises:
        ConfigurationError: If a setting is malformed, missing, or contradicts another.
    """
    given = _Given.read(
        environment,
        model=check_model_text(model),
        endpoint=check_text(endpoint, "endpoint"),
        endpoint_host=check_text(endpoint_host, "endpoint_host"),
        base_url=check_text(base_url, "base_url"),
        api=None if isinstance(api, str) and api == "auto" else check_text(api, "api"),
        audience=check_text(audience, "audience"),
    )
    project, location = check_text(project, "project"), check_text(location, "location")
    insecure = _insecure(insecure_http, environment)
    if given.base_url is not None:
        return _base_url(given, environment, project, location, insecure)
    if given.audience is not None:
        raise ConfigurationError(
            "audience is for a base_url, whose server takes ID tokens (Cloud Run, IAP). Vertex AI takes access "
            "tokens: leave audience out, or pass base_url=."
        )
    emulator = parse_emulator_host(environment.emulator, EMULATOR_VARIABLE) if environment.emulator else None
    place = Target(
        kind="managed",
        project=_project(project, environment, strict=emulator is None)
        or (EMULATOR_PROJECT if emulator else None),
        location=_location(location, environment),
        emulator_origin=emulator.text if emulator else None,
        is_loopback=emulator is not None and emulator.loopback,
        plain_http=emulator is not None and emulator.plain,
        token_over_http=insecure == "with_token",
        api=given.api,
    )
    if given.endpoint or given.endpoint_host:
        place = replace(place, kind="endpoint", model=_foreign_model(given))
        return _endpoint(given, place, project, location, insecure)
    return _managed(place, given, environment)


@dataclass(frozen=True, slots=True)
class _Given:
    """Settings and the variables that stand in for those that are missing, with the name that each came by."""

    model: str | None
    endpoint: str | None
    endpoint_host: str | None
    base_url: str | None
    api: Api
    audience: str | None
    source: Mapping[str, str]

    @classmethod
    def read(cls, env: Environment, **settings: str | None) -> _Given:
        place = ("base_url", "endpoint", "endpoint_host")
        # An empty base_url is a mistake that is named; an empty endpoint says nothing.
        placed = [name for name in place if settings[name] or (name == "base_url" and settings[name] == "")]
        if "base_url" in placed and len(placed) > 1:
            raise ConfigurationError(
                f"base_url and {placed[1]} are both given, and are two places. Leave one out: base_url is used as it "
                "is, endpoint is looked up on Vertex AI."
            )
        source = {name: name for name in settings}
        values = dict(settings)
        for name, value in settings.items():
            if value is None or (value == "" and name in place and name != "base_url"):
                # A place that the user gives makes the environment's meaningless.
                values[name] = None if name in place and placed else getattr(env, name)
                source[name] = f"KIMI_VERTEX_{name.upper()}"
        if values["base_url"] is not None and (values["endpoint"] or values["endpoint_host"]):
            other = "endpoint" if values["endpoint"] else "endpoint_host"
            raise ConfigurationError(
                f"{source['base_url']} and {source[other]} are both set, and are two places. Unset one, or pass "
                "endpoint= or base_url= yourself."
            )
        api = values["api"] or "auto"
        if api not in _APIS:
            raise ConfigurationError(
                f'{source["api"]}={shown(api)}: must be "chat", "rawPredict" or "predict", "invoke", or "auto".'
            )
        return cls(
            model=check_model_text(values["model"], source["model"]),
            endpoint=values["endpoint"] or None,
            endpoint_host=values["endpoint_host"] or None,
            base_url=values["base_url"],
            api=cast(Api, api),
            audience=values["audience"] or None,
            source=source,
        )


def _insecure(given: InsecureHttp | None, env: Environment) -> InsecureHttp:
    value: Any = given
    if value is None:
        word = (env.insecure_http or "").strip().lower().replace("-", "_")
        value = {"": False, "0": False, "false": False, "1": True, "true": True}.get(word, word)
    if isinstance(value, bool) or (isinstance(value, str) and value == "with_token"):
        return cast(InsecureHttp, value)
    raise ConfigurationError(f'insecure_http is {shown(value)}; it must be True, False or "with_token".')


def _foreign_model(given: _Given) -> str | None:
    """The model for a server of the user's own; the managed one's name in a variable is not meant for it."""
    from_environment = given.source["model"] != "model"
    return None if from_environment and given.model == MANAGED_MODEL else given.model or None


def _project(given: str | None, env: Environment, *, strict: bool) -> str | None:
    if given:
        return check_project(given, "project", strict=strict)
    return check_project(env.project, PROJECT_VARIABLE, strict=strict) if env.project else None


def _location(given: str | None, env: Environment) -> str:
    if given:
        return check_location(given, "location")
    return check_location(env.location, LOCATION_VARIABLE) if env.location else "global"


def _base_url(
    given: _Given, env: Environment, project: str | None, location: str | None, insecure: InsecureHttp
) -> Target:
    url, api = given.base_url or "", given.api
    if api == "invoke":
        raise ConfigurationError(
            'api="invoke" is a route of an endpoint: pass endpoint= and endpoint_host= instead of base_url, or leave '
            "api out."
        )
    if api == "auto" and (found := re.search(r":(?:streamR|r)awPredict/?$|:predict/?$", url)):
        api = "predict" if "predict" in found[0] else "rawPredict"
    address = parse_base_url(url, api, insecure, given.source["base_url"])
    is_google = address.text.endswith(MANAGED_PATH)
    return Target(
        kind="base_url",
        project=_project(project, env, strict=False),
        location=check_location(location, "location") if location else env.location or "global",
        base_url=address.text,
        is_loopback=address.loopback,
        plain_http=address.plain,
        token_over_http=insecure == "with_token",
        audience=given.audience,
        api=api,
        # Google's own path of the managed service has to be told a model; no other server is told Google's name for it.
        model=(given.model or MANAGED_MODEL) if is_google else _foreign_model(given),
    )


def _managed(place: Target, given: _Given, env: Environment) -> Target:
    """The managed service, or the emulator in its stead, which needs to be told less."""
    if given.model is None and not place.emulator:
        misspelt = next(((name, meant) for name, meant in env.unknown if meant), None)
        hint = f"{misspelt[0]} is set: did you mean {misspelt[1]}? " if misspelt else ""
        raise ConfigurationError(hint + _NO_MODEL)
    if place.api in {"predict", "invoke"}:
        raise ConfigurationError(f'api="{place.api}" needs an endpoint of your own: pass endpoint=.')
    return replace(place, model=MANAGED_MODEL if given.model is None else check_managed_model(given.model))


def _endpoint(
    given: _Given, place: Target, project: str | None, location: str | None, insecure: InsecureHttp
) -> Target:
    """An endpoint of the user's own.

    A resource name decides on project and region and may not contradict what the user said; then comes what the
    user said, then what a dedicated host says. Only for the project does the environment come before the host.
    """
    endpoint, source = given.endpoint, given.source["endpoint"]
    address = _host(given, insecure)
    if address is not None and address.resource is not None and not endpoint:
        endpoint, source = address.resource, given.source["endpoint_host"]
    served = parse_dedicated_dns(address.text) if address else None
    if endpoint and "/" in endpoint:
        name = _resource_name(endpoint, source, project, location)
        project, location, endpoint_id = name.project, name.location, name.endpoint_id
    elif endpoint:
        project, endpoint_id = place.project, check_endpoint_id(endpoint, source)
    elif served is not None:
        project, endpoint_id = place.project, served.endpoint_id
    else:
        raise ConfigurationError(
            f"{given.source['endpoint_host']}={shown(given.endpoint_host)} does not say which endpoint it serves: pass "
            "endpoint= too."
        )
    if served is not None:
        if (served.endpoint_id, served.location) != (endpoint_id, location or served.location):
            raise ConfigurationError(
                f"endpoint_host serves endpoint {served.endpoint_id} in {served.location}, but endpoint "
                f"{endpoint_id} in {location or served.location} was asked for. Leave one of them out."
            )
        project, location = project or served.project, served.location
        if not served.project.isdecimal():
            # Real hosts have the project's number. The right one is asked for.
            project, address = served.project, None
    location = location or place.location
    if location == "global":
        raise ConfigurationError(
            f"Endpoint {endpoint_id} needs the region that it is deployed in: pass location= (us-central1, for "
            f"example), set {LOCATION_VARIABLE}, or give endpoint its full resource name "
            "projects/PROJECT/locations/REGION/endpoints/ID."
        )
    if address is not None and not place.emulator:
        place = replace(place, is_loopback=address.loopback, plain_http=address.plain)
    return replace(
        place,
        project=project,
        location=location,
        endpoint_id=endpoint_id,
        host=address.text if address else None,
    )


def _host(given: _Given, insecure: InsecureHttp) -> Address | None:
    if not given.endpoint_host:
        return None
    address = parse_endpoint_host(given.endpoint_host, given.source["endpoint_host"], insecure)
    named = given.endpoint if given.endpoint and "/" in given.endpoint else None
    if (
        address.resource
        and given.endpoint
        and address.resource.rpartition("/")[2] != ((named or given.endpoint).strip("/").rpartition("/")[2])
    ):
        raise ConfigurationError(
            f"endpoint_host has a path of {address.resource}, but endpoint is {shown(given.endpoint)}. Leave one out."
        )
    return address


def _resource_name(value: str, source: str, project: str | None, location: str | None) -> EndpointName:
    """The parts of a resource name, which the user's own settings may repeat but not contradict."""
    name = parse_resource_name(value, source)
    if location and location != name.location:
        raise ConfigurationError(
            f"{source} is in location {name.location}, but location is {shown(location)}. "
            "Leave location out: the resource name has it."
        )
    if project and not same_project(project, name.project):
        raise ConfigurationError(
            f"{source} is in project {name.project}, but project is {shown(project)}. "
            "Leave project out: the resource name has it."
        )
    return name
