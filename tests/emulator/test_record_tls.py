"""The recording proxy and an upstream behind TLS, as a real endpoint is: a certificate authority of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kimi_vertex import KimiVertexClient
from kimi_vertex_emulator import Call, Cassette, Emulator, Fault, Recorder, Turn

from .support_record import PROJECT, TOKEN, ask, recorded_by_command

ENDPOINT = "4815162342108"
MAIL = f"runner@{PROJECT}.iam.gserviceaccount.com"
PATH = f"/v1/projects/{PROJECT}/locations/us-central1/endpoints/{ENDPOINT}"
SECRETS = (TOKEN, PROJECT, ENDPOINT, MAIL, "runner@")


def signed(
    names: list[x509.GeneralName], signer: Any = None, issuer: str = "Tests", days: int = 1
) -> tuple[Any, Any]:
    """A key and its certificate, by an authority or by itself, which ends in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost" if signer else issuer)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    # From 3.13 on Python asks authorities and certificates for these.
    authority_key = (signer or key).public_key()
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False
    )
    usage = dict.fromkeys(
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement encipher_only "
        "decipher_only key_cert_sign crl_sign".split(),
        False,
    )
    usage |= {"key_cert_sign": True} if signer is None else {"digital_signature": True}
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, builder.sign(signer or key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """The authority's certificate as a file, and a server's context with one that it signed."""
    folder = tmp_path_factory.mktemp("tls")
    root_key, root = signed([])
    key, certificate = signed([x509.DNSName("localhost")], root_key)
    (folder / "ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


@contextlib.contextmanager
def behind_tls(emulator: Emulator, context: ssl.SSLContext) -> Iterator[str]:
    """A TLS port in front of an emulator; gives its origin."""
    host, _, port = emulator.host.partition(":")
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def run() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
        ready.set_result((asyncio.get_running_loop(), stop, server.sockets[0].getsockname()[1]))
        await stop.wait()
        server.close()
        await server.wait_closed()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    loop, stop, outer = ready.result(timeout=10)
    try:
        yield f"https://localhost:{outer}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture
def upstream(authority: tuple[Path, ssl.SSLContext]) -> Iterator[tuple[Emulator, str]]:
    """An emulator and the https origin in front of it."""
    with Emulator(require_token=True) as emulator, behind_tls(emulator, authority[1]) as origin:
        yield emulator, origin


@pytest.mark.parametrize("stream", [False, True])
def test_an_https_endpoint_is_recorded_and_replayed(
    upstream: tuple[Emulator, str], authority: tuple[Path, ssl.SSLContext], tmp_path: Path, stream: bool
) -> None:
    """Through TLS a client reads the same as from the cassette, which holds none of its secrets."""
    emulator, origin = upstream
    file = tmp_path / "capture.json"
    emulator.enqueue(
        Turn(thinking=list(f"I serve {PROJECT}"), text=["Write to run", f"ner@{PROJECT}", MAIL[21:], "."]),
        Turn(thinking="Look.", tool_calls=[Call("look", {"at": f"projects/{PROJECT}/endpoints/{ENDPOINT}"})]),
    )
    with (
        Recorder(origin, file, ca=authority[0]) as recorder,
        KimiVertexClient("a/b", base_url=recorder.origin + PATH, access_token=TOKEN) as kimi,
    ):
        live = [ask(kimi, f"{words} {PROJECT}", stream) for words in ("hello", "look")]
    assert {request.bearer for request in emulator.requests} == {TOKEN}
    assert (live[0].thinking, live[0].text) == (f"I serve {PROJECT}", f"Write to {MAIL}.")
    text = file.read_text("utf-8")
    assert [secret for secret in SECRETS if secret.lower() in text.lower()] == []
    with (
        Emulator(replay=file) as player,
        KimiVertexClient("a/b", base_url=player.origin + PATH, access_token=None) as kimi,
    ):
        replayed = [ask(kimi, f"{words} {PROJECT}", stream) for words in ("hello", "look")]
        player.verify()
    assert (replayed[0].thinking, replayed[0].text) == ("I serve PROJECT", "Write to EMAIL.")
    assert replayed[1].tool_calls[0].arguments == '{"at": "projects/PROJECT/endpoints/ENDPOINT"}'
    assert [turn.usage for turn in replayed] == [turn.usage for turn in live]


def test_a_stream_that_breaks_off_under_tls_leaves_no_half_of_a_secret(
    upstream: tuple[Emulator, str], authority: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    """Of a project that was being said when the connection broke, not even the beginning is kept."""
    emulator, origin = upstream
    file = tmp_path / "capture.json"
    said = ["I serve ", PROJECT[:5], PROJECT[5:9], PROJECT[9:], "."]
    emulator.enqueue(Fault("cut-mid", after=4, turn=Turn(text=said)))
    body = {"model": "m/k", "messages": [{"role": "user", "content": "x"}], "stream": True}
    recorder = Recorder(origin, file, ca=authority[0])
    headers = {"authorization": f"Bearer {TOKEN}"}
    with recorder, pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{recorder.origin}{PATH}/chat/completions", json=body, headers=headers)
    (item,) = Cassette.load(file).interactions
    assert item.cut
    text = file.read_text("utf-8")
    assert "I serve " in text
    assert PROJECT[:5] not in text


def test_a_certificate_that_nobody_vouches_for_is_refused(
    upstream: tuple[Emulator, str], tmp_path: Path
) -> None:
    """Without the authority's file no credential goes out, and the client is told."""
    emulator, origin = upstream
    with Recorder(origin, tmp_path / "c.json") as recorder:
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(f"{recorder.origin}{PATH}/chat/completions", json={}, headers=headers)
    assert answer.status_code == 502
    assert "ConnectError" in answer.text
    assert emulator.requests == []


def test_the_command_takes_the_authority(
    upstream: tuple[Emulator, str], authority: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    """`--ca FILE` lets the command record an https endpoint with a certificate of one's own."""
    emulator, origin = upstream
    emulator.enqueue(Turn(text="Hello!"))
    file = tmp_path / "capture.json"
    log = recorded_by_command(
        "--port", "0", "--record", str(file), "--target", origin + PATH, "--ca", str(authority[0])
    )
    assert [secret for secret in SECRETS if secret in log or secret in file.read_text("utf-8")] == []
