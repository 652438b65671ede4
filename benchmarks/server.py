"""A server on loopback that answers with bytes made in advance, in a process of its own: it is never measured."""

from __future__ import annotations

import asyncio
import re
import time
from functools import cache
from typing import Final, cast

from benchmarks.limits import raise_file_limit
from benchmarks.scenarios import STAMP, Scenario, whole_body

_STAMP: Final = STAMP.encode()
_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


def _head(content_type: bytes, framing: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: " + content_type + b"\r\n" + framing + b"\r\n\r\n"


@cache
def _writes(name: str) -> tuple[bytes, ...]:
    """What to write for a scenario, one item for each write."""
    scenario = Scenario.parse(name)
    if scenario.whole:
        body = whole_body(scenario.whole)
        return (_head(b"application/json", b"content-length: %d" % len(body)) + body,)
    frames = [b"%x\r\n%b\r\n" % (len(event), event) for event in scenario.events()]
    frames[0] = _head(b"text/event-stream", b"transfer-encoding: chunked") + frames[0]
    frames[-1] += b"0\r\n\r\n"
    return (b"".join(frames),) if scenario.write == "burst" else tuple(frames)


class _Connection(asyncio.Protocol):
    """One connection; requests are answered one after the other."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._received, 0, end)
        size = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < size:
            return
        name = self._received.split(b"/", 2)[1].decode()
        del self._received[:size]
        writes = _writes(name)
        if len(writes) == 1:
            self._transport.write(writes[0])
        else:
            self._task = asyncio.get_running_loop().create_task(self._stream(Scenario.parse(name), writes))

    async def _stream(self, scenario: Scenario, writes: tuple[bytes, ...]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for data in writes:
            if scenario.pause:
                due += scenario.pause / 1000
                await asyncio.sleep(max(0.0, due - loop.time()))
            await self._writable.wait()
            self._transport.write(data.replace(_STAMP, b"@%018d" % time.monotonic_ns()))
            if not scenario.pause:
                await asyncio.sleep(0)


async def main() -> None:
    """Serve until killed; the first line printed is the port."""
    raise_file_limit()
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
