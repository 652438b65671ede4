"""What the emulator keeps of requests: its page of exchanges, and cassettes."""

from __future__ import annotations

import json

from kimi_vertex_emulator._journal import Exchange
from kimi_vertex_emulator._requests import Recorded
from kimi_vertex_emulator.cassette import Interaction

ACCESS = "ya29.canary-access-token-0123456789"
REFRESH = "1//canary-refresh-token-0123456789"
CLIENT = "GOCSPX-canary-client-secret"
API_KEY = "AIzaCanary-api-key-0123456789-0123456789"
EXPRESS = "AQ.canary-express-key-0123456789"
ASSERTION = "eyJjYW5hcnk.canary-iap-assertion.c2lnbmVk"
COOKIE = "session=canary-cookie-0123456789"


def test_neither_keeps_a_secret() -> None:
    """The emulator's page and its cassettes have the names of headers and parameters, not the secrets in them."""
    words = f"{ACCESS} {REFRESH} {CLIENT} {API_KEY} {EXPRESS}"
    headers = {"x-goog-iap-jwt-assertion": ASSERTION, "cookie": COOKIE, "x-goog-api-key": API_KEY}
    body = json.dumps({"messages": [{"role": "user", "content": words}]}).encode()
    asked = Recorded("POST", "/v1/chat/completions", f"key={API_KEY}&access_token={ACCESS}", headers, body)
    shown = json.dumps({**Exchange(asked, 0.0).to_data()["request"], "body": None})
    kept = Interaction.of(asked, 200, {"content-type": "application/json"}, json.dumps(words).encode())
    secrets = (ACCESS, REFRESH, CLIENT, API_KEY, EXPRESS, ASSERTION, COOKIE)
    assert [secret for secret in secrets if secret in shown + repr(kept)] == []
