"""HTTP/1.1 over asyncio: turns bytes into requests and replies into bytes, with h11 doing the grammar.

Knows nothing of routes or models. A protocol class instead of streams, because only that notices a
client's disconnect at once, also while a scripted pause is running.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, nullcontext
from typing import TypeAlias, cast
from urllib.parse import unquote

import h11

from kimi_vertex_emulator._reply import Reply, google_error
from kimi_vertex_emulator._requests import Recorded
from kimi_vertex_emulator.answers import Part

__all__ = ["Connection", "Handler"]

Handler: TypeAlias = Callable[[Recorded], Reply | Awaitable[Reply]]

_LOG = logging.getLogger("kimi_vertex_emulator")
_MAX_HEAD_BYTES = 1 << 20
_FLUSH_BYTES = 1 << 15
_SIGNATURE = {"server": "kimi-vertex-emulator", "x-kimi-vertex-emulator": "1"}


class Connection(asyncio.Protocol):
    """One client connection; answers its requests one after the other."""

    def __init__(self, handler: Handler, register: set[Connection]) -> None:
        self._handler = handler
        self._register = register
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        # Chunks without a pause between them share a write: a write per chunk would hand the GIL to and
        # fro between server and client threads for each of them.
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Zero limits: an await on `_writable` then means that the kernel has everything.
        self._transport.set_write_buffer_limits(high=0)
        self._register.add(self)

    def data_received(self, data: bytes) -> None:
        self._h11.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        """A client that stops sending is gone: HTTP clients do not half-close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends whatever was being sent; a client that is gone is not an error."""
        self._register.discard(self)
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def abort(self) -> None:
        """Closes at once, without waiting for the client."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        while self._task is None:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._reject(error)
                return
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    self._write()
                return
            if isinstance(event, h11.Request):
                self._head, self._body = event, []
            elif isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                request = _recorded(self._head, b"".join(self._body))
                self._task = asyncio.get_running_loop().create_task(self._answer(request))
            else:
                self._end()
                return

    async def _answer(self, request: Recorded) -> None:
        try:
            made = self._handler(request)
            reply = made if isinstance(made, Reply) else await made
        except Exception as error:  # noqa: BLE001  # whatever it is, the client gets an answer and the log the traceback
            _LOG.exception("emulator: %s %s failed inside the emulator", request.method, request.path)
            words = f"The kimi-vertex emulator failed with {type(error).__name__}: {error}"
            reply = google_error(500, f"{words}. Its log has the traceback.")
        try:
            reusable = await self._send_reply(reply)
        except h11.LocalProtocolError as error:
            # A script may promise what it does not keep, such as a longer body.
            _LOG.info("emulator: %s %s: broken off as scripted: %s", request.method, request.path, error)
            await self._flush()
            self._end()
            return
        finally:
            if reply.done is not None:
                reply.done()
        if reusable:
            self._h11.start_next_cycle()
            self._task = None
            self._advance()

    async def _send_reply(self, reply: Reply) -> bool:
        """Sends the reply; true if the connection can take another request."""
        if reply.delay:
            async with reply.slot or nullcontext():
                await asyncio.sleep(reply.delay)
        bare = reply.status is None
        if reply.status is not None:
            self._send(_head(reply.status, reply.headers))
        async with aclosing(reply.relayed or _each(reply.parts)) as parts:
            async for part in parts:
                if isinstance(part, bytes):
                    self._send(part if bare else h11.Data(data=part))
                    if self._unsent_bytes >= _FLUSH_BYTES:
                        await self._flush()
                        await asyncio.sleep(0)
                    continue
                await self._flush()
                if isinstance(part, str):
                    self._end(reset=part == "reset")
                    return False
                await asyncio.sleep(part)
        if not bare:
            self._send(h11.EndOfMessage())
        await self._flush()
        if bare or (self._h11.our_state, self._h11.their_state) != (h11.DONE, h11.DONE):
            self._end()
            return False
        return True

    def _reject(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = f"Bad request: {error}\n".encode()
            head = {"content-type": "text/plain", "content-length": str(len(body)), "connection": "close"}
            self._send(_head(error.error_status_hint, head))
            self._send(h11.Data(data=body))
            self._send(h11.EndOfMessage())
            self._write()
        self._end()

    def _send(self, event: h11.Event | bytes) -> None:
        """Puts an event, or bytes outside HTTP, behind what is to be written next."""
        data = event if isinstance(event, bytes) else self._h11.send(event)
        if data:
            self._unsent.append(data)
            self._unsent_bytes += len(data)

    def _write(self) -> None:
        data, self._unsent, self._unsent_bytes = b"".join(self._unsent), [], 0
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def _flush(self) -> None:
        """Writes what is unsent and waits until the kernel has it."""
        self._write()
        await self._writable.wait()

    def _end(self, *, reset: bool = False) -> None:
        """Closes the connection, behind what was written, or resets it."""
        if self._transport is None:
            return
        if not reset:
            self._transport.close()
            return
        # Linger of zero seconds makes close() send RST instead of FIN.
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


async def _each(parts: Iterable[Part]) -> AsyncGenerator[Part, None]:
    for part in parts:
        yield part


def _head(status: int, headers: Mapping[str, str]) -> h11.Response:
    return h11.Response(status_code=status, headers=list({**headers, **_SIGNATURE}.items()))


def _recorded(head: h11.Request | None, body: bytes) -> Recorded:
    assert head is not None, "h11 ends no message that it did not begin"
    target, _, query = head.target.decode("latin-1").partition("?")
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Recorded(head.method.decode("ascii"), unquote(target), query, headers, body)
