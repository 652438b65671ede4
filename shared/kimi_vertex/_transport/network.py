"""What stands between this machine and a server: proxies and certificates, as the environment and the user name them."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kimi_vertex.errors import ConfigurationError

__all__ = ["certificates", "proxy_of", "requests_verify", "set_proxies"]

_CA_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def certificates(ca_certs: str | None) -> ssl.SSLContext:
    """The certificates to trust: `ca_certs`, those that the environment names, or certifi's.

    Raises:
        ConfigurationError: A file or directory is not there, or holds no certificate; the text names the setting.
    """
    if ca_certs is not None:
        return ssl.create_default_context() if ca_certs == "system" else _context(ca_certs, "ca_certs")
    for variable in _CA_VARIABLES:
        if os.environ.get(variable):
            return _context(os.environ[variable], variable)
    import certifi  # noqa: PLC0415 - httpx's own default, loaded where it is needed

    return ssl.create_default_context(cafile=certifi.where())


def _context(path: str, source: str) -> ssl.SSLContext:
    place = Path(path).expanduser()
    wrong = "Correct it" if source == "ca_certs" else "Correct or unset it"
    if not place.exists():
        raise ConfigurationError(f"{source}={path[:200]!r}: there is no such file. {wrong}.")
    try:
        if place.is_dir():
            return ssl.create_default_context(capath=str(place))
        return ssl.create_default_context(cafile=str(place))
    except (OSError, ValueError) as error:
        why = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else str(error)
        raise ConfigurationError(f"{source}={path[:200]!r} cannot be used: {why}. {wrong}.") from None


def requests_verify(ca_certs: str | None) -> str | bool:
    """The same for requests, which fetches the tokens and has variables of its own.

    Raises:
        ConfigurationError: The file or directory that is named is not there.
    """
    if os.environ.get("REQUESTS_CA_BUNDLE") and ca_certs is None:
        path, source = os.environ["REQUESTS_CA_BUNDLE"], "REQUESTS_CA_BUNDLE"
    elif ca_certs == "system":
        found = ssl.get_default_verify_paths()
        return found.cafile or found.capath or True
    elif ca_certs is not None:
        path, source = ca_certs, "ca_certs"
    else:
        source = next((name for name in _CA_VARIABLES if os.environ.get(name)), "")
        if not source:
            return True
        path = os.environ[source]
    _context(path, source)
    return str(Path(path).expanduser())


def set_proxies() -> list[tuple[str, str]]:
    """The variables that name a proxy, with their values, passwords left out."""
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    return [(name, _shown(value)) for name in names if (value := os.environ.get(name))]


def proxy_of(url: str) -> str | None:
    """The proxy on the way to a URL as `VARIABLE (address)`, `None` if there is none."""
    from urllib.request import proxy_bypass  # noqa: PLC0415 - slow to load, and needed by errors only

    parts = urlsplit(url)
    host = parts.hostname or ""
    if proxy_bypass(host):
        return None
    wanted = (f"{parts.scheme}_proxy", "all_proxy")
    for kind in wanted:
        for name, value in set_proxies():
            if name.lower() == kind:
                return f"{name} ({value})"
    return None


def _shown(address: str) -> str:
    scheme, mark, rest = address.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else scheme.rpartition("@")[2]
