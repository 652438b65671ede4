"""Parsing and checking of what users write into settings: names, hosts, URLs.

Pure functions. Each raises `ConfigurationError` with the setting's name and what to write instead, and
never repeats a password.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from kimi_vertex.errors import ConfigurationError

__all__ = [
    "EndpointName",
    "check_endpoint_id",
    "check_location",
    "check_managed_model",
    "check_model_text",
    "check_project",
    "is_loopback",
    "parse_base_url",
    "parse_dedicated_dns",
    "parse_emulator_host",
    "parse_endpoint_host",
    "parse_resource_name",
    "same_project",
]

_RESOURCE_FORM: Final = "projects/PROJECT/locations/REGION/endpoints/ID"
# Google asks for six characters at least; that is left to Google, because stand-ins have shorter names.
_PROJECT_ID: Final = re.compile(
    r"(?:[a-z0-9][a-z0-9.-]*\.[a-z]{2,}:)?[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?|[0-9]{1,19}"
)
_LOOSE_PROJECT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}")
_LOCATION: Final = re.compile(r"[a-z]+(?:-[a-z]+)*[0-9]*")
_ZONE: Final = re.compile(r"([a-z]+-[a-z]+[0-9]+)-[a-z]")
# Google's own ids are numbers; those that Model Garden's one-click deployment makes are not.
_ENDPOINT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MANAGED_MODEL: Final = re.compile(r"[a-z0-9][a-z0-9-]*/[A-Za-z0-9][A-Za-z0-9._@-]*")
_RESOURCE_NAME: Final = re.compile(r"projects/([^/]+)/locations/([^/]+)/endpoints/([^/]+)")
_DEDICATED_DNS: Final = re.compile(
    r"([a-z0-9-]+)\.([a-z]+(?:-[a-z]+)*[0-9]+)-([0-9]+)\.prediction\.vertexai\.goog"
)
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_CHAT: Final = "/chat/completions"
_PRIVATE_SUFFIXES: Final = (".internal", ".local", ".localhost", ".test")


@dataclass(frozen=True, slots=True)
class EndpointName:
    """The three parts of an endpoint's resource name."""

    project: str
    location: str
    endpoint_id: str


def check_project(value: str, setting: str, *, strict: bool) -> str:
    """Return a project id, a domain-scoped one, or a project number; the form is free if not `strict`."""
    pattern = _PROJECT_ID if strict else _LOOSE_PROJECT_ID
    if pattern.fullmatch(value):
        return value
    hint = "An id has 6 to 30 lower-case letters, digits and hyphens; `gcloud projects list` shows yours."
    if value.startswith("projects/"):
        hint = "Leave out the part projects/."
    raise ConfigurationError(f"{setting}={value!r} is not a Google Cloud project id or number. {hint}")


def same_project(one: str, other: str) -> bool:
    """Whether two names may mean one project: a number and an id cannot be compared."""
    return one == other or one.isdigit() != other.isdigit()


def check_location(value: str, setting: str) -> str:
    """Return a region, `us`, `eu` or `global`."""
    if zone := _ZONE.fullmatch(value):
        raise ConfigurationError(f"{setting}={value!r} is a zone. Use its region, {zone[1]}.")
    if _LOCATION.fullmatch(value):
        return value
    hint = f" Did you mean {value.lower()!r}?" if _LOCATION.fullmatch(value.lower()) else ""
    raise ConfigurationError(
        f'{setting}={value!r} is not a Google Cloud location. Use "global", "us", "eu" or a region '
        f'such as "us-central1".{hint}'
    )


def check_endpoint_id(value: str, setting: str) -> str:
    """Return the id of an endpoint that the user deployed."""
    if value == "openapi":
        raise ConfigurationError(
            f"{setting}='openapi' is the managed service's own path. Leave {setting} out and pass model=."
        )
    if _ENDPOINT_ID.fullmatch(value):
        return value
    hint = f"Pass its id, or its full resource name {_RESOURCE_FORM}."
    if parse_dedicated_dns(value):
        hint = f"This is its host name: pass it as endpoint_host= instead of {setting}."
    raise ConfigurationError(f"{setting}={value!r} is not an endpoint id. {hint}")


def parse_resource_name(value: str, setting: str) -> EndpointName:
    """Split `projects/P/locations/R/endpoints/ID` and check its parts."""
    if "://" in value:
        raise ConfigurationError(
            f"{setting} is a URL. Pass an endpoint's resource name {_RESOURCE_FORM} here, or the URL as base_url=."
        )
    found = _RESOURCE_NAME.fullmatch(value.strip("/"))
    if found is None:
        raise ConfigurationError(
            f"{setting}={value!r} is not an endpoint. Pass its full resource name {_RESOURCE_FORM}, or its id "
            "together with project= and location=."
        )
    return EndpointName(
        check_project(found[1], f"{setting} (its project)", strict=False),
        check_location(found[2], f"{setting} (its location)"),
        check_endpoint_id(found[3], setting),
    )


def check_managed_model(value: str) -> str:
    """Return a model id of the managed service, which is always `publisher/model`."""
    if _MANAGED_MODEL.fullmatch(value):
        return value
    found = re.fullmatch(r"(?:.*/)?publishers/([^/]+)/models/([^/]+)", value)
    if found:
        hint = f"Use {found[1]}/{found[2]}."
    elif value and "/" not in value:
        hint = (
            f"Did you mean moonshotai/{value}? A model that you deployed yourself is reached with endpoint=."
        )
    else:
        hint = "For example moonshotai/kimi-k2-thinking-maas."
    raise ConfigurationError(f"model={value!r}: the managed service wants the form publisher/model. {hint}")


def check_model_text(value: str | None) -> str | None:
    """Return any model name for a server of the user's own; it may be empty or left out."""
    if value is not None and not value.isprintable():
        raise ConfigurationError(f"model={value!r} contains control characters.")
    return value


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, no port) is this machine by name or number alone."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parse_base_url(value: str, api: str) -> tuple[str, bool]:
    """Return a `base_url` without its trailing slash or method, and whether it is on this machine."""
    parts = _split(value, "base_url")
    if parts.scheme not in {"http", "https"}:
        raise ConfigurationError(
            f"base_url={_shown(parts, value)!r} must begin with https:// (or http:// on localhost)."
        )
    host = _check_host(parts, "base_url", value)
    if parts.query or parts.fragment:
        raise ConfigurationError(
            f"base_url={_shown(parts, value)!r} must be everything before {_CHAT}, without a query or fragment."
        )
    loopback = is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise ConfigurationError(
            f"base_url={_shown(parts, value)!r}: plain http would show the prompts and the access token to the "
            "network. Use https://, or reach the server through localhost (a tunnel, a sidecar)."
        )
    path = parts.path.rstrip("/")
    methods = (_CHAT,) if api == "chat" else (":streamRawPredict", ":rawPredict", ":predict")
    for method in methods:
        path = path.removesuffix(method)
    return f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}", loopback


def parse_endpoint_host(value: str, setting: str) -> str:
    """Return the host (and port) of an endpoint; with its scheme only if that is `http`, on this machine."""
    text = value.strip().rstrip("/")
    if "://" not in text:
        text = f"https://{_bracketed(text)}"
    parts = _split(text, setting)
    host = _check_host(parts, setting, value)
    if parts.path or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{setting}={_shown(parts, value)!r} must be a host name or address, without a path. A whole URL "
            "goes into base_url=."
        )
    if parts.scheme == "http" and is_loopback(host):
        return f"http://{parts.netloc}"
    if parts.scheme != "https":
        raise ConfigurationError(
            f"{setting}={_shown(parts, value)!r}: plain http would show the access token to the network. "
            "Leave the scheme out; for a private endpoint with its own certificate pass http_client= with "
            "verify= set to that certificate."
        )
    return parts.netloc.lower()


def parse_dedicated_dns(host: str) -> EndpointName | None:
    """Return what `ID.REGION-NUMBER.prediction.vertexai.goog` says about its endpoint."""
    found = _DEDICATED_DNS.fullmatch(host.lower())
    return EndpointName(found[3], found[2], found[1]) if found else None


def parse_emulator_host(value: str, setting: str) -> str:
    """Return the origin `http://host:port` (or https) of an emulator.

    Plain http is accepted on this machine, for private addresses and for names that only a private
    network resolves (a container's, `*.internal` ...), since prompts travel there in the clear.
    """
    text = value.strip().rstrip("/")
    if "://" not in text:
        text = f"http://{_bracketed(text)}"
    parts = _split(text, setting)
    host = _check_host(parts, setting, value)
    if parts.scheme not in {"http", "https"} or parts.path or parts.query or parts.fragment:
        raise ConfigurationError(
            f'{setting}={_shown(parts, value)!r} must be "host:port" or "http://host:port".'
        )
    if parts.scheme == "http" and not _is_private(host):
        raise ConfigurationError(
            f"{setting}={_shown(parts, value)!r}: an emulator is spoken to in plain http only on this machine or "
            "in a private network. Use an https:// address."
        )
    return f"{parts.scheme}://{parts.netloc}"


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return is_loopback(host) or "." not in host or host.lower().endswith(_PRIVATE_SUFFIXES)
    return address.is_private or address.is_loopback


def _bracketed(text: str) -> str:
    """Put a bare IPv6 address into the brackets that URLs need."""
    try:
        return f"[{text}]" if ipaddress.ip_address(text).version == 6 else text
    except ValueError:
        return text


def _split(value: str, setting: str) -> SplitResult:
    if not value.isprintable() or " " in value:
        raise ConfigurationError(f"{setting} contains spaces or control characters.")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{setting} is not a valid address: {error}.") from None
    return parts


def _check_host(parts: SplitResult, setting: str, value: str) -> str:
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{setting} contains a user name or password, which would end up in logs. Pass the server's token "
            "as access_token=."
        )
    host = parts.hostname or ""
    if not host:
        raise ConfigurationError(f"{setting}={_shown(parts, value)!r} has no host name.")
    if ":" in host or all(_LABEL.fullmatch(label) for label in host.rstrip(".").split(".")):
        return host
    raise ConfigurationError(f"{setting}={_shown(parts, value)!r}: {host!r} is not a host name.")


def _shown(parts: SplitResult, value: str) -> str:
    """Return `value` for an error text, without what may be a password (before `@`) or a key (after `?`)."""
    shown = value.partition("?")[0] + ("?..." if parts.query else "")
    return f"...@{shown.rpartition('@')[2]}" if "@" in shown else shown
