"""google-auth's real credential classes, each against the emulator's token services over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.auth import credentials as google_credentials
from google.auth import impersonated_credentials
from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account

from kimi_vertex._auth.tokens import TokenSource
from kimi_vertex.errors import CredentialsError
from kimi_vertex_emulator import Emulator, Raw

from .support_source import source_of

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TARGET = "agent@my-proj.iam.gserviceaccount.com"
Get = Callable[[TokenSource], dict[str, str]]


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest) -> Get:
    if request.param == "sync":
        return lambda source: source.headers()
    return lambda source: asyncio.run(source.aheaders())


@pytest.fixture
def key_file(account: dict[str, str], tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(account))
    return path


@pytest.fixture
def federation(emulator: Emulator, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "subject-token").write_text("their-jwt")
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/456/locations/global/workloadIdentityPools/pool/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{emulator.origin}/sts",
        "credential_source": {"file": str(tmp_path / "subject-token")},
    }


def user(emulator: Emulator, **settings: Any) -> user_credentials.Credentials:
    return user_credentials.Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri, **settings
    )


def impersonated(emulator: Emulator) -> impersonated_credentials.Credentials:
    return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        user(emulator),
        TARGET,
        [SCOPE],
        iam_endpoint_override=f"{emulator.origin}/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken",
    )


def claims(jwt: str) -> dict[str, Any]:
    part = jwt.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def paths(emulator: Emulator) -> list[str]:
    return [request.path for request in emulator.requests]


def test_service_account_info(get: Get, account: dict[str, str], emulator: Emulator) -> None:
    """A key's info is exchanged for a token with the cloud-platform scope."""
    assert get(source_of(account)) == {"authorization": "Bearer emulator-token-1"}
    [request] = emulator.requests
    assert claims(request.form["assertion"])["scope"] == SCOPE


@pytest.mark.parametrize("kind", [str, Path])
def test_service_account_file(get: Get, kind: type, key_file: Path, emulator: Emulator) -> None:
    """The path of a key file works like its content."""
    assert get(source_of(kind(key_file)))["authorization"] == "Bearer emulator-token-1"


def test_application_default(get: Get, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials, google-auth finds those of GOOGLE_APPLICATION_CREDENTIALS and they are scoped."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    assert get(source_of())["authorization"] == "Bearer emulator-token-1"


def test_service_account_object(get: Get, account: dict[str, str], emulator: Emulator) -> None:
    """A credentials object that still needs scopes gets them."""
    given = service_account.Credentials.from_service_account_info(account)  # type: ignore[no-untyped-call]
    assert get(source_of(given))["authorization"] == "Bearer emulator-token-1"
    assert claims(emulator.requests[0].form["assertion"])["scope"] == SCOPE


def test_self_signed_jwt(get: Get, account: dict[str, str], emulator: Emulator) -> None:
    """A service account that signs its own tokens, as google-auth lets it, asks no token endpoint."""
    given = service_account.Credentials.from_service_account_info(account)  # type: ignore[no-untyped-call]
    headers = get(source_of(given.with_always_use_jwt_access(True)))
    assert claims(headers["authorization"])["scope"] == SCOPE
    assert emulator.requests == []


def test_user(get: Get, emulator: Emulator) -> None:
    """A user's login is refreshed with its refresh token, and its quota project is sent."""
    headers = get(source_of(user(emulator, quota_project_id="quota-proj")))
    assert headers == {"authorization": "Bearer emulator-token-1", "x-goog-user-project": "quota-proj"}
    assert emulator.requests[0].form["grant_type"] == "refresh_token"


def test_quota_project(get: Get, account: dict[str, str], emulator: Emulator) -> None:
    """The quota project that google-auth's credentials were given is sent."""
    given = service_account.Credentials.from_service_account_info(account)  # type: ignore[no-untyped-call]
    assert get(source_of(given.with_quota_project("mine")))["x-goog-user-project"] == "mine"


@pytest.mark.parametrize("kind", ["info", "file", "default"])
def test_quota_project_of_the_environment(
    get: Get, account: dict[str, str], key_file: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GOOGLE_CLOUD_QUOTA_PROJECT` is sent for all credentials that are loaded here."""
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    given = {"info": account, "file": key_file, "default": None}[kind]
    assert get(source_of(given))["x-goog-user-project"] == "payer"


def test_pickled_path(get: Get, key_file: Path) -> None:
    """The other side of a pickle reads the file and gets a token of its own, although this side has one already."""
    source = source_of(key_file)
    other = TokenSource(pickle.loads(pickle.dumps(source.settings)))
    tokens = [get(each)["authorization"] for each in (source, other)]
    assert tokens == ["Bearer emulator-token-1", "Bearer emulator-token-2"]


def test_a_new_login_is_seen(get: Get, account: dict[str, str], key_file: Path, emulator: Emulator) -> None:
    """After a refused refresh the file is read again: whoever does what the error says need not restart."""
    emulator.enqueue(Raw([b'{"error": "invalid_grant"}'], status=400), route="token")
    source = source_of(key_file)
    with pytest.raises(CredentialsError, match="gcloud auth application-default login"):
        get(source)
    key_file.write_text(json.dumps({**account, "client_email": "new@key-proj.iam.gserviceaccount.com"}))
    assert get(source)["authorization"].startswith("Bearer emulator-token")
    assert claims(emulator.requests[-1].form["assertion"])["iss"] == "new@key-proj.iam.gserviceaccount.com"


def test_impersonation(get: Get, emulator: Emulator) -> None:
    """Impersonation takes two steps and sends the second one's token."""
    assert get(source_of(impersonated(emulator)))["authorization"] == "Bearer emulator-token-2"
    assert paths(emulator) == ["/token", f"/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"]


def test_workload_identity_federation(get: Get, federation: dict[str, Any], emulator: Emulator) -> None:
    """A foreign token is exchanged at the STS, and nothing else is asked: no project, no regions."""
    assert get(source_of(federation))["authorization"] == "Bearer emulator-token-1"
    assert paths(emulator) == ["/sts"]
    assert emulator.requests[0].form["subject_token"] == "their-jwt"


def test_federation_with_impersonation(get: Get, federation: dict[str, Any], emulator: Emulator) -> None:
    """Federation may go on to impersonate a service account."""
    url = f"{emulator.origin}/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"
    source = source_of({**federation, "service_account_impersonation_url": url})
    assert get(source)["authorization"] == "Bearer emulator-token-2"


def test_anonymous(get: Get) -> None:
    """Anonymous credentials send no token and are never refreshed."""
    assert get(source_of(google_credentials.AnonymousCredentials())) == {}  # type: ignore[no-untyped-call]


def test_static_token(get: Get) -> None:
    """A static token is sent as it is, without the line break and the word that users paste with it."""
    assert get(source_of(access_token="Bearer abc\n")) == {"authorization": "Bearer abc"}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_project_and_universe(asynchronous: bool, account: dict[str, str], emulator: Emulator) -> None:
    """`load` finds the project and the universe without asking for a token."""
    source = source_of({**account, "universe_domain": "example.test"})
    assert (source.project, source.universe_domain) == (None, "googleapis.com")
    if asynchronous:
        asyncio.run(source.aload())
    else:
        source.load()
    assert (source.project, source.universe_domain) == ("key-proj", "example.test")
    assert emulator.requests == []


def test_environment_project(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For application default credentials, GOOGLE_CLOUD_PROJECT goes before the key's project."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "env-proj")
    source = source_of()
    source.load()
    assert source.project == "env-proj"


def test_universe_of_a_static_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A static token does not say its universe; the environment does."""
    monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "example.test")
    assert source_of(access_token="abc").universe_domain == "example.test"


def test_metadata_server(emulator: Emulator, tmp_path: Path) -> None:
    """On Compute Engine, token, project and universe come from the metadata server."""
    script = (
        "from kimi_vertex._auth.credentials import CredentialSettings\n"
        "from kimi_vertex._auth.tokens import TokenSource\n"
        "source = TokenSource(CredentialSettings())\n"
        "source.load()\n"
        "print(source.headers()['authorization'], source.project, source.universe_domain)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NO_GCE_CHECK"}
    environment |= {
        "GCE_METADATA_HOST": emulator.host,
        "GCE_METADATA_IP": emulator.host,
        "HOME": str(tmp_path),
    }
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.stdout.split() == ["Bearer", "emulator-token-1", "emulator", "googleapis.com"], (
        result.stderr
    )
