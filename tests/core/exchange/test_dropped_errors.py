"""An error that is dropped is gone at once, and with it the client: its connections do not wait for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from kimi_vertex import APIError, KimiVertexClient

from ..support_core import RawServer, chunk, read_request, respond

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + chunk(content="Hi")
FAULTS: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "400": ("400 Bad Request", b"", {}),
    "404": ("404 Not Found", b"", {}),
    "500": ("500 Internal Server Error", b"", {}),
    "429, paced": ("429 Too Many Requests", b"", {}),
    "429, without a pace": ("429 Too Many Requests", b"", {"pace": None}),
    "a stream that is cut": ("", STREAM, {}),
    "a stream that fails": ("", STREAM + b'data: {"error": {"message": "x", "code": 500}}\n\n', {}),
    "a stream that is no JSON": ("", STREAM + b"data: {oops\n\n", {}),
}
MESSAGE = "Hi"


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch the collector off, so that only counting frees anything."""
    gc.disable()
    yield
    gc.enable()


def ask(client: KimiVertexClient, *, stream: bool) -> weakref.ref[APIError]:
    """Make a request that fails; drop its error."""
    try:
        if stream:
            for _ in client.stream(MESSAGE):
                pass
        else:
            client.complete(MESSAGE)
    except APIError as error:
        return weakref.ref(error)
    raise AssertionError("the server was meant to fail")


async def aask(client: KimiVertexClient, *, stream: bool) -> weakref.ref[APIError]:
    """The same on a loop, whose own frames hold the errors that leave it."""
    try:
        if stream:
            async for _ in client.astream(MESSAGE):
                pass
        else:
            await client.acomplete(MESSAGE)
    except APIError as error:
        return weakref.ref(error)
    raise AssertionError("the server was meant to fail")


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_holds_no_cycle(fault: str, stream: bool, asynchronous: bool) -> None:
    """No frame and no value of the request refers to the error that went through it."""
    status, answer, settings = FAULTS[fault]

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        if answer:
            connection.sendall(answer)
        else:
            respond(connection, status, b'{"error": {"message": "no"}}', "retry-after: 1000")

    with (
        RawServer(handle) as raw,
        KimiVertexClient(base_url=raw.base_url, model="kimi", max_retries=0, **settings) as client,
    ):
        dropped = asyncio.run(aask(client, stream=stream)) if asynchronous else ask(client, stream=stream)
        assert dropped() is None
