"""What a server can do to a client below and above HTTP, as tables: bytes, pauses, and what never ends.

Each shape is what one connection is sent after its request. It ends when the client goes away, or after seconds that
no test waits for.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..support_core import (
    DONE,
    FINISH,
    TEXT,
    THINKING,
    WHOLE,
    RawServer,
    data,
    is_stream,
    read_request,
    wait_until,
    whole_body,
)

Sent = bytes | float
PATIENCE = 20.0
"""Seconds after which a server gives up, so that a client that waits for ever fails its test in place of stopping it."""
DRIP = 0.02
MILLION = 1_000_000


@dataclass(frozen=True)
class Shape:
    """One way to misbehave."""

    name: str
    send: Callable[[str], Iterable[Sent]]
    """What a call of the form gets."""
    right: str = "error"
    """`text` if the answer is whole, `error` if there is an error, `either` if both are right."""
    words: str = ""
    """What the error's text holds."""


def head(form: str, *lines: str, status: str = "200 OK", length: int | None = None) -> bytes:
    kind = "text/event-stream" if is_stream(form) else "application/json"
    size = [] if length is None else [f"content-length: {length}"]
    return "\r\n".join(
        [f"HTTP/1.1 {status}", f"content-type: {kind}", "connection: close", *size, *lines, "", ""]
    ).encode("latin-1")


def good_body(form: str) -> bytes:
    return THINKING + TEXT + FINISH + DONE if is_stream(form) else WHOLE


def begun(form: str) -> bytes:
    return THINKING + TEXT if is_stream(form) else WHOLE[: len(WHOLE) // 2]


def drip(content: bytes, pause: float = DRIP) -> Iterator[Sent]:
    for number in range(len(content)):
        yield content[number : number + 1]
        yield pause


def endless(content: bytes, pause: float = 0.0) -> Iterator[Sent]:
    while True:
        yield content
        yield pause


def answer(name: str, make: Callable[[str], bytes], right: str = "error", words: str = "") -> Shape:
    """A whole answer with a well-formed head."""
    return Shape(name, lambda form: [head(form), make(form)], right, words)


def chunks(
    name: str, *values: Any, right: str = "error", words: str = "", end: bytes = FINISH + DONE
) -> Shape:
    """Chunks of a stream; a whole answer is the last of them with a message in the delta's place."""

    def make(form: str) -> bytes:
        if is_stream(form):
            return b"".join(map(data, values)) + end
        text = json.dumps(values[-1]).replace('"delta"', '"message"')
        return text.encode()

    return answer(name, make, right, words)


def failing(name: str, body: bytes, *lines: str, status: str = "400 Bad Request", words: str = "") -> Shape:
    """An error status with a body."""
    return Shape(name, lambda form: [head(form, *lines, status=status, length=len(body)), body], words=words)


def redirect(form: str, to: str) -> list[Sent]:
    return [head(form, f"location: {to}", status="302 Found", length=0)]


def nested(depth: int, opening: str = '{"a":', closing: str = "}") -> str:
    return opening * depth + "1" + closing * depth


def choice(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}


def call(arguments: Any) -> dict[str, Any]:
    return choice(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": arguments}}])


def raw_choice(content: str) -> Callable[[str], bytes]:
    """A chunk whose content is JSON text that `json.dumps` would not write."""

    def make(form: str) -> bytes:
        place = "delta" if is_stream(form) else "message"
        text = f'{{"choices":[{{"index":0,"{place}":{{"content":{content}}},"finish_reason":"stop"}}]}}'
        return f"data: {text}\n\n".encode() + DONE if is_stream(form) else text.encode()

    return make


def error_in(form: str, text: str) -> bytes:
    return b"data: " + text.encode() + b"\n\n" if is_stream(form) else text.encode()


def bomb(content: bytes, times: int, wbits: int = zlib.MAX_WBITS | 16) -> bytes:
    """The content so many times, compressed once: its checksum is wrong, but who reads as far has read too much."""
    packer = zlib.compressobj(1, wbits=wbits)
    first, again = (packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (times - 1) + packer.flush()


def packed(name: str, content: bytes, encoding: str, right: str = "error", words: str = "") -> Shape:
    return Shape(name, lambda form: [head(form, f"content-encoding: {encoding}"), content], right, words)


def plain(value: Any) -> bytes:
    return json.dumps(value).encode()


def as_answer(form: str, value: dict[str, Any]) -> dict[str, Any]:
    entry = value["choices"][0]
    return value if is_stream(form) else {"choices": [{**entry, "message": entry["delta"]}]}


def many_calls(form: str, count: int) -> bytes:
    calls = [{"index": n, "function": {"name": "f", "arguments": "{}"}} for n in range(count)]
    if is_stream(form):
        return data(choice(tool_calls=calls)) + DONE
    return whole_body(role="assistant", content="Hello", tool_calls=calls)


@contextlib.contextmanager
def fault_server(shape: Shape, form: str) -> Iterator[RawServer]:
    """A server that answers each request of a call of this form with the shape."""
    over = threading.Event()
    connections: list[socket.socket] = []
    made: list[bool] = []
    """Whether the answer could be made: what a thread raises is lost."""

    def handle(connection: socket.socket) -> None:
        connections.append(connection)
        with contextlib.suppress(OSError):  # a client that gives up soon is gone
            read_request(connection)
        end = time.monotonic() + PATIENCE
        parts = iter(shape.send(form))
        made.append(True)
        for part in parts:
            if over.is_set() or time.monotonic() > end:
                return
            if isinstance(part, bytes):
                connection.sendall(part)
            elif part:
                over.wait(part)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.5)
        while not over.is_set() and connection.recv(65536):
            pass

    with RawServer(handle) as raw:
        try:
            yield raw
            wait_until(lambda: made)  # a client that gives up soon is gone before its connection is accepted
        finally:
            over.set()
            for connection in connections:
                with contextlib.suppress(OSError):  # it is closed already
                    connection.shutdown(socket.SHUT_RDWR)
