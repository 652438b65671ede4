"""ID tokens for Cloud Run and IAP, made by google-auth's own credentials."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from google.auth import impersonated_credentials
from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account

from kimi_vertex import ConfigurationError, CredentialsError, KimiVertexClient
from kimi_vertex._auth.credentials import CredentialSettings
from kimi_vertex._auth.google import load
from kimi_vertex._secrets import Hidden
from kimi_vertex_emulator import Emulator, Raw

from ..support_core import JSON_HEAD, each_form, perform

AUDIENCE = "https://kimi-abc-uc.a.run.app"


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def id_token(name: str = "one") -> str:
    """An unsigned token in a JWT's form: google-auth reads when it expires."""
    return (
        f"{part({'alg': 'none', 'kid': name})}.{part({'aud': AUDIENCE, 'exp': int(time.time()) + 3600})}.c2ln"
    )


def claims(jwt: str) -> dict[str, Any]:
    middle = jwt.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return decoded


@each_form
def test_a_service_account_makes_them(account: dict[str, str], emulator: Emulator, form: str) -> None:
    """With `audience`, a server gets an ID token that was asked for with it; the token is asked for once."""
    token = id_token()
    emulator.enqueue(Raw([json.dumps({"id_token": token}).encode()], headers=JSON_HEAD), route="token")
    client = KimiVertexClient(base_url=emulator.base_url, credentials=account, audience=AUDIENCE)
    assert perform(client, form).error is None
    [asked] = [request for request in emulator.requests if request.path == "/token"]
    assert claims(asked.form["assertion"])["target_audience"] == AUDIENCE
    assert [request.bearer for request in emulator.chat_requests] == [token]


@each_form
def test_a_refused_one_is_replaced(account: dict[str, str], emulator: Emulator, form: str) -> None:
    """A 401 makes a new ID token, as with access tokens."""
    first, second = id_token("first"), id_token("second")
    for token in (first, second):
        emulator.enqueue(Raw([json.dumps({"id_token": token}).encode()], headers=JSON_HEAD), route="token")
    emulator.enqueue(Raw([b"{}"], status=401))
    client = KimiVertexClient(base_url=emulator.base_url, credentials=account, audience=AUDIENCE)
    assert perform(client, form).error is None
    assert [request.bearer for request in emulator.chat_requests] == [first, second]


def test_own_id_token_credentials_work_as_they_are(account: dict[str, str], emulator: Emulator) -> None:
    """google-auth's ID-token credentials are credentials like any other."""
    token = id_token()
    emulator.enqueue(Raw([json.dumps({"id_token": token}).encode()], headers=JSON_HEAD), route="token")
    own = service_account.IDTokenCredentials.from_service_account_info(account, target_audience=AUDIENCE)  # type: ignore[no-untyped-call]
    KimiVertexClient(base_url=emulator.base_url, credentials=own).complete("Hi")
    assert [request.bearer for request in emulator.chat_requests] == [token]


def login(emulator: Emulator) -> Any:
    return user_credentials.Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri
    )


def test_impersonated_credentials_make_them(emulator: Emulator) -> None:
    """Impersonated credentials ask the IAM service for an ID token of the account."""
    source = impersonated_credentials.Credentials(login(emulator), "agent@p.iam.gserviceaccount.com", ["s"])  # type: ignore[no-untyped-call]
    made = load(CredentialSettings.checked(Hidden(source), Hidden(None), audience=AUDIENCE)).credentials
    assert isinstance(made, impersonated_credentials.IDTokenCredentials)
    assert made._target_audience == AUDIENCE


@each_form
def test_a_users_login_cannot(emulator: Emulator, form: str) -> None:
    """A user's own login cannot make one, and the error says whose can."""
    client = KimiVertexClient(base_url=emulator.base_url, credentials=login(emulator), audience=AUDIENCE)
    error = perform(client, form).error
    assert isinstance(error, CredentialsError)
    assert (
        "use a service account's, or `gcloud auth application-default login --impersonate"
        in error.message[:130]
    )
    assert emulator.chat_requests == []


def test_a_token_and_an_audience_contradict_each_other() -> None:
    """A token that is given is not made, so an audience for it is a mistake."""
    with pytest.raises(ConfigurationError, match="audience and access_token are both given"):
        KimiVertexClient(base_url="https://kimi.example.com/v1", access_token="t", audience=AUDIENCE)


@each_form
def test_a_token_by_variable(emulator: Emulator, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`KIMI_VERTEX_ACCESS_TOKEN` is read for each request, sent to a `base_url`, and not to an emulator."""
    monkeypatch.setenv("KIMI_VERTEX_ACCESS_TOKEN", "tok-1")
    client = KimiVertexClient(base_url=emulator.base_url)
    client.complete("Hi")
    monkeypatch.setenv("KIMI_VERTEX_ACCESS_TOKEN", "tok-2")
    perform(client, form)
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    perform(KimiVertexClient(), form)
    assert [request.bearer for request in emulator.chat_requests] == ["tok-1", "tok-2", None]
    assert "tok-" not in repr(client.__getstate__())
