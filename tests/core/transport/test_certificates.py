"""Certificates of an authority of one's own: by setting, by variable, and the error without either."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kimi_vertex import APIConnectionError, ConfigurationError, KimiVertexClient
from kimi_vertex_emulator import Emulator

from ...emulator.test_record_tls import authority, behind_tls, signed
from ..support_core import each_form, perform

__all__ = ["authority"]

NAME = "projects/my-proj/locations/us-central1/endpoints/123"
Authority = tuple[Path, ssl.SSLContext]


def settings(origin: str, **more: Any) -> dict[str, Any]:
    return {"endpoint": NAME, "endpoint_host": origin, "access_token": "t", "max_retries": 0, **more}


def issued(folder: Path, name: str, days: int) -> Authority:
    """An authority's file, and a server's context with a certificate for a name that ends in so many days."""
    root_key, root = signed([])
    key, certificate = signed([x509.DNSName(name)], root_key, days=days)
    (folder / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@each_form
def test_a_setting(lenient_emulator: Emulator, authority: Authority, form: str) -> None:
    """`ca_certs` names the authority's file."""
    with behind_tls(lenient_emulator, authority[1]) as origin:
        client = KimiVertexClient(**settings(origin, ca_certs=authority[0]))
        assert perform(client, form).error is None


@each_form
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "KIMI_VERTEX_CA_CERTS"])
def test_a_variable(
    lenient_emulator: Emulator,
    authority: Authority,
    form: str,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So do OpenSSL's variable, and the library's own."""
    monkeypatch.setenv(variable, str(authority[0]))
    with behind_tls(lenient_emulator, authority[1]) as origin:
        assert perform(KimiVertexClient(**settings(origin)), form).error is None


@each_form
@pytest.mark.parametrize("more", [{}, {"ca_certs": "system"}], ids=["certifi", "system"])
def test_an_authority_that_is_not_known(
    lenient_emulator: Emulator, authority: Authority, form: str, more: dict[str, str]
) -> None:
    """Without it the connection is refused, and the first 120 characters say what to set."""
    with behind_tls(lenient_emulator, authority[1]) as origin:
        error = perform(KimiVertexClient(**settings(origin, **more)), form).error
    assert isinstance(error, APIConnectionError)
    assert "certificate is not trusted" in error.message[:120]
    assert "ca_certs=" in error.message[:160]
    assert lenient_emulator.requests == []


@each_form
def test_this_machine(lenient_emulator: Emulator, authority: Authority, form: str) -> None:
    """A certificate is checked on this machine, too, where a tunnel may end: it is trusted by setting, or not at all."""
    with behind_tls(lenient_emulator, authority[1]) as origin:
        at: dict[str, Any] = {"base_url": f"{origin}/v1", "access_token": "t", "max_retries": 0}
        assert perform(KimiVertexClient(**at, ca_certs=authority[0]), form).error is None
        error = perform(KimiVertexClient(**at), form).error
    assert isinstance(error, APIConnectionError)
    assert "certificate is not trusted" in error.message[:120]
    assert len(lenient_emulator.chat_requests) == 1


@each_form
@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        ("elsewhere.example.com", 1, "its certificate is for another name. Check endpoint_host"),
        ("localhost", -1, "its certificate has expired, or is not valid yet. Renew it"),
    ],
)
def test_a_certificate_that_is_trusted_and_wrong(
    lenient_emulator: Emulator, tmp_path: Path, form: str, name: str, days: int, words: str
) -> None:
    """One for another name, or one that has expired, is told from one that is not trusted."""
    root, context = issued(tmp_path, name, days)
    with behind_tls(lenient_emulator, context) as origin:
        error = perform(KimiVertexClient(**settings(origin, ca_certs=root)), form).error
    assert isinstance(error, APIConnectionError)
    assert words in error.message[:120]


@each_form
def test_http_to_a_server_with_tls(lenient_emulator: Emulator, authority: Authority, form: str) -> None:
    """A connection that breaks where http meets TLS is perhaps that."""
    with behind_tls(lenient_emulator, authority[1]) as origin:
        url = f"{origin.replace('https', 'http')}/v1"
        error = perform(KimiVertexClient(base_url=url, max_retries=0), form).error
    assert isinstance(error, APIConnectionError)
    assert "Or does it want https?" in error.message


@each_form
def test_a_server_without_tls(lenient_emulator: Emulator, form: str) -> None:
    """A server that speaks plain http behind an https address is told from a certificate."""
    error = perform(KimiVertexClient(**settings(f"https://{lenient_emulator.host}")), form).error
    assert isinstance(error, APIConnectionError)
    assert "does not speak TLS" in error.message[:120]


def test_an_own_client_has_its_own(authority: Authority) -> None:
    """An HTTP client of the user's checks certificates itself: `ca_certs` beside it is a mistake."""
    import httpx

    with httpx.Client() as own, pytest.raises(ConfigurationError, match="verify="):
        KimiVertexClient(**settings("https://localhost", ca_certs=os.fspath(authority[0]), http_client=own))
