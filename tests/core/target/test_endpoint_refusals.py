"""What a target refuses: the text for everything that is wrong with one, and the addresses that no token goes to."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_vertex.errors import ConfigurationError

from .support_target import DNS, EMULATOR, MANAGED, NAME, resolve


@pytest.mark.parametrize(
    ("settings", "environ", "text"),
    [
        ({"project": "My Project"}, {}, r"project='My Project' is not .* `gcloud projects list`"),
        ({"project": "projects/my-proj"}, {}, r"Leave out the part projects/"),
        ({}, {"GOOGLE_CLOUD_PROJECT": "a b"}, r"GOOGLE_CLOUD_PROJECT='a b'"),
        ({"location": "us-central1-a"}, {}, r"is a zone. Use its region, us-central1"),
        ({"location": "US-Central1"}, {}, r"Did you mean 'us-central1'"),
        ({"location": "../../x"}, {}, r"not a Google Cloud location"),
        ({}, {"GOOGLE_CLOUD_LOCATION": "nowhere!"}, r"GOOGLE_CLOUD_LOCATION='nowhere!'"),
        ({"model": "kimi-k2-thinking-maas"}, {}, r"Did you mean moonshotai/kimi-k2-thinking-maas"),
        ({"model": "publishers/moonshotai/models/kimi-x"}, {}, r"Use moonshotai/kimi-x"),
        ({"model": ""}, {}, r"publisher/model"),
        ({"api": "generate"}, {}, r'must be "chat", "rawPredict" or "predict"'),
        ({**MANAGED, "api": "predict"}, {}, r"pass endpoint="),
        ({"endpoint": "123"}, {}, r"needs the region.*pass location="),
        ({"endpoint": "123", "location": "global"}, {}, r"needs the region"),
        ({"endpoint": "openapi", "location": "us-central1"}, {}, r"managed service's own path"),
        ({"endpoint": "a/b"}, {}, r"projects/PROJECT/locations/REGION/endpoints/ID"),
        ({"endpoint": "projects/p/locations/../endpoints/1"}, {}, r"its location"),
        ({"endpoint": DNS, "location": "us-central1"}, {}, r"pass it as endpoint_host="),
        ({"endpoint": f"https://{DNS}/v1"}, {}, r"the URL as base_url="),
        ({}, {"KIMI_VERTEX_ENDPOINT": "x/y"}, r"KIMI_VERTEX_ENDPOINT='x/y'"),
        (
            {"endpoint": NAME, "location": "us-east5"},
            {},
            r"in location us-central1, but location is 'us-east5'",
        ),
        ({"endpoint": NAME, "project": "other-proj"}, {}, r"in project my-proj, but project is 'other-proj'"),
        ({"endpoint_host": "10.0.0.1"}, {}, r"does not say which endpoint"),
        ({"endpoint": "99", "location": "us-central1", "endpoint_host": DNS}, {}, r"serves endpoint 123"),
        ({"endpoint": NAME, "endpoint_host": f"https://{DNS}/predict"}, {}, r"without a path"),
        (
            {"endpoint": NAME, "endpoint_host": "http://10.0.0.1"},
            {},
            r"plain http would show the access token",
        ),
        ({"endpoint": NAME, "endpoint_host": "exa mple.com"}, {}, r"spaces"),
        ({"base_url": "localhost:8000/v1"}, {}, r"must begin with https://"),
        ({"base_url": ""}, {}, r"must begin with https://"),
        ({"base_url": "ftp://example.com"}, {}, r"must begin with https://"),
        ({"base_url": "https:///v1"}, {}, r"no host name"),
        ({"base_url": "https://example.com/v1?key=1"}, {}, r"without a query"),
        ({"base_url": "http://example.com/v1"}, {}, r"plain http"),
        ({"base_url": "http://10.0.0.1/v1"}, {}, r"plain http"),
        ({"base_url": "http://localhost.example.com/v1"}, {}, r"plain http"),
        ({"base_url": "http://example.com\\.localhost/v1"}, {}, r"not a host name"),
        ({"base_url": "https://example.com:port/v1"}, {}, r"not a valid address"),
        ({"base_url": "https://example.com/v1\n"}, {}, r"control characters"),
        (
            {},
            {"KIMI_VERTEX_EMULATOR_HOST": "http://example.com:80"},
            r"only on this machine or in a private network",
        ),
        ({}, {"KIMI_VERTEX_EMULATOR_HOST": "localhost:80/v1"}, r'must be "host:port"'),
    ],
)
def test_refusals(settings: dict[str, Any], environ: dict[str, str], text: str) -> None:
    """Whatever is wrong with a setting is refused, with its name and what to write instead."""
    with pytest.raises(ConfigurationError, match=text):
        resolve(environ, **settings)


@pytest.mark.parametrize(
    "base_url", ["https://me:hunter2@example.com/v1", "me:hunter2@example.com", "ftp://me:hunter2@x"]
)
def test_a_password_is_not_repeated(base_url: str) -> None:
    """A base_url with a password in it is refused without showing the password."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(base_url=base_url)
    assert "hunter2" not in str(caught.value)


PSC = "psc-kimi.p.googleapis.com"


OPTED_IN: list[tuple[dict[str, Any], str]] = [
    ({"base_url": "http://10.0.0.3:8000/v1"}, "http://10.0.0.3:8000/v1/chat/completions"),
    ({"base_url": "http://[fd00::7]:8000/v1"}, "http://[fd00::7]:8000/v1/chat/completions"),
    ({"base_url": "http://vllm:8000/v1"}, "http://vllm:8000/v1/chat/completions"),
    (
        {"base_url": "http://vllm.kimi.svc.cluster.local/v1"},
        "http://vllm.kimi.svc.cluster.local/v1/chat/completions",
    ),
    ({"base_url": "http://100.64.1.2/v1"}, "http://100.64.1.2/v1/chat/completions"),
    ({"endpoint": NAME, "endpoint_host": "http://10.0.0.3"}, f"http://10.0.0.3/v1/{NAME}/chat/completions"),
    ({"endpoint": NAME, "endpoint_host": f"http://{PSC}"}, f"http://{PSC}/v1/{NAME}/chat/completions"),
]


@pytest.mark.parametrize(("settings", "url"), OPTED_IN)
def test_plain_http_on_an_opt_in(settings: dict[str, Any], url: str) -> None:
    """A private address is reached over http if the user says so; no credentials are then looked for, unless told."""
    with pytest.raises(ConfigurationError, match=r"plain http would show .*insecure_http=True"):
        resolve(**settings)
    target = resolve(**settings, insecure_http=True)
    assert (target.url(stream=True), target.needs_credentials) == (url, False)
    with pytest.raises(ConfigurationError, match=r'insecure_http="with_token"'):
        target.check_token()
    told = resolve({"KIMI_VERTEX_INSECURE_HTTP": "with_token"}, **settings)
    told.check_token()
    assert told.needs_credentials


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "8.8.8.8",
        "169.254.169.254",
        "metadata.google.internal.evil.com",
        "2130706433",
        "0.0.0.0",
    ],
)
def test_plain_http_never_to_a_public_address(host: str) -> None:
    """The opt-in is for private networks; a public name, the metadata server and numbers in disguise stay refused."""
    with pytest.raises(ConfigurationError):
        resolve(base_url=f"http://{host}/v1", insecure_http="with_token")


WRONG_UNIVERSES = (
    *(
        "evil.com/",
        "evil.com#",
        "@evil.com",
        "evil.com:443",
        "evil.com?x",
        "evil.com/x",
        "evil .com",
        "evil.com\n",
    ),
    *(
        "ev\u0456l.com",
        "com",
        "",
        "127.0.0.1",
        ".evil.com",
        "evil..com",
        "-evil.com",
        "a" * 250 + ".com",
        "evil.com\\",
    ),
)


@pytest.mark.parametrize("universe", WRONG_UNIVERSES)
def test_a_universe_is_a_plain_name(universe: str) -> None:
    """What would make another host of a universe's name is refused before a URL is made of it."""
    target = resolve(endpoint=NAME)
    with pytest.raises(ConfigurationError, match="plain DNS name"):
        target.url(stream=True, universe_domain=universe)
    with pytest.raises(ConfigurationError, match="plain DNS name"):
        target.discovery_url(universe)


@pytest.mark.parametrize(
    "dns",
    [
        *(
            "http://localhost:9",
            "localhost",
            "evil.com",
            "x.vertexai.goog.evil.com",
            "vertexai.goog",
            5,
            ["x"],
            {"a": 1},
        ),
        *(
            "x.prediction.vertexai.goog/evil",
            "x.prediction.vertexai.goog:443",
            "evil.com#.vertexai.goog",
            "a b.vertexai.goog",
        ),
        *("10.0.0.1", "[::1]", "x@y.vertexai.goog", "\u0456.vertexai.goog", "x" * 300 + ".vertexai.goog"),
    ],
)
def test_a_discovered_host_is_the_service_s(dns: Any) -> None:
    """A lookup that names a host elsewhere, or none, is refused: the token is not sent there."""
    with pytest.raises(ConfigurationError, match="pass endpoint_host="):
        resolve(endpoint=NAME).with_dedicated_dns(dns)


def test_a_discovered_host_with_its_scheme() -> None:
    """A lookup may name the host as an address; what counts is the host."""
    found = resolve(endpoint=NAME).with_dedicated_dns("https://1.us-central1-2.prediction.vertexai.goog")
    assert found.url(stream=True).startswith("https://1.us-central1-2.prediction.vertexai.goog/v1/")


@pytest.mark.parametrize(
    "host", ["[::1]evil.com", "[::1", "::1]", "[fe80::1%25eth0]", "a..b", "1.2.3", "0x7f.1", "x" * 64 + ".de"]
)
@pytest.mark.parametrize("form", ["https://{}/v1", "http://{}/v1"])
def test_addresses_that_are_none(host: str, form: str) -> None:
    """Broken literals and numbers in disguise are refused wherever a host is named."""
    for settings, environ in (
        ({"base_url": form.format(host)}, {}),
        ({"endpoint": NAME, "endpoint_host": form.format(host)[:-3]}, {}),
        ({}, {"KIMI_VERTEX_EMULATOR_HOST": form.format(host)[:-3]}),
    ):
        with pytest.raises(ConfigurationError):
            resolve(environ, **settings)


@pytest.mark.parametrize("value", [b"x", ["x"], 1.5, True])
@pytest.mark.parametrize("name", ["model", "project", "location", "endpoint", "endpoint_host", "base_url"])
def test_settings_of_another_type(name: str, value: Any) -> None:
    """A setting that is not text is refused by its name."""
    with pytest.raises(ConfigurationError, match=f"^{name} is a {type(value).__name__}"):
        resolve(**{name: value})


def test_a_token_does_not_go_to_an_emulator_elsewhere() -> None:
    """A token that the user gives is not sent over plain http to an emulator on another machine."""
    environ = {"KIMI_VERTEX_EMULATOR_HOST": "10.0.0.1:80"}
    with pytest.raises(ConfigurationError, match="is another machine"):
        resolve(environ).check_token()
    resolve(EMULATOR).check_token()
    resolve({"KIMI_VERTEX_EMULATOR_HOST": "https://emulator.example.com"}).check_token()


@pytest.mark.parametrize(
    ("settings", "environ"),
    [
        ({}, {}),
        ({"project": "my-proj", "location": "us-central1"}, {}),
        ({"endpoint": "", "endpoint_host": ""}, {}),
        ({"api": "predict"}, {}),
        ({}, {"GOOGLE_CLOUD_PROJECT": "env-proj", "GOOGLE_CLOUD_LOCATION": "us", "KIMI_VERTEX_ENDPOINT": ""}),
    ],
)
def test_no_model_without_a_word(settings: dict[str, Any], environ: dict[str, str]) -> None:
    """Where nothing says which model is meant, the first 120 characters show how an endpoint is named, and where."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(environ, **settings)
    seen = str(caught.value)[:120]
    assert "endpoint=" in seen
    assert "KIMI_VERTEX_ENDPOINT" in seen
