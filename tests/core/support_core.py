"""What the core's tests share: one call in four forms, answers in bytes, raw servers, and what was left behind."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from kimi_vertex import Completion, Event, KimiVertexClient, KimiVertexError, accumulate
from kimi_vertex_emulator import Emulator, Part, Raw

FORMS = ("sync-stream", "sync-whole", "async-stream", "async-whole")
STREAMS = ("sync-stream", "async-stream")
SIDES = ("sync", "async")

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Signs that a terminal obeys, or that begin a line of a log."""

each_form = pytest.mark.parametrize("form", FORMS)
each_stream = pytest.mark.parametrize("form", STREAMS)


Row = TypeVar("Row")


def each_row(rows: Sequence[Row], check: Callable[[Row], None], *, at_once: int = 8) -> None:
    """Check all rows of a table, some at once, so that their waits overlap; the error names each row that fails."""

    def failure(row: Row) -> str | None:
        try:
            check(row)
        except BaseException as error:  # pytest's own failures are no exceptions
            return f"{_name(row)}: {''.join(traceback.format_exception(error, limit=-3))}"
        return None

    with ThreadPoolExecutor(at_once) as pool:
        failures = [found for found in pool.map(failure, rows) if found is not None]
    assert not failures, "\n".join([f"{len(failures)} of {len(rows)} rows fail", *failures])


def _name(row: object) -> str:
    return ", ".join(map(_name, row)) if isinstance(row, tuple) else str(getattr(row, "name", row))


def is_stream(form: str) -> bool:
    return form.endswith("stream")


@dataclass(slots=True)
class Outcome:
    """How a call ended."""

    events: list[Event] = field(default_factory=list)
    completion: Completion | None = None
    error: Exception | None = None
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    """Tasks that were left behind."""

    @property
    def text(self) -> str:
        """The answer, which must be there."""
        if self.error is not None:
            raise self.error
        assert self.completion is not None
        return self.completion.text


def perform(client: KimiVertexClient, form: str, messages: Any = "Hi", **options: Any) -> Outcome:
    """Make one call in one of the four forms, close the client and report."""
    outcome = Outcome()
    if form.startswith("async"):
        asyncio.run(_aperform(client, form, messages, options, outcome))
        return outcome
    with client:
        try:
            if is_stream(form):
                with client.stream(messages, **options) as stream:
                    for event in stream:
                        outcome.events.append(event)
                    outcome.completion = stream.completion
            else:
                outcome.completion = client.complete(messages, **options)
        except Exception as error:
            outcome.error = error
    _check(outcome, form)
    return outcome


async def _aperform(
    client: KimiVertexClient, form: str, messages: Any, options: dict[str, Any], outcome: Outcome
) -> None:
    async with client:
        try:
            if is_stream(form):
                async with client.astream(messages, **options) as stream:
                    async for event in stream:
                        outcome.events.append(event)
                    outcome.completion = stream.completion
            else:
                outcome.completion = await client.acomplete(messages, **options)
        except Exception as error:
            outcome.error = error
    for _ in range(10):
        await asyncio.sleep(
            0
        )  # httpx's generators, one within the other, are closed in one turn of the loop each
    outcome.tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    _check(outcome, form)


def _check(outcome: Outcome, form: str) -> None:
    assert outcome.tasks == []
    partial = getattr(outcome.error, "partial", None)
    if is_stream(form) and partial is not None:
        shown = accumulate(outcome.events)
        assert (shown.thinking, shown.text) == (partial.thinking, partial.text)


def expect_sound(error: Exception | None) -> None:
    """An error of this library, that prints, pickles, is short, and is one line whatever it quotes."""
    assert isinstance(error, KimiVertexError), error
    for text in (str(error), repr(error)):
        assert len(text) < 2_500
        assert not CONTROL.search(text)
        text.encode()
    twin = pickle.loads(pickle.dumps(error))
    assert str(twin) == str(error)
    assert len(repr(twin.__dict__)) < 400_000


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def open_sockets() -> set[str]:
    """This process's sockets, by inode."""
    links = []
    descriptors = Path("/proc/self/fd")  # elsewhere than on Linux sockets are not counted
    for link in descriptors.iterdir() if descriptors.exists() else ():
        with suppress(OSError):
            links.append(str(link.readlink()))
    return {link for link in links if link.startswith("socket:")}


async def gone(emulator: Emulator) -> None:
    """Wait, without blocking the loop, until the emulator has no connection."""
    async with asyncio.timeout(1):
        while emulator.open_connections:
            await asyncio.sleep(0.005)


@contextmanager
def nothing_left(emulator: Emulator | None = None) -> Iterator[None]:
    """Assert that the block leaves no thread, no socket, and no connection at the emulator behind."""
    threads, sockets = set(threading.enumerate()), open_sockets()
    yield
    wait_until(lambda: set(threading.enumerate()) <= threads)
    if emulator is not None:
        wait_until(lambda: emulator.open_connections == 0)
    wait_until(lambda: open_sockets() <= sockets)


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return data({"id": "r1", "model": "kimi", "choices": [choice]})


def data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


THINKING = chunk(role="assistant", reasoning_content="Hm. ")
TEXT = chunk(content="Hello")
FINISH = chunk("stop")
DONE = b"data: [DONE]\n\n"
GOOD_STREAM = (THINKING, TEXT, FINISH, DONE)
_PIECES: list[Part] = [THINKING, 0.05]
ENDLESS = Raw(_PIECES * 200)
"""Ten seconds of thinking, for streams that are left early."""
JSON_HEAD = {"content-type": "application/json"}


def whole_body(**message: Any) -> bytes:
    """The body of a whole answer."""
    message = message or {"role": "assistant", "content": "Hello", "reasoning_content": "Hm. "}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "r1", "model": "kimi", "choices": [choice]}).encode()


WHOLE = whole_body()


def good(form: str) -> Raw:
    """The answer "Hello" in the form of the call."""
    return Raw(GOOD_STREAM) if is_stream(form) else Raw([WHOLE], headers=JSON_HEAD)


def answer(form: str, stream: Sequence[Part], whole: Sequence[Part]) -> Raw:
    """Parts of one or the other form, with status 200."""
    return Raw(stream) if is_stream(form) else Raw(whole, headers=JSON_HEAD)


_PORTS: set[int] = set()
"""Each port is given out once: clients of the process know a server by it."""


class RawServer:
    """A TCP server that treats each connection as it is told: for what the emulator cannot do.

    Args:
        handle: Gets each accepted connection in a thread; it is closed afterwards.
    """

    def __init__(self, handle: Callable[[socket.socket], None], backlog: int = 100) -> None:
        self._handle = handle
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        while self._socket.getsockname()[1] in _PORTS:
            self._socket.close()
            self._socket = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self._threads: list[threading.Thread] = []
        self.port = int(self._socket.getsockname()[1])
        _PORTS.add(self.port)
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._socket.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            # Short of it, a connection that a busy reader leaves full would be taken for one that is cut.
            connection.settimeout(30)
            self._handle(connection)


def read_request(connection: socket.socket) -> bytes:
    """Read one HTTP request with a body of declared length."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = (int(lengths[0].split(b":")[1]) if lengths else 0) - len(body)
    while missing > 0:
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
        missing -= len(piece)
    return received


def respond(connection: socket.socket, status: str, body: bytes = b"", *headers: str) -> None:
    """Write one HTTP response with its length declared."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode() + body)
