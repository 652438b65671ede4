"""Checks of the places that requests go to: hosts and URLs, as names, before anything is sent there.

Pure functions. Each raises `ConfigurationError` with the setting's name and what to write instead, and never repeats a
password.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

from kimi_vertex.errors import ConfigurationError

__all__ = [
    "Address",
    "InsecureHttp",
    "check_universe",
    "is_loopback",
    "parse_base_url",
    "parse_discovered_host",
    "parse_emulator_host",
    "parse_endpoint_host",
]

InsecureHttp: TypeAlias = bool | Literal["with_token"]

_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PLAIN_NAME: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_CHAT: Final = "/chat/completions"
_PRIVATE_SUFFIXES: Final = (".internal", ".local", ".localhost", ".test", ".svc", ".lan", ".home.arpa")
# Private Service Connect: https://cloud.google.com/vpc/docs/configure-private-service-connect-apis#p.googleapis.com
_PSC_SUFFIXES: Final = (".p.googleapis.com", ".p.vertexai.goog")
_SHARED_ADDRESSES: Final = ipaddress.ip_network("100.64.0.0/10")
_LONGEST: Final = 2048
_RESOURCE: Final = re.compile(
    r"/(?:v1|v1beta1)(?:/(projects/[^/]+/locations/[^/]+/endpoints/[^/:]+)(?:[:/][\w:/]*)?)?"
)
_OPT_IN: Final = (
    "to accept that on a private network, pass insecure_http=True (no Google token is then sent), or "
    'insecure_http="with_token".'
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, checked."""

    text: str
    loopback: bool = False
    plain: bool = False
    """Whether everything goes over the network without encryption."""
    resource: str | None = None
    """The endpoint's resource name, where a path named it."""


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, no port) is this machine by name or number alone."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_universe(value: str, setting: str) -> str:
    """Return a universe's domain, which becomes part of a host name: a plain DNS name and nothing else."""
    if len(value) <= 200 and _PLAIN_NAME.fullmatch(value):
        return value
    raise ConfigurationError(
        f"{setting}={value[:100]!r} is not a universe domain: it must be a plain DNS name such as googleapis.com. "
        "Unset it, unless your organization uses another universe."
    )


def parse_base_url(value: str, api: str, insecure: InsecureHttp, setting: str = "base_url") -> Address:
    """Return a `base_url` without its trailing slash or method."""
    parts = _split(value, setting)
    if parts.scheme not in {"http", "https"}:
        raise ConfigurationError(
            f"{setting}={_shown(parts, value)!r} must begin with https:// (or http:// on localhost)."
        )
    host = _check_host(parts, setting, value)
    if parts.query or parts.fragment:
        raise ConfigurationError(
            f"{setting}={_shown(parts, value)!r} must be everything before {_CHAT}, without a query or fragment."
        )
    loopback = is_loopback(host)
    plain = parts.scheme == "http" and not loopback
    if plain:
        _check_plain(
            host, f"{setting}={_shown(parts, value)!r}", insecure, "the prompts and the access token"
        )
    path = parts.path.rstrip("/")
    methods = (_CHAT,) if api in {"chat", "auto"} else (":streamRawPredict", ":rawPredict", ":predict")
    for method in methods:
        path = path.removesuffix(method)
    if api in {"chat", "auto"}:
        # What people paste: another method of the same server.
        path = re.sub(r"(/v\d+)/(?:models|completions|chat|responses|embeddings)$", r"\1", path)
    return Address(f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}", loopback, plain)


def parse_endpoint_host(value: str, setting: str, insecure: InsecureHttp = False) -> Address:
    """Return the host (and port) of an endpoint, with its scheme only if that is `http`.

    What people paste is taken: a scheme before it, and the path that Vertex AI has, with the endpoint's name in it.
    """
    text = value.strip().rstrip("/")
    if "://" not in text:
        text = f"https://{_bracketed(text)}"
    parts = _split(text, setting)
    host = _check_host(parts, setting, value)
    path = _RESOURCE.fullmatch(parts.path) if parts.path else None
    if (parts.path and path is None) or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{setting}={_shown(parts, value)!r} must be a host name or address, without a path. A whole URL "
            "goes into base_url=."
        )
    resource = path[1] if path is not None else None
    loopback = is_loopback(host)
    if parts.scheme == "http":
        if not loopback:
            _check_plain(host, f"{setting}={_shown(parts, value)!r}", insecure, "the access token")
        return Address(f"http://{parts.netloc}", loopback, plain=not loopback, resource=resource)
    if parts.scheme != "https":
        raise ConfigurationError(f"{setting}={_shown(parts, value)!r}: leave the scheme out; it is https.")
    return Address(parts.netloc.lower(), loopback, resource=resource)


def parse_discovered_host(value: Any, universe_domain: str) -> str:
    """Return the host that the service names for an endpoint: a plain name below the service's own domains.

    It has been seen with `https://` before it.
    """
    host = value.lower().removeprefix("https://") if isinstance(value, str) else ""
    is_googles = host.endswith((".vertexai.goog", f".{universe_domain}"))
    if is_googles and len(host) <= 253 and _PLAIN_NAME.fullmatch(host):
        return host
    raise ConfigurationError(
        "The service names a host for the endpoint that is not Google's, so the token is not sent there: pass "
        f"endpoint_host= if it is right. It was {str(value)[:100]!r} (dedicatedEndpointDns)."
    )


def parse_emulator_host(value: str, setting: str) -> Address:
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
    loopback = is_loopback(host)
    if parts.scheme == "http" and not (loopback or _is_private(host)):
        raise ConfigurationError(
            f"{setting}={_shown(parts, value)!r}: an emulator is spoken to in plain http only on this machine or "
            "in a private network. Use an https:// address."
        )
    return Address(
        f"{parts.scheme}://{parts.netloc}", loopback, plain=parts.scheme == "http" and not loopback
    )


def _check_plain(host: str, setting: str, insecure: InsecureHttp, what: str) -> None:
    """Refuse plain http over a network, unless the user accepts the risk for a private one."""
    if not _is_private(host):
        raise ConfigurationError(
            f"{setting}: plain http would show {what} to the network. Use https://, or reach the server through "
            "localhost (a tunnel, a sidecar)."
        )
    if not insecure:
        raise ConfigurationError(
            f"{setting}: plain http would show {what} to the network. Use https:// or localhost; {_OPT_IN}"
        )


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        # A name without a dot is a container's or a cluster's; one of digits would be read as an address.
        short = "." not in name and name[:1].isalpha()
        return is_loopback(name) or short or name.endswith((*_PRIVATE_SUFFIXES, *_PSC_SUFFIXES))
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return False  # the metadata server is link-local
    return (
        address.is_private or address.is_loopback or (address.version == 4 and address in _SHARED_ADDRESSES)
    )


def _bracketed(text: str) -> str:
    """Put a bare IPv6 address into the brackets that URLs need."""
    try:
        return f"[{text}]" if ipaddress.ip_address(text).version == 6 else text
    except ValueError:
        return text


def _split(value: str, setting: str) -> SplitResult:
    if len(value) > _LONGEST:
        raise ConfigurationError(
            f"{setting} has {len(value):,} characters, more than an address has: {value[:60]!r}..."
        )
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
    # A letter of another script may be an ASCII one in lower case, and a port that is empty a second "https:".
    named = re.sub(r":[0-9]+$", "", parts.netloc.lower()) == (f"[{host}]" if ":" in host else host)
    if named and parts.netloc.isascii() and _is_host(host):
        return host
    raise ConfigurationError(f"{setting}={_shown(parts, value)!r}: {host!r} is not a host name.")


def _is_host(host: str) -> bool:
    if ":" in host or re.fullmatch(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", host):
        try:
            return bool(ipaddress.ip_address(host)) and "%" not in host
        except ValueError:
            return False
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _shown(parts: SplitResult, value: str) -> str:
    """Return `value` for an error text, without what may be a password (before `@`) or a key (after `?`)."""
    shown = value.partition("?")[0] + ("?..." if parts.query else "")
    shown = f"...@{shown.rpartition('@')[2]}" if "@" in shown else shown
    return shown if len(shown) <= 100 else f"{shown[:100]}..."
