"""Where requests go: every form of a target, and its URLs."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_vertex.errors import ConfigurationError

from .support_target import DNS, EMULATOR, MANAGED, NAME, resolve

LONG_ID = "mg-endpoint-0b9d2b2c-3a58-4c6f-9a06-5d0f7b8f6d11"


URLS: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    (
        "global",
        {**MANAGED, "project": "my-proj"},
        {},
        "https://aiplatform.googleapis.com/v1/projects/my-proj/locations/global/endpoints/openapi/chat/completions",
    ),
    (
        "region",
        {**MANAGED, "project": "my-proj", "location": "us-east5"},
        {},
        (
            "https://us-east5-aiplatform.googleapis.com/v1/projects/my-proj/locations/us-east5/endpoints/openapi"
            "/chat/completions"
        ),
    ),
    (
        "multi-region",
        {**MANAGED, "project": "my-proj", "location": "eu"},
        {},
        "https://aiplatform.eu.rep.googleapis.com/v1/projects/my-proj/locations/eu/endpoints/openapi/chat/completions",
    ),
    (
        "environment",
        MANAGED,
        {"GOOGLE_CLOUD_PROJECT": "env-proj", "GOOGLE_CLOUD_LOCATION": "us"},
        "https://aiplatform.us.rep.googleapis.com/v1/projects/env-proj/locations/us/endpoints/openapi/chat/completions",
    ),
    (
        "arguments before environment",
        {**MANAGED, "project": "my-proj", "location": "global"},
        {"GOOGLE_CLOUD_PROJECT": "env-proj", "GOOGLE_CLOUD_LOCATION": "us"},
        "https://aiplatform.googleapis.com/v1/projects/my-proj/locations/global/endpoints/openapi/chat/completions",
    ),
    (
        "managed rawPredict",
        {**MANAGED, "project": "my-proj", "api": "rawPredict"},
        {},
        (
            "https://aiplatform.googleapis.com/v1/projects/my-proj/locations/global/publishers/moonshotai/models"
            "/kimi-k2-thinking-maas:rawPredict"
        ),
    ),
    (
        "resource name",
        {"endpoint": NAME},
        {},
        f"https://us-central1-aiplatform.googleapis.com/v1/{NAME}/chat/completions",
    ),
    (
        "resource name in the environment",
        {},
        {"KIMI_VERTEX_ENDPOINT": NAME, "GOOGLE_CLOUD_LOCATION": "global", "GOOGLE_CLOUD_PROJECT": "env-proj"},
        f"https://us-central1-aiplatform.googleapis.com/v1/{NAME}/chat/completions",
    ),
    (
        "project number in the name, project id given",
        {"endpoint": "projects/456789/locations/us-central1/endpoints/123", "project": "my-proj"},
        {},
        (
            "https://us-central1-aiplatform.googleapis.com/v1/projects/456789/locations/us-central1/endpoints/123"
            "/chat/completions"
        ),
    ),
    (
        "endpoint id of Model Garden",
        {"endpoint": LONG_ID, "project": "my-proj", "location": "europe-west4"},
        {},
        (
            f"https://europe-west4-aiplatform.googleapis.com/v1/projects/my-proj/locations/europe-west4/endpoints/{LONG_ID}"
            "/chat/completions"
        ),
    ),
    (
        "dedicated DNS",
        {"endpoint": NAME, "endpoint_host": DNS},
        {},
        f"https://{DNS}/v1/{NAME}/chat/completions",
    ),
    (
        "dedicated DNS alone",
        {"endpoint_host": DNS},
        {},
        f"https://{DNS}/v1/projects/456789/locations/us-central1/endpoints/123/chat/completions",
    ),
    (
        "private address",
        {"endpoint": NAME, "endpoint_host": "10.128.0.7:8443"},
        {},
        f"https://10.128.0.7:8443/v1/{NAME}/chat/completions",
    ),
    (
        "private IPv6 address",
        {"endpoint": NAME, "endpoint_host": "fd00::7"},
        {},
        f"https://[fd00::7]/v1/{NAME}/chat/completions",
    ),
    (
        "tunnel on this machine",
        {"endpoint": NAME, "endpoint_host": "http://localhost:9000"},
        {},
        f"http://localhost:9000/v1/{NAME}/chat/completions",
    ),
    (
        "endpoint predict",
        {"endpoint": NAME, "api": "predict"},
        {},
        f"https://us-central1-aiplatform.googleapis.com/v1/{NAME}:predict",
    ),
    (
        "emulated managed model",
        {},
        EMULATOR,
        "http://127.0.0.1:8080/v1/projects/emulator/locations/global/endpoints/openapi/chat/completions",
    ),
    (
        "emulated endpoint",
        {"endpoint": NAME, "endpoint_host": DNS},
        {"KIMI_VERTEX_EMULATOR_HOST": "http://emulator:8080/"},
        f"http://emulator:8080/v1/{NAME}/chat/completions",
    ),
    (
        "base_url before everything",
        {"base_url": "https://example.com/v1"},
        {**EMULATOR, "KIMI_VERTEX_ENDPOINT": NAME},
        "https://example.com/v1/chat/completions",
    ),
    (
        "base_url with a slash",
        {"base_url": "https://example.com/v1/"},
        {},
        "https://example.com/v1/chat/completions",
    ),
    (
        "base_url with the method",
        {"base_url": "https://example.com/v1/chat/completions/"},
        {},
        "https://example.com/v1/chat/completions",
    ),
    (
        "base_url of a path that only looks like the method",
        {"base_url": "https://example.com/my-chat/completions-proxy"},
        {},
        "https://example.com/my-chat/completions-proxy/chat/completions",
    ),
    (
        "base_url on localhost",
        {"base_url": "http://[::1]:8000/v1"},
        {},
        "http://[::1]:8000/v1/chat/completions",
    ),
    (
        "domain-scoped project",
        {**MANAGED, "project": "example.com:my-proj"},
        {},
        (
            "https://aiplatform.googleapis.com/v1/projects/example.com:my-proj/locations/global/endpoints/openapi"
            "/chat/completions"
        ),
    ),
]


@pytest.mark.parametrize(
    ("settings", "environ", "url"), [row[1:] for row in URLS], ids=[row[0] for row in URLS]
)
def test_url(settings: dict[str, Any], environ: dict[str, str], url: str) -> None:
    """Each combination of settings and environment leads to exactly one URL."""
    assert resolve(environ, **settings).url(stream=False) == url


def test_streaming_changes_only_raw_predict() -> None:
    """`rawPredict` has a method of its own for streams; chat completions and `predict` have not."""
    streamed = [resolve(endpoint=NAME, api=api).url(stream=True) for api in ("chat", "rawPredict", "predict")]
    assert [url.rpartition("123")[2] for url in streamed] == [
        "/chat/completions",
        ":streamRawPredict",
        ":predict",
    ]


def test_universe_domain() -> None:
    """Credentials of another universe lead to that universe's hosts, with and without a region."""
    world, region = resolve(**MANAGED, project="my-proj"), resolve(endpoint=NAME)
    assert world.url(stream=True, universe_domain="example.test").startswith(
        "https://aiplatform.example.test/"
    )
    assert region.discovery_url("example.test") == f"https://us-central1-aiplatform.example.test/v1/{NAME}"


def test_discovery() -> None:
    """An endpoint without a host asks for it once; what it learns decides the host and the payload limit."""
    unknown = resolve(endpoint=NAME)
    dedicated, shared = unknown.with_dedicated_dns(DNS), unknown.with_dedicated_dns("")
    assert [t.needs_discovery for t in (unknown, dedicated, shared)] == [True, False, False]
    assert [t.payload_limit for t in (unknown, dedicated, shared)] == [10 * 2**20, 10 * 2**20, 3 * 2**19]
    assert dedicated.url(stream=True).startswith(f"https://{DNS}/v1/")
    assert shared.url(stream=True).startswith("https://us-central1-aiplatform.googleapis.com/")


@pytest.mark.parametrize(
    ("settings", "environ", "needs"),
    [
        (MANAGED, {}, (True, True, False)),
        ({**MANAGED, "project": "my-proj"}, {}, (True, False, False)),
        ({"endpoint": "123", "location": "us-central1"}, {}, (True, True, True)),
        ({"endpoint": NAME, "endpoint_host": DNS}, {}, (True, False, False)),
        ({"endpoint": NAME}, EMULATOR, (False, False, False)),
        ({}, EMULATOR, (False, False, False)),
        ({"base_url": "https://example.com/v1"}, {}, (True, False, False)),
        ({"base_url": "http://127.0.0.1:8000/v1"}, {}, (False, False, False)),
        ({"base_url": "https://localhost/v1"}, {}, (False, False, False)),
    ],
)
def test_needs(settings: dict[str, Any], environ: dict[str, str], needs: tuple[bool, bool, bool]) -> None:
    """A target says what has to be found before it can be called: credentials, project, host."""
    target = resolve(environ, **settings)
    assert (target.needs_credentials, target.needs_project, target.needs_discovery) == needs


def test_project_of_the_credentials() -> None:
    """A target without a project takes the credentials' one, and says so until it has it."""
    target = resolve(**MANAGED)
    assert "(from the credentials)" in target.describe()
    with pytest.raises(ConfigurationError, match="GOOGLE_CLOUD_PROJECT"):
        target.url(stream=False)
    assert "/projects/their-proj/" in target.with_project("their-proj").url(stream=False)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {**MANAGED, "project": "my-proj"},
            "project my-proj, location global, model moonshotai/kimi-k2-thinking-maas",
        ),
        ({"endpoint": NAME}, "project my-proj, location us-central1, endpoint 123"),
        (
            {"base_url": "https://example.com/v1", "model": "kimi"},
            "base_url https://example.com/v1, model kimi",
        ),
    ],
)
def test_describe(settings: dict[str, Any], text: str) -> None:
    """An error text can name the place that a request went to."""
    assert resolve(**settings).describe() == text


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"endpoint": NAME, "endpoint_host": f"https://{DNS}/"}, DNS),
        ({"endpoint": NAME, "endpoint_host": f"https://{DNS}/v1"}, DNS),
        (
            {
                "endpoint_host": f"https://{DNS}/v1/projects/456789/locations/us-central1/endpoints/123:predict"
            },
            DNS,
        ),
        ({"endpoint_host": f"10.0.0.7/v1/{NAME}/chat/completions"}, "10.0.0.7"),
        ({"endpoint_host": "123.us-central1-my-proj.prediction.vertexai.goog"}, None),
    ],
)
def test_hosts_as_people_paste_them(settings: dict[str, Any], host: str | None) -> None:
    """A scheme, Vertex AI's path and a project's id are taken; with the id, the right host is looked up."""
    target = resolve(**settings)
    assert (target.endpoint_id, target.location, target.host) == ("123", "us-central1", host)
    assert target.needs_discovery is (host is None)


def test_everything_by_variable() -> None:
    """Each setting of a target has a variable; an argument wins, and hides the variables of other places."""
    environ = {
        "KIMI_VERTEX_BASE_URL": "https://kimi.example.com/v1",
        "KIMI_VERTEX_MODEL": "kimi",
        "KIMI_VERTEX_AUDIENCE": "https://kimi.example.com",
    }
    target = resolve(environ)
    assert (target.base_url, target.model, target.audience) == (
        "https://kimi.example.com/v1",
        "kimi",
        "https://kimi.example.com",
    )
    assert resolve({**environ, "KIMI_VERTEX_AUDIENCE": ""}, endpoint=NAME).base_url is None
    hosted = resolve(
        {"KIMI_VERTEX_ENDPOINT": NAME, "KIMI_VERTEX_ENDPOINT_HOST": DNS, "KIMI_VERTEX_API": "invoke"}
    )
    assert hosted.url(stream=True) == f"https://{DNS}/v1/{NAME}/invoke/v1/chat/completions"
    managed = {"KIMI_VERTEX_MODEL": MANAGED["model"]}
    assert resolve(managed, endpoint=NAME).model is None
    assert resolve(managed, base_url="https://example.com/v1").model is None
    assert resolve(managed, project="my-proj").model == MANAGED["model"]


ROUTES: list[tuple[dict[str, Any], list[str]]] = [
    (MANAGED, ["v1 chat", "v1beta1 chat"]),
    ({"endpoint": NAME}, ["v1 chat", "v1beta1 chat", "v1 rawPredict"]),
    ({"endpoint": NAME, "endpoint_host": DNS}, ["v1 chat", "v1beta1 chat", "v1 invoke", "v1 rawPredict"]),
    ({"endpoint": NAME, "api": "chat"}, ["v1 chat", "v1beta1 chat"]),
    ({"endpoint": NAME, "api": "predict"}, ["v1 predict"]),
    ({"base_url": "https://example.com/v1"}, ["v1 chat"]),
    ({"base_url": "https://example.com/v1/x:rawPredict"}, ["v1 rawPredict"]),
]


@pytest.mark.parametrize(("settings", "routes"), ROUTES)
def test_routes(settings: dict[str, Any], routes: list[str]) -> None:
    """Which ways to call a target are tried, and in which order; `predict` only if it is asked for."""
    assert [f"{version} {api}" for api, version in resolve(**settings).routes] == routes


@pytest.mark.parametrize(
    "host", ["10.1.2.3:80", "192.168.0.1:80", "[::1]:80", "emulator:80", "kimi.internal:80"]
)
def test_private_emulators(host: str) -> None:
    """An emulator may run on this machine or anywhere in a private network."""
    assert resolve({"KIMI_VERTEX_EMULATOR_HOST": host}).url(stream=True).startswith(f"http://{host}/v1/")


@pytest.mark.parametrize(
    ("settings", "environ", "model"),
    [
        ({"endpoint": NAME}, {}, None),
        ({"endpoint_host": DNS}, {}, None),
        ({}, {"KIMI_VERTEX_ENDPOINT": NAME}, None),
        ({"base_url": "https://example.com/v1"}, {}, None),
        ({"base_url": "https://example.com/v1", "model": ""}, {}, None),
        ({"base_url": "https://example.com/endpoints/openapi"}, {}, "moonshotai/kimi-k2-thinking-maas"),
        ({}, EMULATOR, "moonshotai/kimi-k2-thinking-maas"),
    ],
)
def test_who_may_go_without_a_model(settings: Any, environ: dict[str, str], model: str | None) -> None:
    """Servers of the user's own decide for themselves, and are not sent the managed model's name."""
    assert resolve(environ, **settings).model == model
