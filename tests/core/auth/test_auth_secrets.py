"""What a token source gives away about itself: pickles, copies, reprs, logs, and the texts of its errors."""

from __future__ import annotations

import json
import logging
import pickle
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.auth import impersonated_credentials
from google.oauth2.credentials import Credentials

from kimi_vertex import KimiVertexClient
from kimi_vertex._auth.tokens import TokenSource
from kimi_vertex.errors import ConfigurationError, CredentialsError
from kimi_vertex_emulator import Emulator, Raw

from .support_source import source_of

SECRET = "ya29.SECRET"
ACCOUNT = "agent@my-proj.iam.gserviceaccount.com"


def user(emulator: Emulator, **settings: Any) -> Credentials:
    return Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token="1//refresh",
        client_id="c",
        client_secret="s",
        token_uri=emulator.token_uri,
        **settings,
    )


def secret_token() -> Raw:
    return Raw([json.dumps({"access_token": SECRET, "expires_in": 3600}).encode()])


class Unpicklable:
    """Credentials of the user's own making that hold on to a lock."""

    def __init__(self) -> None:
        self.token, self.expiry = None, None
        self.lock = threading.Lock()

    def refresh(self, request: object) -> None: ...

    def apply(self, headers: dict[str, str]) -> None: ...


def test_pickled_settings(tmp_path: Path) -> None:
    """Application default credentials and a path travel in a client's pickle."""
    for given in (None, tmp_path / "key.json", str(tmp_path / "key.json")):
        client = KimiVertexClient(base_url="https://127.0.0.1:9/v1", audience="https://a", credentials=given)
        twin = pickle.loads(pickle.dumps(client))
        assert twin._credentials == client._credentials is not None


@pytest.mark.parametrize(
    "given",
    [
        {"access_token": SECRET},
        {"credentials": Credentials(SECRET)},  # type: ignore[no-untyped-call]
        {"credentials": {"type": "authorized_user", "client_secret": SECRET}},
        {"credentials": Unpicklable()},
    ],
    ids=["token", "object", "mapping", "foreign"],
)
def test_secrets_are_not_pickled(given: dict[str, Any]) -> None:
    """A pickle that would hold a secret is refused, with the ways out in the first 120 characters, without it."""
    with pytest.raises(ConfigurationError) as caught:
        pickle.dumps(KimiVertexClient(base_url="https://127.0.0.1:9/v1", **given))
    seen = str(caught.value)[:120]
    for way in ("application default credentials", "credentials=PATH", "build the model in the worker"):
        assert way in seen
    assert SECRET not in str(caught.value)


def test_the_callers_mapping_is_not_kept() -> None:
    """Later changes to an info mapping change nothing, and the mapping itself is never changed."""
    info = {"type": "authorized_user", "client_id": "c"}
    source = source_of(info)
    info["client_id"] = "other"
    assert source.settings.credentials["client_id"] == "c"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "TokenSource(application default credentials)"),
        ({"access_token": SECRET}, "TokenSource(static access token)"),
        ({"credentials": {"type": "service_account", "private_key": SECRET}}, "of type 'service_account')"),
        ({"credentials": Credentials(SECRET)}, "TokenSource(google.oauth2.credentials.Credentials)"),  # type: ignore[no-untyped-call]
    ],
)
def test_repr(given: dict[str, Any], shown: str) -> None:
    """The repr of a source and of its settings says what kind of credentials these are, and no secret."""
    source = source_of(**given)
    assert shown in repr(source)
    assert SECRET not in repr(source) + repr(source.settings)


def test_logs(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Even at DEBUG, the log says that a token was renewed, and nothing of the token."""
    emulator.enqueue(secret_token(), route="token")
    with caplog.at_level(logging.DEBUG, "kimi_vertex"):
        source_of(user(emulator)).headers()
    text = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("kimi_vertex.auth")
    )
    assert "access token renewed" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"credentials": {}, "access_token": "a"}, "Leave one out"),
        ({"access_token": ""}, "access_token is empty"),
        ({"access_token": f"{SECRET} b"}, "spaces"),
        ({"access_token": f"{SECRET}\r\nx-evil: 1"}, "line breaks"),
        ({"credentials": SECRET}, "Pass an access token as access_token="),
        ({"credentials": '{"type": "service_account"}'}, "json.loads"),
        ({"credentials": " "}, "empty string"),
        ({"credentials": 7}, "is a int"),
        ({"credentials": Credentials}, "Pass a google.auth credentials object"),
    ],
)
def test_bad_settings(settings: dict[str, Any], text: str) -> None:
    """What cannot be credentials is refused when the source is made, without repeating it."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        source_of(**settings)
    assert "SECRET" not in str(caught.value)


def test_asynchronous_credentials() -> None:
    """google-auth's asynchronous credentials are refused, with what to pass instead."""
    from google.auth.aio.credentials import StaticCredentials

    with pytest.raises(ConfigurationError, match="Pass ordinary ones"):
        source_of(StaticCredentials("t"))  # type: ignore[no-untyped-call]


def error_of(source: TokenSource) -> CredentialsError:
    with pytest.raises(CredentialsError) as caught:
        source.headers()
    assert caught.value.__cause__ is None
    return caught.value


def test_nothing_found() -> None:
    """Without any credentials the error names the command to run and the variable to set."""
    error = error_of(source_of())
    assert "gcloud auth application-default login" in error.message
    assert "GOOGLE_APPLICATION_CREDENTIALS" in error.message
    assert not error.is_retryable


@pytest.mark.parametrize(
    ("content", "text"), [(None, "There is no credentials file"), ("{", "is not JSON"), ("[]", "JSON object")]
)
def test_bad_file(content: str | None, text: str, tmp_path: Path) -> None:
    """The error names a file that is missing or is not a credentials file."""
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    assert text in error_of(source_of(path)).message
    assert str(path) in error_of(source_of(str(path))).message


@pytest.mark.parametrize(
    "info",
    [
        {"type": "nonsense"},
        {},
        {"type": "nonsense", 1: 2},
        {"type": "service_account", "private_key": SECRET},
    ],
)
def test_bad_info(info: Mapping[str, Any]) -> None:
    """An info mapping that google-auth cannot use is refused without its content."""
    error = error_of(source_of(info))
    assert "cannot be used" in error.message
    assert "SECRET" not in error.message


def test_odd_info_makes_a_client() -> None:
    """Making a client does not judge the mapping, whatever its keys are; the first request does."""
    KimiVertexClient("moonshotai/kimi-k2-thinking-maas", project="p", credentials={"type": "nonsense", 1: 2})


def test_login_expired(emulator: Emulator) -> None:
    """An expired login names the command to run, and is not worth a retry."""
    body = b'{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}'
    emulator.enqueue(Raw([body], status=400), route="token")
    error = error_of(source_of(user(emulator)))
    assert "Token has been expired or revoked" in error.message
    assert "run `gcloud auth application-default login`" in error.message
    assert not error.is_retryable


def test_unreachable_token_service(emulator: Emulator) -> None:
    """A token service that cannot be reached is worth a retry, and the error says so."""
    credentials = user(emulator)
    emulator.stop()
    error = error_of(source_of(credentials))
    assert "could not be reached" in error.message
    assert error.is_retryable


def test_impersonation_refused(emulator: Emulator) -> None:
    """A refused impersonation names the role that is missing."""
    emulator.enqueue(secret_token(), Raw([b'{"error": {"code": 403}}'], status=403), route="token")
    url = f"{emulator.origin}/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
    credentials = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        user(emulator), ACCOUNT, ["s"], iam_endpoint_override=url
    )
    assert "roles/iam.serviceAccountTokenCreator" in error_of(source_of(credentials)).message


def test_token_only_credentials_expired(emulator: Emulator) -> None:
    """Credentials that are only a token, and an expired one, are told apart from a failed login."""
    past = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=1)
    error = error_of(source_of(Credentials(SECRET, expiry=past)))  # type: ignore[no-untyped-call]
    assert "nothing but an access token that has expired" in error.message


def test_an_answer_with_secrets(emulator: Emulator) -> None:
    """A token service's odd answer is not repeated where it holds tokens."""
    body = json.dumps(
        {"id_token": "eyJa.SECRET.b", "refresh_token": "1//SECRETSECRET", "expires_in": 1}
    ).encode()
    emulator.enqueue(Raw([body]), Raw([f"Bad token={SECRET}".encode()], status=400), route="token")
    source = source_of(user(emulator))
    for _ in range(2):
        error = error_of(source)
        assert "SECRET" not in error.message + repr(error) + pickle.dumps(error).decode("latin-1")
