"""LangSmith: what its tracer sends of a run, caught by a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ModelPermissionDeniedError
from langchain_core.tools import BaseTool
from langchain_core.tracers import LangChainTracer
from langsmith import Client

from kimi_vertex_emulator import Emulator, Raw
from langchain_kimi_vertex import ChatKimiVertex


class Catcher(ThreadingHTTPServer):
    """Accepts everything, and keeps the bodies."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[str] = []

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of this name: what their beginning and their end have sent, joined."""
        joined: dict[str, dict[str, Any]] = {}
        for text in self.bodies:
            body = json.loads(text)
            joined.setdefault(body["id"], {}).update({key: value for key, value in body.items() if value})
        return [run for run in joined.values() if run["name"] == name]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def do_POST(self) -> None:
        assert isinstance(self.server, Catcher)
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(202)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_PATCH(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        pass


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    """The server in LangSmith's place."""
    with Catcher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tracer(catcher: Catcher) -> LangChainTracer:
    """LangSmith's tracer with its own client; one request for each run makes them readable."""
    host, port = catcher.server_address[:2]
    client = Client(api_url=f"http://{host!s}:{port}", api_key="unused", auto_batch_tracing=False)
    return LangChainTracer(client=client)


@pytest.mark.parametrize("streaming", [False, True])
def test_runs(
    model: ChatKimiVertex,
    population: BaseTool,
    question: dict[str, Any],
    catcher: Catcher,
    tracer: LangChainTracer,
    secret: str,
    streaming: bool,
) -> None:
    """The runs hold the thinking, the usage, the provider and the model, and no token."""
    agent: Any = create_agent(model, [population])
    if streaming:
        list(agent.stream(question, {"callbacks": [tracer]}, stream_mode="messages"))
    else:
        agent.invoke(question, {"callbacks": [tracer]})
    first, second = catcher.runs("ChatKimiVertex")
    assert "I look it up." in json.dumps(first["outputs"])
    assert "I look it up." in json.dumps(second["inputs"])
    message = second["outputs"]["generations"][0][0]["message"]["kwargs"]
    assert message["additional_kwargs"]["reasoning_content"] == "Found it."
    assert message["usage_metadata"]["total_tokens"] > 0
    metadata = first["extra"]["metadata"]
    assert (metadata["ls_provider"], metadata["ls_model_name"]) == (
        "kimi_vertex",
        "moonshotai/kimi-k2-thinking-maas",
    )
    assert secret not in "".join(catcher.bodies)


def test_errors(
    emulator: Emulator, model: ChatKimiVertex, catcher: Catcher, tracer: LangChainTracer, secret: str
) -> None:
    """A failed run holds the error's text, and still no token."""
    emulator.enqueue(Raw([b'{"error": {"code": 403, "message": "Not yours."}}'], status=403))
    with pytest.raises(ModelPermissionDeniedError, match="Not yours"):
        model.invoke("Hi", {"callbacks": [tracer]})
    [run] = catcher.runs("ChatKimiVertex")
    assert "Not yours." in run["error"]
    assert secret not in "".join(catcher.bodies)
