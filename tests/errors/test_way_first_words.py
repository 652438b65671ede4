"""Where there is no connection, certificate, proxy or login: the first 120 characters name host, variable and next step."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.oauth2.credentials import Credentials
from llama_index.core.llms import ChatMessage

from kimi_vertex import InvalidRequestError, KimiVertexClient, Message
from kimi_vertex_emulator import Emulator, Raw
from llama_index_kimi_vertex import KimiVertex

from .support_errors import ENDPOINT, SEEN, each_class, first_words

LOGIN = "gcloud auth application-default login"
AWAY = {"base_url": "https://kimi.example.com/v1", "model": "kimi", "access_token": "t", "max_retries": 0}


@pytest.fixture
def closed() -> int:
    """A port where no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@each_class
def test_no_emulator(ask: Any, closed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that does not run is to be started."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", f"127.0.0.1:{closed}")
    seen = first_words(ask, {"max_retries": 0})
    assert f"emulator at 127.0.0.1:{closed}" in seen
    assert f"python -m kimi_vertex_emulator --port {closed}" in seen


@each_class
def test_no_server(ask: Any, closed: int) -> None:
    """A refused connection names host and port, and the setting to look at."""
    seen = first_words(ask, {"base_url": f"http://127.0.0.1:{closed}/v1", "model": "kimi", "max_retries": 0})
    assert seen.startswith(f"Could not connect to 127.0.0.1:{closed}: is the server up, and base_url right?")


@each_class
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_no_proxy(ask: Any, closed: int, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not answer is named with its variable, without its password."""
    monkeypatch.setenv(variable, f"http://me:hunter2@127.0.0.1:{closed}")
    seen = first_words(ask, AWAY)
    assert f"through the proxy in {variable} (http://127.0.0.1:{closed})" in seen
    assert "check the variable" in seen
    assert "hunter2" not in seen


@pytest.fixture
def proxy() -> Iterator[Callable[[str], str]]:
    """Makes a proxy that answers each request for a tunnel with one status; gives its address."""
    with contextlib.ExitStack() as stack:

        def make(status: str) -> str:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        with server.accept()[0] as connection:
                            connection.recv(65536)
                            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

            threading.Thread(target=serve, daemon=True).start()
            return f"127.0.0.1:{server.getsockname()[1]}"

        yield make


@each_class
@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("407 Proxy Authentication Required", "wants a login: put user and password into the variable."),
        ("407 Nope", "wants a login: put user and password into the variable."),
        ("403 Forbidden", "refuses kimi.example.com: ask its administrator"),
        ("502 Bad Gateway", "cannot reach kimi.example.com: check the address"),
    ],
)
def test_a_proxy_that_refuses(
    ask: Any, proxy: Callable[[str], str], status: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that lets no connection through is named as the cause, with what its status means."""
    address = proxy(status)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter2@{address}")
    seen = first_words(ask, AWAY)
    assert seen.startswith(f"The proxy in HTTPS_PROXY (http://{address}) {words}")


@each_class
@pytest.mark.parametrize("address", ["htp://127.0.0.1:1", "socks5://127.0.0.1:1", "http://127.0.0.1:port"])
def test_no_usable_proxy(ask: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable that is none is named."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    seen = first_words(ask, AWAY)
    assert f"HTTPS_PROXY='{address}'" in seen


@each_class
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_no_certificates(ask: Any, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that names certificates which are not there is named."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(variable, "/nope/ca.pem")
    assert first_words(ask, AWAY) == f"{variable}='/nope/ca.pem': there is no such file. Correct or unset it."


@each_class
def test_certificates_that_are_none(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that names something else."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(
        Exception, match=r"^SSL_CERT_FILE=.*holds no certificate in PEM form. Correct or unset it"
    ):
        ask(AWAY, {})


@each_class
def test_no_login(ask: Any) -> None:
    """Without any login the command comes first."""
    seen = first_words(ask, {"endpoint": ENDPOINT, "max_retries": 0})
    assert seen.startswith(f"No Google login was found: run `{LOGIN}`")


def login(emulator: Emulator, **more: Any) -> Credentials:
    """A user's login whose tokens the emulator makes."""
    return Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri, **more
    )


@each_class
def test_an_expired_login(ask: Any, emulator: Emulator) -> None:
    """A login that has expired says so, with the command."""
    body = b'{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}'
    emulator.enqueue(Raw([body], status=400, headers={"content-type": "application/json"}), route="token")
    seen = first_words(ask, {"base_url": emulator.base_url, "credentials": login(emulator), "max_retries": 0})
    assert seen.startswith(f"Your Google login has expired or was revoked: run `{LOGIN}`.")


@each_class
def test_the_account_is_named(ask: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks a permission is named, where the credentials know it."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    body = b'{"error": {"code": 403, "message": "No.", "status": "PERMISSION_DENIED"}}'
    emulator.enqueue(Raw([body], status=403))
    seen = first_words(ask, {"credentials": login(emulator, account="ada@example.com"), "max_retries": 0})
    assert "grant roles/aiplatform.user to ada@example.com" in seen


def test_an_orphan_result() -> None:
    """A result without its call says what to send."""
    with pytest.raises(InvalidRequestError) as caught:
        KimiVertexClient(base_url="http://127.0.0.1:1/v1").complete(
            [Message("user", "Hi"), Message("tool", "5", tool_call_id="call_1")]
        )
    assert "send the assistant message with its tool calls" in str(caught.value)[:SEEN]


def test_a_function_is_no_tool() -> None:
    """LlamaIndex's tools are objects; a bare function says how it becomes one."""

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    model: Any = KimiVertex(base_url="http://127.0.0.1:1/v1")
    with pytest.raises(InvalidRequestError) as caught:
        model.chat_with_tools([add], user_msg=ChatMessage("Hi"))
    assert "wrap it with FunctionTool.from_defaults(add)" in str(caught.value)[:SEEN]
