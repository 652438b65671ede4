"""What the doctor looks at before the model: from the interpreter to the endpoint's container, in the order of a request."""

from __future__ import annotations

import os
import platform
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from kimi_vertex import (
    APIConnectionError,
    APIError,
    APIStatusError,
    ConfigurationError,
    KimiVertexClient,
    KimiVertexError,
    NotFoundError,
    PermissionDeniedError,
    Place,
    __version__,
    model_info,
    unknown_variables,
)
from kimi_vertex_cli._findings import Line, command_for, news
from kimi_vertex_cli._resources import describe, find, read

__all__ = ["Working", "before_the_client", "before_the_model"]

Working = Callable[[str], None]
"""Told what is being done."""

_PACKAGES: Final = ("google-auth", "httpx", "langchain-core", "llama-index-core", "pydantic")
_VARIABLES: Final = re.compile(
    r"KIMI_VERTEX_|GOOGLE_|CLOUDSDK_|GCE_METADATA_|NO_GCE_CHECK$|SSL_CERT_|REQUESTS_CA_BUNDLE$|(?:HTTPS?|ALL|NO)_PROXY$"
)
_PARSER: Final = re.compile(r"--(?:tool-call|reasoning)-parser[= ](?P<parser>kimi_k\d)")
_SECRET: Final = re.compile(r"TOKEN|KEY|SECRET|PASSWORD")
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
# Why Google refuses whatever is asked: not a permission on the one resource.
_GENERAL: Final = re.compile(
    r"scopes are too narrow|no quota project|is off in project|billing is off|may not bill|does not exist or is suspended"
    r"|perimeter|organization policy",
    re.IGNORECASE,
)


def before_the_client(environ: Mapping[str, str]) -> Iterator[Line]:
    """Versions and variables."""
    yield Line(
        "versions",
        "info",
        ", ".join([f"Python {platform.python_version()}", f"kimi-vertex {__version__}", *_versions()]),
    )
    shown = [
        f"{name}={_value(name, value)}"
        for name, value in sorted(environ.items())
        if _VARIABLES.match(name.upper())
    ]
    yield Line("variables", "info", "  ".join(shown) or "none that concerns this is set")
    for name, meant in unknown_variables(environ):
        if meant:
            text = f"{name} is not read by kimi-vertex: did you mean {meant}?"
            yield Line("variables", "red", text, f"export {meant}=... && unset {name}")
        else:
            yield Line("variables", "warn", f"{name} is not read by kimi-vertex.", f"unset {name}")


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def _value(name: str, value: str) -> str:
    if _SECRET.search(name.upper()):
        return "(set, not shown)"
    return re.sub(r"//[^/@\s]*@", "//", value)


def before_the_model(
    client: KimiVertexClient, settings: Mapping[str, object], working: Working
) -> Iterator[Line]:
    """Login, network, endpoint; ends with the first red line."""
    try:
        for step in (_login, _network, _resource):
            for line in step(client, settings, working):
                yield line
                if line.status == "red":
                    return
    except ConfigurationError as error:
        # Some settings are looked at where they are needed, such as certificates.
        yield failure("settings", error, client.place)


def failure(name: str, error: KimiVertexError, place: Place, default: str = "kimi-vertex endpoints") -> Line:
    """The red line of an error."""
    name = "network" if isinstance(error, APIConnectionError) else name
    return Line(name, "red", news(error), command_for(error.message, place, default))


def _login(client: KimiVertexClient, _: Mapping[str, object], working: Working) -> Iterator[Line]:
    working("fetching a token")
    try:
        login = client.login()
    except KimiVertexError as error:
        yield failure("login", error, client.place, "gcloud auth application-default login")
        return
    if login is None:
        unused = os.environ.get("KIMI_VERTEX_ACCESS_TOKEN")
        kept = " (KIMI_VERTEX_ACCESS_TOKEN is not sent there)" if unused else ""
        yield Line("login", "info", f"none is needed for this address{kept}")
        return
    who = login.account or login.kind
    texts = [who] if login.source in who else [who, f"from {login.source}"]
    if login.expires is not None:
        minutes = (login.expires - datetime.now(UTC)).total_seconds() / 60
        texts.append(f"token for {minutes:.0f} min")
    if login.quota_project:
        texts.append(f"quota project {login.quota_project}")
    yield Line("login", "ok", ", ".join(texts))
    if login.scopes and _SCOPE not in login.scopes:
        text = f"The token's scopes are too narrow: {', '.join(login.scopes)}; cloud-platform is needed."
        yield Line("login", "red", text, f"gcloud auth application-default login --scopes={_SCOPE}")


def _network(client: KimiVertexClient, _: Mapping[str, object], working: Working) -> Iterator[Line]:
    place = client.place
    if place.proxy is not None:
        yield Line("network", "info", f"{place.host} through the proxy in {place.proxy}")
        return
    name, _mark, port = (
        place.host.rpartition(":") if re.search(r":\d+$", place.host) else (place.host, "", "443")
    )
    working(f"looking up {name}")
    try:
        found = socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        text = f"{name} has no address ({error.strerror or error}): is the name right, or is a private DNS zone or VPN missing?"
        yield Line("network", "red", text, f"nslookup {name}")
        return
    addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    yield Line("network", "ok", f"{name} is {addresses[0]}{more}; no proxy")


def _resource(client: KimiVertexClient, settings: Mapping[str, object], working: Working) -> Iterator[Line]:
    place = client.place
    if place.kind == "base_url":
        yield from _models(client, place, settings, working)
    elif place.kind == "endpoint":
        yield from _endpoint(client, place, working)


def _models(
    client: KimiVertexClient, place: Place, settings: Mapping[str, object], working: Working
) -> Iterator[Line]:
    working("asking for the server's models")
    began = time.monotonic()
    try:
        listed = client.get("models")
        names = [str(item["id"]) for item in listed["data"]]
    except APIStatusError as error:
        if error.status_code in (404, 405, 501):
            yield Line("server", "info", "it does not list its models")
        else:
            yield failure("server", error, place)
        return
    except APIError as error:
        yield failure("server", error, place)
        return
    except (KeyError, TypeError):
        yield Line("server", "info", "it does not list its models as OpenAI does")
        return
    seconds = time.monotonic() - began
    yield Line("server", "ok", f"answers in {seconds:.2f} s; serves {', '.join(names[:5]) or 'no model'}")
    asked = settings.get("model") or os.environ.get("KIMI_VERTEX_MODEL")
    if names and asked and asked not in names:
        source = "leave --model out" if settings.get("model") else "unset KIMI_VERTEX_MODEL"
        text = f"The server has another model than {asked}: {', '.join(names[:5])} (--served-model-name)."
        yield Line("model", "red", text, f"export KIMI_VERTEX_MODEL={names[0]}  # or {source}")


def _endpoint(client: KimiVertexClient, place: Place, working: Working) -> Iterator[Line]:
    name = place.endpoint
    if name is None:
        login = client.login()
        project = login.project if login is not None else None
        if project is None:
            yield Line(
                "endpoint",
                "red",
                "No project is known for the endpoint.",
                "export GOOGLE_CLOUD_PROJECT=PROJECT",
            )
            return
        name = f"projects/{project}/locations/{place.location}/endpoints/ID"
    working("looking up the endpoint")
    try:
        endpoint = describe(client, read(client.get(name)))
    except PermissionDeniedError as error:
        if _GENERAL.search(error.message):
            yield failure("endpoint", error, place)
        else:
            yield Line("endpoint", "warn", "this account may not look it up (aiplatform.endpoints.get)")
        return
    except NotFoundError as error:
        yield _elsewhere(client, name, working) or failure("endpoint", error, place)
        return
    except APIError as error:
        if isinstance(error, APIConnectionError) and place.url is not None and not place.emulator:
            # Whoever reaches a private address need not reach Google's own hosts.
            yield Line("endpoint", "warn", f"it could not be looked up: {news(error)}")
        else:
            yield failure("endpoint", error, place)
        return
    texts = [endpoint.display_name or endpoint.id, endpoint.model, endpoint.state, endpoint.machine]
    if endpoint.host:
        texts.append(f"at {endpoint.host}")
    yield Line("endpoint", "ok" if endpoint.ready else "info", ", ".join(filter(None, texts)))
    if endpoint.arguments:
        yield _container(" ".join(endpoint.arguments))
    if not endpoint.resource and endpoint.state == "no model is deployed":
        command = f"gcloud ai endpoints deploy-model {endpoint.id} --region={endpoint.location} --model=MODEL"
        yield Line("endpoint", "red", "No model is deployed on the endpoint.", command)


def _container(arguments: str) -> Line:
    """What the container was started with, and whether its parsers are those of its model."""
    info = model_info(_PARSER.sub("", arguments))
    others = {found["parser"] for found in _PARSER.finditer(arguments)} - {info.parser}
    if info.parser is None or not others:
        return Line("container", "info", arguments)
    right = f"--tool-call-parser {info.parser} --reasoning-parser {info.parser}"
    text = f"It serves {info.family} with {others.pop()}'s parsers; start it with {right} ({arguments})"
    return Line("container", "warn", text, command_for(text, None))


def _elsewhere(client: KimiVertexClient, name: str, working: Working) -> Line | None:
    """An endpoint that is not there, but in another region."""
    _, project, _, location, _, endpoint_id = name.split("/")
    working("looking for the endpoint in other regions")
    found = find(client, project, endpoint_id)
    if found is None:
        return None
    text = f"Endpoint {endpoint_id} is in {found.location}, not in {location}."
    return Line("endpoint", "red", text, found.use)
