"""Token sources: google-auth's real credential classes against the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import google.auth.transport.requests
import httpx
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.auth import identity_pool
from google.oauth2 import credentials, service_account

from kimi_vertex_emulator import Emulator, Raw

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def service(emulator: Emulator, folder: Path) -> Any:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    info = {
        "client_email": "a@p.iam.gserviceaccount.com",
        "private_key": pem,
        "token_uri": emulator.token_uri,
    }
    return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]


def user(emulator: Emulator, folder: Path) -> Any:
    return credentials.Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", token_uri=emulator.token_uri, client_id="c", client_secret="s"
    )


def federated(emulator: Emulator, folder: Path) -> Any:
    subject = folder / "subject"
    subject.write_text("subject-token")
    return identity_pool.Credentials(  # type: ignore[no-untyped-call]
        audience="//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url=f"{emulator.origin}/sts",
        credential_source={"file": str(subject)},
        scopes=SCOPES,
    )


def impersonating(emulator: Emulator, folder: Path) -> Any:
    subject = folder / "subject"
    subject.write_text("subject-token")
    account = "a@p.iam.gserviceaccount.com"
    return identity_pool.Credentials(  # type: ignore[no-untyped-call]
        audience="//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url=f"{emulator.origin}/sts",
        service_account_impersonation_url=f"{emulator.origin}/v1/projects/-/serviceAccounts/{account}:generateAccessToken",
        credential_source={"file": str(subject)},
        scopes=SCOPES,
    )


@pytest.mark.parametrize("make", [service, user, federated, impersonating])
def test_real_credentials_get_a_token(
    emulator: Emulator, tmp_path: Path, make: Callable[[Emulator, Path], Any]
) -> None:
    """Each credential class refreshes against the emulator, which remembers the token and its lifetime."""
    emulator.token_lifetime = 120
    found = make(emulator, tmp_path)
    with requests.Session() as session:
        found.refresh(google.auth.transport.requests.Request(session))
    assert found.token == emulator.issued_tokens[-1]
    left = found.expiry - datetime.now(UTC).replace(tzinfo=None)
    assert timedelta(seconds=100) < left <= timedelta(seconds=121)


def test_the_metadata_server_serves_default_credentials(emulator: Emulator) -> None:
    """In a process of its own google.auth.default() finds project, token and account on the emulator."""
    code = (
        "import google.auth, google.auth.transport.requests as t, json\n"
        "c, project = google.auth.default()\n"
        "c.refresh(t.Request())\n"
        "print(json.dumps([type(c).__name__, project, c.token, c.service_account_email, c.universe_domain]))\n"
    )
    hosts = {"GCE_METADATA_HOST": emulator.host, "GCE_METADATA_IP": emulator.host}
    kept = {name: value for name, value in os.environ.items() if name != "NO_GCE_CHECK"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **hosts}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kind, project, token, email, universe = json.loads(done.stdout)
    assert (kind, project, universe) == ("Credentials", "emulator", "googleapis.com")
    assert token == emulator.issued_tokens[-1]
    assert email.endswith("gserviceaccount.com")


def test_metadata_needs_its_header(emulator: Emulator, http: httpx.Client) -> None:
    """Without Metadata-Flavor the metadata server refuses, and it issues no token."""
    url = f"{emulator.origin}/computeMetadata/v1/instance/service-accounts/default/token"
    assert http.get(url).status_code == 403
    assert emulator.issued_tokens == []
    assert http.get(url, headers={"Metadata-Flavor": "Google"}).headers["metadata-flavor"] == "Google"


def test_tokens_differ_and_requests_are_counted(emulator: Emulator, http: httpx.Client) -> None:
    """Every grant gives a new token and stands in the journal."""
    form = {"grant_type": "refresh_token", "refresh_token": "r"}
    tokens = [http.post(emulator.token_uri, data=form).json()["access_token"] for _ in range(2)]
    assert tokens == emulator.issued_tokens
    assert len(set(tokens)) == 2
    assert [request.form["grant_type"] for request in emulator.requests] == ["refresh_token"] * 2


def test_an_unknown_grant_is_refused(emulator: Emulator, http: httpx.Client) -> None:
    """The token endpoint's own error shape names the problem."""
    response = http.post(emulator.token_uri, data={"grant_type": "password"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


def test_token_faults_can_be_scripted(emulator: Emulator, http: httpx.Client) -> None:
    """A raw answer for the token route hits the next token request and no chat call."""
    emulator.enqueue(Raw([b"{}"], status=503), route="token")
    form = {"grant_type": "refresh_token", "refresh_token": "r"}
    chat = {"model": "a/b", "messages": [{"role": "user", "content": "Hi"}]}
    statuses = [http.post(f"{emulator.base_url}/chat/completions", json=chat).status_code]
    statuses += [http.post(emulator.token_uri, data=form).status_code for _ in range(2)]
    assert statuses == [200, 503, 200]
