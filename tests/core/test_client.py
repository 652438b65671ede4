"""From settings to requests: targets, discovery, headers, limits, and what is refused before anything is sent."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kimi_vertex import (
    CLIENT_SETTINGS,
    ConfigurationError,
    InvalidRequestError,
    KimiVertexClient,
    NotFoundError,
    RateLimitError,
    RequestOptions,
    Timeouts,
)
from kimi_vertex import (
    client as client_module,
)
from kimi_vertex_emulator import Deployment, Emulator, Raw

from .support_core import FORMS, each_form, good, is_stream, perform

ENDPOINT = "projects/my-project/locations/us-central1/endpoints/42"
DEDICATED = "42.us-central1-7.prediction.vertexai.goog"


class Rerouted(httpx.HTTPTransport):
    """Carries requests for Google's hosts to an emulator, and notes where they were to go."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self._origin = httpx.URL(emulator.origin)
        self.urls: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(f"{request.method} {request.url}")
        origin = self._origin
        request.url = request.url.copy_with(scheme=origin.scheme, host=origin.host, port=origin.port)
        return super().handle_request(request)


@pytest.fixture
def route(lenient_emulator: Emulator) -> Iterator[Rerouted]:
    transport = Rerouted(lenient_emulator)
    yield transport
    transport.close()


@pytest.fixture
def google(route: Rerouted) -> Iterator[httpx.Client]:
    """An HTTP client for which the emulator is all of Google."""
    with httpx.Client(transport=route) as client:
        yield client


@pytest.fixture
def vertex(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    return emulator


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({}, "aiplatform.googleapis.com"),
        ({"location": "us-central1"}, "us-central1-aiplatform.googleapis.com"),
        ({"location": "eu"}, "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_managed_hosts(google: httpx.Client, route: Rerouted, settings: Any, host: str) -> None:
    """The location decides the host; the path is that of Google's OpenAI-compatible endpoint."""
    client = KimiVertexClient(
        "moonshotai/kimi-k2-thinking-maas",
        project="my-project",
        access_token="t",
        http_client=google,
        **settings,
    )
    client.complete("Hi")
    location = settings.get("location", "global")
    path = f"v1/projects/my-project/locations/{location}/endpoints/openapi/chat/completions"
    assert route.urls == [f"POST https://{host}/{path}"]


def test_the_dedicated_host_is_asked_for_once(
    lenient_emulator: Emulator, google: httpx.Client, route: Rerouted
) -> None:
    """The endpoint's own DNS name is looked up on the region's host, remembered, and used."""
    lenient_emulator.deployments = [Deployment(ENDPOINT, dns=DEDICATED)]
    client = KimiVertexClient(endpoint=ENDPOINT, access_token="t", http_client=google)
    client.complete("Hi")
    list(client.stream("Hi"))
    call = f"POST https://{DEDICATED}/v1/{ENDPOINT}/chat/completions"
    assert route.urls == [f"GET https://us-central1-aiplatform.googleapis.com/v1/{ENDPOINT}", call, call]
    assert all(r.bearer == "t" for r in lenient_emulator.requests)
    assert "model" not in lenient_emulator.chat_requests[0].json


def test_an_endpoint_without_a_host_of_its_own(google: httpx.Client, route: Rerouted) -> None:
    """An endpoint on the shared host is called there, and not looked up again."""
    client = KimiVertexClient(endpoint=ENDPOINT, access_token="t", http_client=google)
    client.complete("Hi")
    client.complete("Hi")
    shared = f"https://us-central1-aiplatform.googleapis.com/v1/{ENDPOINT}"
    assert route.urls == [f"GET {shared}", *[f"POST {shared}/chat/completions"] * 2]


def test_a_given_host_is_not_looked_up(google: httpx.Client, route: Rerouted) -> None:
    """With `endpoint_host` there is no lookup; a dedicated name says everything by itself."""
    KimiVertexClient(endpoint_host=DEDICATED, access_token="t", http_client=google).complete("Hi")
    assert route.urls == [
        f"POST https://{DEDICATED}/v1/projects/7/locations/us-central1/endpoints/42/chat/completions"
    ]


def test_a_lookup_that_is_not_allowed(
    lenient_emulator: Emulator, google: httpx.Client, route: Rerouted
) -> None:
    """Without the permission to read the endpoint the shared host is tried; the lookup is repeated next time."""
    lenient_emulator.enqueue(Raw([b"{}"], status=403), route="endpoint")
    lenient_emulator.enqueue(*[Raw([b"{}"], status=404)] * 3)
    client = KimiVertexClient(endpoint=ENDPOINT, access_token="t", http_client=google)
    with pytest.raises(
        NotFoundError, match=r"^The endpoint's own host could not be looked up .*pass endpoint_host="
    ):
        client.complete("Hi")
    lenient_emulator.deployments = [Deployment(ENDPOINT, dns=DEDICATED)]
    client.complete("Hi")
    assert [DEDICATED in url for url in route.urls] == [False, False, False, False, False, True]


@pytest.mark.usefixtures("short_jitter")
@pytest.mark.parametrize(
    "fault",
    [
        Raw([b"{}"], status=503, headers={"retry-after": "0"}),
        Raw([b'{"dedicatedEndpointDns": "', "cut"], headers={"content-type": "application/json"}),
    ],
    ids=["503", "cut"],
)
def test_a_lookup_that_fails_is_retried(
    lenient_emulator: Emulator, google: httpx.Client, route: Rerouted, fault: Raw
) -> None:
    """A lookup that breaks is tried again, and never mistaken for an endpoint without a host of its own."""
    lenient_emulator.deployments = [Deployment(ENDPOINT, dns=DEDICATED)]
    lenient_emulator.enqueue(fault, route="endpoint")
    KimiVertexClient(endpoint=ENDPOINT, access_token="t", http_client=google).complete("Hi")
    assert [url.partition(" ")[0] for url in route.urls] == ["GET", "GET", "POST"]
    assert DEDICATED in route.urls[-1]


@each_form
def test_the_emulator_stands_in_for_google(vertex: Emulator, form: str) -> None:
    """`KIMI_VERTEX_EMULATOR_HOST` redirects the managed service and endpoints, without credentials or lookup."""
    assert perform(KimiVertexClient(), form).text
    assert perform(KimiVertexClient(endpoint=ENDPOINT), form).text
    assert [(r.method, r.path, r.bearer) for r in vertex.requests] == [
        ("POST", "/v1/projects/emulator/locations/global/endpoints/openapi/chat/completions", None),
        ("POST", f"/v1/{ENDPOINT}/chat/completions", None),
    ]


@each_form
def test_raw_predict(vertex: Emulator, form: str) -> None:
    """`api="rawPredict"` posts the same body to `:rawPredict`, or `:streamRawPredict` for a stream."""
    assert perform(KimiVertexClient(endpoint=ENDPOINT, api="rawPredict"), form).text
    (request,) = vertex.requests
    assert request.path == f"/v1/{ENDPOINT}" + (":streamRawPredict" if is_stream(form) else ":rawPredict")
    assert request.json["messages"] == [{"role": "user", "content": "Hi"}]
    assert request.json.get("stream", False) is is_stream(form)


@each_form
def test_predict(vertex: Emulator, form: str) -> None:
    """`api="predict"` wraps the body as an instance and never asks for a stream; the answer is unwrapped."""
    outcome = perform(KimiVertexClient(endpoint=ENDPOINT, api="predict"), form, temperature=1.0)
    assert outcome.text
    (request,) = vertex.requests
    assert request.path == f"/v1/{ENDPOINT}:predict"
    assert request.headers["accept"] == "application/json"
    assert request.json == {
        "instances": [
            {
                "@requestFormat": "chatCompletions",
                "messages": [{"role": "user", "content": "Hi"}],
                "temperature": 1.0,
            }
        ]
    }


@pytest.mark.parametrize(
    ("form", "host", "limit"), [*[(form, None, 1.5) for form in FORMS], ("sync-whole", DEDICATED, 10.0)]
)
def test_payload_limits(vertex: Emulator, form: str, host: str | None, limit: float) -> None:
    """A body over the endpoint's limit is refused before it is sent, with both figures; one below is sent."""
    client = KimiVertexClient(endpoint=ENDPOINT, endpoint_host=host)
    size = int(limit * 1024 * 1024)
    error = perform(client, form, "x" * size).error
    assert isinstance(error, InvalidRequestError)
    assert f"{size:,}" in error.message
    assert "Shorten the conversation" in error.message
    assert vertex.requests == []
    vertex.enqueue(good(form))  # the emulator's brain would take its time to read that much
    assert perform(client, form, "x" * (size - 500)).text == "Hello"


def test_headers(emulator: Emulator) -> None:
    """Extra headers and the token travel with each call, and a call's own headers win."""
    client = KimiVertexClient(
        base_url=emulator.base_url,
        access_token="t",
        extra_headers={"X-Vertex-AI-LLM-Request-Type": "dedicated", "X-A": "client"},
    )
    client.complete("Hi", extra_headers={"x-a": "call"})
    client.close()
    headers = emulator.requests[0].headers
    assert headers["x-vertex-ai-llm-request-type"] == "dedicated"
    assert headers["authorization"] == "Bearer t"
    assert headers["x-a"] == "call"
    assert headers["user-agent"].startswith("kimi-vertex/")


@each_form
def test_a_missing_project_is_said_before_anything_is_sent(
    emulator: Emulator, route: Rerouted, form: str
) -> None:
    """Without a project in settings, environment and credentials there is one clear error and no request."""
    from google.oauth2.credentials import Credentials

    credentials = Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri
    )
    model = "moonshotai/kimi-k2-thinking-maas"
    for client in (
        KimiVertexClient(model, access_token="t"),
        KimiVertexClient(model, credentials=credentials),
    ):
        error = perform(client, form).error
        assert isinstance(error, ConfigurationError)
        assert "Pass project=, set GOOGLE_CLOUD_PROJECT" in error.message
    assert emulator.requests == []


def test_retired_models_are_warned_of_once(
    google: httpx.Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The managed model is past its announced date: one warning for the process, with what to do instead."""
    monkeypatch.setattr(client_module, "_warned_models", set())
    for _ in range(2):
        client = KimiVertexClient(
            "moonshotai/kimi-k2-thinking-maas", project="my-project", access_token="t", http_client=google
        )
        client.complete("Hi")
        client.complete("Hi", model="somebody/unknown")
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "2026-10-21" in warnings[0]


def test_the_emulator_retires_nothing(vertex: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """There is no such warning for an emulator, nor for weights that one deployed."""
    KimiVertexClient().complete("Hi")
    KimiVertexClient(endpoint=ENDPOINT, model="moonshotai/kimi-k2-thinking-maas").complete("Hi")
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"project": "Not A Project"}, "project"),
        ({"location": "Mars!"}, "location"),
        ({"endpoint": "projects/p"}, "endpoint"),
        ({"base_url": "http://example.com/v1"}, "http"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": "soon"}, "timeout is 'soon'"),
        ({"timeout": math.nan}, "timeout is nan"),
        ({"timeout": Timeouts(idle=-1)}, r"Timeouts\.idle is -1"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"max_retries": True}, "max_retries is True"),
        ({"max_retries": "2"}, "max_retries is '2'"),
        ({"max_retry_seconds": -1}, "max_retry_seconds"),
        ({"temperature": 3}, "temperature is 3"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"top_p": 0}, "top_p is 0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_tokens": 1.5}, "max_tokens is 1.5"),
        ({"empty_turn": "ignore"}, "empty_turn is 'ignore'.*'promote'"),
        ({"replay_thinking": "some"}, "replay_thinking"),
        ({"api": "grpc"}, "api"),
        ({"extra_headers": {"a b": "c"}}, "cannot be the name of an HTTP header"),
        ({"extra_headers": {"x-a": "secret\r\nx-b: 1"}}, "must be text in ASCII"),
        ({"extra_headers": {"x-a": "grüß"}}, "must be text in ASCII"),
        ({"extra_headers": {"x-a": 1}}, "must be text in ASCII"),
    ],
)
def test_bad_settings_are_refused_at_once(settings: Any, words: str) -> None:
    """A setting that makes no sense is refused by the constructor, by name, and without showing secrets."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        KimiVertexClient("moonshotai/kimi-k2-thinking-maas", **settings)
    assert "secret" not in str(caught.value)


def test_unknown_options_are_refused(emulator: Emulator) -> None:
    """A misspelt option of a call is an error that lists the known ones, not a field that is lost."""
    client = KimiVertexClient(base_url=emulator.base_url)
    with pytest.raises(ConfigurationError, match=r"no option 'temprature'.*temperature.*extra_body"):
        client.complete("Hi", temprature=1)  # type: ignore[call-arg]
    assert emulator.requests == []


def test_options_of_a_call_win(emulator: Emulator) -> None:
    """Options of the call override the client's, `None` leaves the client's, nothing else is sent."""
    client = KimiVertexClient(
        base_url=emulator.base_url, temperature=0.5, max_tokens=100, seed=7, extra_body={"top_k": 1, "a": 1}
    )
    client.complete("Hi", temperature=1.0, max_tokens=None, extra_body={"a": 2})
    client.close()
    body = dict(emulator.requests[0].json)
    del body["messages"], body["model"]
    assert body == {"temperature": 1.0, "max_tokens": 100, "seed": 7, "top_k": 1, "a": 2}


def test_a_timeout_of_the_call(emulator: Emulator) -> None:
    """A call's own timeout replaces the client's."""
    emulator.enqueue(Raw([5.0]))
    client = KimiVertexClient(base_url=emulator.base_url, max_retries=0, pace=None)
    with pytest.raises(Exception, match="stalled"):
        client.complete("Hi", timeout=0.1)


def test_provisioned_throughput_is_not_spilled(emulator: Emulator) -> None:
    """With the header for reserved capacity a 429 stays a 429 for the caller to see."""
    emulator.enqueue(Raw([b"{}"], status=429))
    client = KimiVertexClient(
        base_url=emulator.base_url,
        max_retries=0,
        pace=None,
        extra_headers={"X-Vertex-AI-LLM-Request-Type": "dedicated"},
    )
    with pytest.raises(RateLimitError):
        client.complete("Hi")


def test_the_constructor_documents_every_setting() -> None:
    """Each parameter of the client, and each option of a call that the client can preset, is documented."""
    documented = inspect.getdoc(KimiVertexClient) or ""
    missing = [name for name in CLIENT_SETTINGS if f"\n    {name}: " not in documented]
    assert missing == []
    assert "temperature" in RequestOptions.__annotations__


def test_the_settings_have_a_list() -> None:
    """`CLIENT_SETTINGS` names what the constructor takes, and a client can be built from it."""
    settings = dict.fromkeys(CLIENT_SETTINGS)
    assert {"model", "seed", "on_thinking", "http_async_client"} <= settings.keys()
    assert "self" not in settings
    inspect.signature(KimiVertexClient).bind(**settings)
