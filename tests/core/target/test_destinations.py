"""Where a request would go, for some 190 ways to write a host: where the setting plainly says, or nowhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Final

import pytest

from kimi_vertex._target.environment import Environment
from kimi_vertex._target.resolve import resolve_target
from kimi_vertex.errors import ConfigurationError

from .support_hosts import HOSTS, goes_to, said

NAME: Final = "projects/my-proj/locations/us-central1/endpoints/123"
SHARED: Final = {"aiplatform.googleapis.com", "us-central1-aiplatform.googleapis.com"}


def _base_url(host: str, insecure: Any) -> tuple[str, bool]:
    target = resolve_target(base_url=host, model="m", insecure_http=insecure, environment=Environment())
    return target.url(stream=True), target.needs_credentials


def _endpoint_host(host: str, insecure: Any) -> tuple[str, bool]:
    target = resolve_target(
        endpoint=NAME, endpoint_host=host, insecure_http=insecure, environment=Environment()
    )
    return target.url(stream=True), target.needs_credentials


def _emulator(host: str, insecure: Any) -> tuple[str, bool]:
    target = resolve_target(insecure_http=insecure, environment=Environment(emulator=host))
    return target.url(stream=True), target.needs_credentials


def _universe(host: str, _: Any) -> tuple[str, bool]:
    return resolve_target(endpoint=NAME, environment=Environment()).url(
        stream=True, universe_domain=host
    ), True


def _discovered(host: str, _: Any) -> tuple[str, bool]:
    return resolve_target(endpoint=NAME, environment=Environment()).with_dedicated_dns(host).url(
        stream=True
    ), True


WAYS: Final[dict[str, Callable[[str, Any], tuple[str, bool]]]] = {
    "base_url": _base_url,
    "endpoint_host": _endpoint_host,
    "emulator": _emulator,
    "universe": _universe,
    "discovered": _discovered,
}


@pytest.mark.parametrize("insecure", [False, True, "with_token"])
@pytest.mark.parametrize("scheme", ["", "https://", "http://"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_request_goes_where_the_setting_says(
    way: Callable[[str, Any], tuple[str, bool]], scheme: str, insecure: Any
) -> None:
    """A host is taken as it is written, or refused in words: it never becomes another one."""
    wrong = []
    for host in HOSTS:
        setting = scheme + host
        try:
            url, with_token = way(setting, insecure)
            went = goes_to(url)
        except ConfigurationError:
            continue
        if way is _universe:
            right = went == f"us-central1-aiplatform.{said(setting)}"
        else:
            right = went == said(setting) or (not setting and went in SHARED)
        if way is _discovered:
            right = right and (went in SHARED or went.endswith((".vertexai.goog", ".googleapis.com")))
        if url.startswith("http://") and with_token and not _is_loopback(went):
            right = right and insecure == "with_token"
        if not right:
            wrong.append((setting, url))
    assert wrong == []


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").endswith("localhost")


@pytest.mark.parametrize("way", [_base_url, _endpoint_host, _emulator])
def test_hosts_that_are_right_are_taken(way: Callable[[str, Any], tuple[str, bool]]) -> None:
    """The refusals do not go so far that a plain name, a port or an address could not be used."""
    plain = (
        "kimi.example.com",
        "KIMI.EXAMPLE.COM",
        "kimi.example.com:8443",
        "10.0.0.1",
        "[::1]:8000",
        "xn--a",
        "a_b.com",
    )
    for host in plain:
        url, _ = way(f"https://{host}", None)
        assert goes_to(url) == said(host)


@pytest.mark.parametrize("address", ["https://https://kimi.example.com/v1", "https://kimi.example.com:/v1"])
def test_an_empty_port_is_refused(address: str) -> None:
    """A scheme that is written twice would else lead to a host named "https"."""
    with pytest.raises(ConfigurationError, match="is not a host name"):
        resolve_target(base_url=address, environment=Environment())
