"""What a client says of itself: where it asks, as whom, and what resources there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from kimi_vertex import (
    APIConnectionError,
    APIResponseError,
    CredentialsError,
    KimiVertexClient,
    Login,
    NotFoundError,
    unknown_variables,
)
from kimi_vertex_emulator import Emulator, Raw

ENDPOINT = "projects/acme/locations/us-central1/endpoints/1234567890"


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> KimiVertexClient:
    """A client of an emulated endpoint."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    return KimiVertexClient(endpoint=ENDPOINT)


def user(emulator: Emulator, **more: Any) -> Credentials:
    """A user's login whose tokens the emulator makes."""
    return Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri, **more
    )


def test_a_resource_is_got(client: KimiVertexClient) -> None:
    """`get` takes a resource's name and returns its JSON."""
    assert client.get(ENDPOINT)["name"] == ENDPOINT


def test_parameters_go_into_the_url(client: KimiVertexClient, emulator: Emulator) -> None:
    """Further arguments are the URL's query."""
    with pytest.raises(NotFoundError):
        client.get("projects/acme/locations/us-central1/nothing", pageToken="a b")
    assert emulator.requests[-1].query == "pageToken=a+b"


def test_a_servers_resources_are_below_its_base_url(emulator: Emulator) -> None:
    """For another server the path stands behind `base_url`."""
    with KimiVertexClient(base_url=f"{emulator.origin}/v1", model="kimi") as client:
        assert client.get("models")["object"] == "list"


def test_a_refusal_is_explained(client: KimiVertexClient, emulator: Emulator) -> None:
    """An error status is the same error, with the same advice, as that of a request to the model."""
    emulator.enqueue(
        Raw([b'{"error": {"code": 404, "message": "x", "status": "NOT_FOUND"}}'], status=404),
        route="endpoint",
    )
    with pytest.raises(NotFoundError, match=r"^No such endpoint: `gcloud ai endpoints list"):
        client.get(ENDPOINT)


def test_a_page_is_no_resource(client: KimiVertexClient, emulator: Emulator) -> None:
    """What is not JSON is named."""
    emulator.enqueue(Raw([b"<html>"], headers={"content-type": "text/html"}), route="endpoint")
    with pytest.raises(APIResponseError, match="not JSON but text/html"):
        client.get(ENDPOINT)


def test_a_dead_server_is_named() -> None:
    """A connection that fails says to where."""
    with (
        KimiVertexClient(base_url="http://127.0.0.1:9/v1", model="kimi") as client,
        pytest.raises(APIConnectionError, match=r"^Could not connect to 127.0.0.1:9"),
    ):
        client.get("models")


def test_a_refused_token_is_replaced_once(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 401 there is one more try with a new token."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    emulator.valid_tokens = ["emulator-token-2"]
    with KimiVertexClient(endpoint=ENDPOINT, credentials=user(emulator)) as client:
        assert client.get(ENDPOINT)["name"] == ENDPOINT


def test_a_login_is_described(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Account, quota project, scopes and end of the token are known once there is one."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials = user(emulator, account="ada@example.com", quota_project_id="billing", scopes=scopes)
    with KimiVertexClient(endpoint=ENDPOINT, credentials=credentials) as client:
        login = client.login()
    assert login is not None
    assert (login.account, login.quota_project) == ("ada@example.com", "billing")
    assert login.scopes == tuple(scopes)
    assert login.expires is not None
    assert login.expires > datetime.now(UTC)


def test_a_login_shows_no_secret(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a token nor a key is in what describes it."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    with KimiVertexClient(endpoint=ENDPOINT, credentials=user(emulator)) as client:
        assert emulator.issued_tokens == []
        shown = repr(client.login())
    assert emulator.issued_tokens[0] not in shown


def test_a_static_token_has_no_account(emulator: Emulator) -> None:
    """Of a token nothing is known but where it came from."""
    with KimiVertexClient(base_url=emulator.base_url, access_token="secret") as client:
        assert client.login() == Login("static access token", "access_token")


def test_without_credentials_there_is_no_login(client: KimiVertexClient) -> None:
    """Where none are needed none are looked for."""
    assert client.login() is None


def test_a_missing_login_is_an_error() -> None:
    """Where they are needed, it says what to run."""
    with (
        KimiVertexClient(endpoint=ENDPOINT) as client,
        pytest.raises(CredentialsError, match="No Google login"),
    ):
        client.login()


def test_a_place_is_known_as_far_as_it_can_be() -> None:
    """The host of an endpoint is found out by the first request, its name is known before."""
    place = KimiVertexClient(endpoint=ENDPOINT).place
    assert (place.kind, place.endpoint, place.url) == ("endpoint", ENDPOINT, None)


def test_a_place_names_the_url_and_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own host the URL is known, and what is on the way, without a password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy:3128")
    place = KimiVertexClient(endpoint=ENDPOINT, endpoint_host="10.0.0.3").place
    assert place.url == f"https://10.0.0.3/v1/{ENDPOINT}/chat/completions"
    assert place.proxy == "HTTPS_PROXY (http://proxy:3128)"


def test_misspelt_variables_are_found() -> None:
    """A variable that looks like the library's and is not one comes with what was meant."""
    assert unknown_variables({"KIMI_VERTEX_ENDPIONT": "1", "KIMI_VERTEX_MODEL": "kimi", "PATH": "/"}) == [
        ("KIMI_VERTEX_ENDPIONT", "KIMI_VERTEX_ENDPOINT")
    ]
