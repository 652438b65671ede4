"""The emulator as an HTTP server: framing, connections, faults and its life cycle."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import ChatRequest, Emulator, Fault, Raw, Turn

from .support_http import PLAIN

CHAT = "/v1/projects/p/locations/global/endpoints/openapi/chat/completions"
BODY = {"model": "moonshotai/kimi-k2-thinking-maas", "messages": [{"role": "user", "content": "Hi"}]}


def test_it_starts_about_as_fast_as_a_bare_server() -> None:
    """Start and stop take less than ten times what a thread with a bare asyncio server takes; the best of ten each."""

    async def serve(started: threading.Event) -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        started.set()
        server.close()
        await server.wait_closed()

    def bare() -> None:
        started = threading.Event()
        thread = threading.Thread(target=asyncio.run, args=(serve(started),))
        thread.start()
        thread.join()

    def seconds(run: Callable[[], object]) -> float:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    pairs = [(seconds(bare), seconds(lambda: Emulator().start().stop())) for _ in range(10)]
    assert min(ours for _, ours in pairs) < 10 * min(theirs for theirs, _ in pairs)


def test_stop_leaves_nothing_behind(http: httpx.Client) -> None:
    """After stop there is no thread and the port is closed, even with a client connected and an answer under way."""
    before = set(threading.enumerate())
    with Emulator() as emulator:
        host, _, port = emulator.host.partition(":")
        http.post(emulator.origin + CHAT, json=BODY)
        emulator.enqueue(Raw([b"data: {}\n\n", 60.0]))
        with http.stream("POST", emulator.origin + CHAT, json=BODY) as response:
            pieces = response.iter_raw()  # dropping the iterator would close the response
            assert next(pieces) == b"data: {}\n\n"
            emulator.stop()
            with pytest.raises(httpx.TransportError):
                next(pieces)
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    gc.collect()  # a socket or transport left open would now warn, and warnings are errors


def test_it_can_be_started_again() -> None:
    """A stopped emulator starts again."""
    emulator = Emulator()
    for _ in range(2):
        with emulator:
            assert emulator.host.startswith("127.0.0.1:")


def test_a_taken_port_is_reported_to_the_caller() -> None:
    """A port in use raises OSError from start()."""
    with Emulator() as emulator, pytest.raises(OSError, match="address already in use"):
        Emulator(port=int(emulator.host.partition(":")[2])).start()


def test_a_stopped_emulator_has_no_address() -> None:
    """Asking for the address of an emulator that does not run says what to do."""
    with pytest.raises(RuntimeError, match="start"):
        _ = Emulator().origin


def test_every_reply_says_that_it_comes_from_an_emulator(emulator: Emulator, http: httpx.Client) -> None:
    """Answers, errors and tokens carry the emulator's header."""
    replies = [http.post(emulator.origin + CHAT, json=BODY), http.get(emulator.origin + "/nowhere")]
    replies.append(http.post(emulator.token_uri, data={"grant_type": "refresh_token", "refresh_token": "r"}))
    assert [reply.headers["x-kimi-vertex-emulator"] for reply in replies] == ["1", "1", "1"]


def test_connections_are_kept_alive(emulator: Emulator, http: httpx.Client) -> None:
    """Several calls, streamed and whole, share one connection."""
    for stream in (False, True, False):
        http.post(emulator.origin + CHAT, json={**BODY, "stream": stream})
    assert emulator.connections_opened == 1


def test_every_event_is_an_http_chunk_of_its_own(emulator: Emulator) -> None:
    """On the wire each server-sent event stands in exactly one HTTP chunk."""
    emulator.enqueue(Turn(thinking=["a", "b"], text=["c"]))
    host, _, port = emulator.host.partition(":")
    body = json.dumps({**BODY, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(head.encode() + body)
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    rest, chunks = received.partition(b"\r\n\r\n")[2], []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    assert all(chunk.startswith(b"data: ") and chunk.count(b"\n\n") == 1 for chunk in chunks[:-1])
    assert chunks[-2:] == [b"data: [DONE]\n\n", b""]
    assert len(chunks) == 7


def test_a_pause_lets_earlier_events_through(emulator: Emulator, http: httpx.Client) -> None:
    """What was sent before a pause arrives before it is over."""
    emulator.enqueue(Raw([b"first", 0.25, b"last"]))
    with http.stream("POST", emulator.origin + CHAT, json=BODY) as response:
        pieces, times = [], []
        for piece in response.iter_raw():
            pieces.append(piece)
            times.append(time.perf_counter())
    assert pieces == [b"first", b"last"]
    assert times[1] - times[0] > 0.15


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (Raw(["reset"], status=None), httpx.ReadError),
        (Raw(["cut"], status=None), httpx.RemoteProtocolError),
        (Raw([b"data: {}\n\n", "reset"]), httpx.ReadError),
        (Raw([b"data: {}\n\n", "cut"]), httpx.RemoteProtocolError),
        (Raw([b"not http\r\n\r\n"], status=None), httpx.RemoteProtocolError),
        (Raw([b"short"], headers={"content-length": "99"}), httpx.RemoteProtocolError),
    ],
    ids=["reset-before-head", "cut-before-head", "reset", "cut", "no-http", "short-body"],
)
def test_a_scripted_fault_reaches_the_client(
    emulator: Emulator, http: httpx.Client, raw: Raw, expected: type[Exception]
) -> None:
    """Each kind of fault is the transport error that it is in life, and the emulator goes on."""
    emulator.enqueue(raw)
    with pytest.raises(expected):
        http.post(emulator.origin + CHAT, json=BODY)
    assert http.post(emulator.origin + CHAT, json=BODY).status_code == 200


def test_what_precedes_a_reset_is_delivered(emulator: Emulator, http: httpx.Client) -> None:
    """Chunks before a reset arrive; only then does the connection break."""
    emulator.enqueue(Raw([b"one", b"two", 0.05, "reset"]))
    received: list[bytes] = []
    with (
        pytest.raises(httpx.ReadError),
        http.stream("POST", emulator.origin + CHAT, json=BODY) as response,
    ):
        received.extend(response.iter_raw())
    assert received == [b"one", b"two"]


def test_raw_status_and_headers_are_sent(emulator: Emulator, http: httpx.Client) -> None:
    """A raw answer has its own status and headers over the defaults."""
    emulator.enqueue(Raw([b"<html>"], status=502, headers={"Content-Type": "text/html", "Retry-After": "3"}))
    response = http.post(emulator.origin + CHAT, json=BODY)
    assert (response.status_code, response.text) == (502, "<html>")
    assert (response.headers["content-type"], response.headers["retry-after"]) == ("text/html", "3")


def test_an_unknown_command_is_refused_when_it_is_written() -> None:
    """A raw part that is a string but no command raises at once."""
    with pytest.raises(ValueError, match="explode"):
        Raw(["explode"])  # type: ignore[list-item]


def test_a_client_that_leaves_is_noticed_at_once(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A disconnect during a pause frees the connection and logs no error."""
    emulator.enqueue(Raw([b"data: {}\n\n", 60.0]))
    with (
        httpx.Client(verify=PLAIN) as client,
        client.stream("POST", emulator.origin + CHAT, json=BODY) as response,
    ):
        pieces = response.iter_raw()  # dropping the iterator would close the response
        next(pieces)
        assert emulator.open_connections == 1
    deadline = time.monotonic() + 2
    while emulator.open_connections and time.monotonic() < deadline:
        time.sleep(0.005)
    assert emulator.open_connections == 0
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_requests_are_recorded(emulator: Emulator, http: httpx.Client) -> None:
    """A recorded request has method, path, query, lower-case headers, body and JSON."""
    http.post(
        f"{emulator.origin}{CHAT}?alt=sse", json=BODY, headers={"X-Thing": "1", "Authorization": "Bearer t"}
    )
    (request,) = emulator.requests
    assert (request.method, request.path, request.query) == ("POST", CHAT, "alt=sse")
    assert (request.headers["x-thing"], request.bearer) == ("1", "t")
    assert request.json == json.loads(request.body) == BODY


def test_bytes_that_are_no_http_are_answered_with_400(emulator: Emulator) -> None:
    """Garbage gets a 400 and the connection is closed."""
    host, _, port = emulator.host.partition(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b"\x00\x01\x02\r\n\r\n")
        received = b"".join(iter(lambda: sock.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 400 ")


def test_a_client_that_expects_100_continue_gets_it(emulator: Emulator) -> None:
    """A request with Expect: 100-continue is told to go on."""
    host, _, port = emulator.host.partition(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(
            f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n".encode()
        )
        assert sock.recv(4096).startswith(b"HTTP/1.1 100 ")


async def test_it_carries_500_concurrent_streams(caplog: pytest.LogCaptureFixture) -> None:
    """500 streams that are open at the same time, in any dialect and cut, come through whole or end as scripted."""
    turn = Turn(thinking="I think. " * 10, text="I speak. " * 10)
    fates = ["whole"] * 20 + ["429", "cut-mid", "error-event", "keep-alive", "open-end"]
    all_open = asyncio.Event()

    def brain(chat: ChatRequest) -> Turn | Fault:
        kind: Any = chat.messages[-1].text
        return turn if kind == "whole" else Fault(kind, turn=turn, seconds=0.2)

    async def stream(emulator: Emulator, fate: str) -> str:
        host, _, port = emulator.host.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await all_open.wait()
        body = json.dumps(
            {"messages": [{"role": "user", "content": fate}], "model": "a/b", "stream": True}
        ).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        received = await reader.read()
        writer.close()
        if received.startswith(b"HTTP/1.1 429"):
            return "429"
        if b'"RESOURCE_EXHAUSTED"' in received:
            return "error-event"
        return "whole" if received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") else "cut-mid"

    with Emulator(brain=brain, dialect="random", chunking="random") as emulator:
        streams = asyncio.gather(*(stream(emulator, fate) for fate in fates * 20))
        while emulator.open_connections < 500:
            await asyncio.sleep(0.01)
        all_open.set()
        ends = await streams
        assert emulator.connections_opened == 500
        left = [exchange.ending for exchange in emulator.exchanges if exchange.ending in {"running", "left"}]
    assert ends == ["whole" if fate in {"keep-alive", "open-end"} else fate for fate in fates] * 20
    assert left == []
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_a_failure_inside_is_answered_and_logged(
    http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of the emulator itself is a 500 in Google's shape with a traceback in the log."""

    def broken(chat: ChatRequest) -> Turn:
        raise RuntimeError("boom")

    with Emulator(brain=broken) as emulator:
        response = http.post(emulator.origin + CHAT, json=BODY)
    assert (response.status_code, response.json()["error"]["status"]) == (500, "INTERNAL")
    assert "boom" in caplog.text


def test_no_port_comes_twice() -> None:
    """A client of the process that knows an earlier emulator by its port does not take the next one for it."""
    ports = set()
    for _ in range(400):
        with Emulator() as emulator:
            ports.add(emulator.host)
    assert len(ports) == 400
