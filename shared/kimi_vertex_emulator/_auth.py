"""Where tokens come from: OAuth2 token endpoint, STS, impersonation and the metadata server.

Enough for google-auth's real credential classes; nothing is verified, the emulator keeps no secrets.
Protocols: https://developers.google.com/identity/protocols/oauth2/service-account,
https://cloud.google.com/iam/docs/reference/sts/rest, https://cloud.google.com/compute/docs/metadata.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from kimi_vertex_emulator._reply import Reply, body_reply, json_reply
from kimi_vertex_emulator._requests import Recorded

__all__ = ["issue"]

_GRANTS = ("urn:ietf:params:oauth:grant-type:jwt-bearer", "refresh_token")
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_EMAIL = "emulator@emulator.iam.gserviceaccount.com"
_IMPERSONATE = re.compile(r"/v1/projects/-/serviceAccounts/[^/]+:generateAccessToken")
_ACCOUNT = re.compile(r"instance/service-accounts/[^/]+/(?P<what>token|email|)")
_METADATA = "/computeMetadata/v1/"
_FLAVOR = {"metadata-flavor": "Google"}
_TEXTS = {
    "/": "computeMetadata/\n",
    "": "instance/\nproject/\nuniverse/\n",
    "project/project-id": "emulator",
    "project/numeric-project-id": "123456789012",
    "universe/universe-domain": "googleapis.com",
}

Issued: TypeAlias = tuple[Reply, str | None]
"""A reply of a token source, and the token in it, if any."""


def issue(request: Recorded, *, number: int, lifetime: int) -> Issued | None:
    """Answers a request to a token source with `emulator-token-NUMBER`; `None` if the path belongs to something else."""
    token, path = f"emulator-token-{number}", request.path
    if request.method == "GET" and (path == "/" or path.startswith(_METADATA)):
        return _metadata(request, token, lifetime)
    if request.method != "POST":
        return None
    if _IMPERSONATE.fullmatch(path):
        expires = datetime.now(UTC) + timedelta(seconds=lifetime)
        body = {"accessToken": token, "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return json_reply(body), token
    if path not in ("/token", "/sts"):
        return None
    form, issued = request.form, {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}
    if path == "/token":
        if form.get("grant_type") in _GRANTS and (form.get("assertion") or form.get("refresh_token")):
            return json_reply({**issued, "scope": _SCOPE}), token
        return _refused("invalid_grant", "The emulator knows JWT bearer and refresh token grants.")
    if form.get("grant_type") == _EXCHANGE and form.get("subject_token"):
        return json_reply({**issued, "issued_token_type": _ACCESS_TOKEN}), token
    return _refused("invalid_request", "A token exchange needs its grant_type and a subject_token.")


def _refused(error: str, description: str) -> Issued:
    return json_reply({"error": error, "error_description": description}, 400), None


def _metadata(request: Recorded, token: str, lifetime: int) -> Issued:
    if request.headers.get("metadata-flavor") != "Google":
        return _plain("Missing Metadata-Flavor:Google header.\n", 403), None
    path = request.path.removeprefix(_METADATA)
    match = _ACCOUNT.fullmatch(path)
    if match is None:
        return _plain(_TEXTS[path]) if path in _TEXTS else _plain("not found\n", 404), None
    if match["what"] == "token":
        return _json({"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}), token
    if match["what"] == "email":
        return _plain(_EMAIL), None
    recursive = parse_qs(request.query).get("recursive") == ["true"]
    account = {"aliases": ["default"], "email": _EMAIL, "scopes": [_SCOPE]}
    return _json(account) if recursive else _plain("aliases\nemail\nscopes\ntoken\n"), None


def _json(value: Any) -> Reply:
    return body_reply(json.dumps(value).encode(), "application/json", headers=_FLAVOR)


def _plain(text: str, status: int = 200) -> Reply:
    return body_reply(text.encode(), "application/text", status, _FLAVOR)
