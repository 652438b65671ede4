"""What the tests of LlamaIndex's neighbors share: the LLM, a tool, and a server in another provider's place."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from llama_index.core.tools import FunctionTool
from pydantic import SecretStr

from kimi_vertex_emulator import Emulator
from llama_index_kimi_vertex import KimiVertex

SECRET = "ya29.hunter2"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let LlamaIndex and its neighbors use what is deprecated."""
    item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture
def llm(emulator: Emulator) -> KimiVertex:
    """An LLM for the strict emulator, with a token that must not be seen anywhere."""
    return KimiVertex(base_url=emulator.base_url, access_token=SecretStr(SECRET))


@pytest.fixture
def secret() -> str:
    """The LLM's access token."""
    return SECRET


@pytest.fixture
def population() -> FunctionTool:
    """A tool."""

    def population(city: str) -> str:
        """Inhabitants of a city."""
        return "700000"

    return FunctionTool.from_defaults(population)


class Provider(ThreadingHTTPServer):
    """Gives one answer to everything, and keeps what it is asked."""

    def __init__(self, answer: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = json.dumps(answer).encode()
        self.bodies: list[Any] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def do_POST(self) -> None:
        assert isinstance(self.server, Provider)
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        pass


@pytest.fixture
def provider() -> Iterator[Callable[[Any], Provider]]:
    """Starts a server that gives this answer."""
    started: list[tuple[Provider, threading.Thread]] = []

    def start(answer: Any) -> Provider:
        server = Provider(answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()
