"""A thread with an event loop and a listening socket; its handler decides what is answered."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final, Self

from kimi_vertex_emulator._http import Connection, Handler

__all__ = ["Server"]

_BACKLOG = 1024
_PORTS: Final[deque[int]] = deque(maxlen=4096)
"""Those that this process has had. The system soon gives a port out again, and clients know a server by its port: what they
had learned of one server they would believe of another."""


class Server:
    """Serves in a thread of its own between `start` and `stop`.

    Args:
        handler: Answers a request.
        host: Address to bind.
        port: Port to bind; 0: a free one, which this process has not had lately.
        closed: Awaited in the loop when every connection is closed.
    """

    def __init__(
        self, handler: Handler, host: str, port: int, closed: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._handler = handler
        self._bind = (host, port)
        self._closed = closed
        self._address: tuple[str, int] | None = None
        self._thread: threading.Thread | None = None
        self._halt: Callable[[], object] = lambda: None
        self._connections: set[Connection] = set()
        self._opened = 0

    def start(self) -> Self:
        """Binds the socket and serves in a thread of its own; returns itself.

        Raises:
            RuntimeError: It is running already.
            OSError: The address cannot be bound.
        """
        if self._thread is not None:
            raise RuntimeError("this emulator is running already; make another one or stop() it first")
        started: Future[tuple[str, int]] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="kimi-vertex-emulator", daemon=True
        )
        self._thread.start()
        try:
            self._address = started.result()
        except Exception:
            self._thread.join()
            self._thread = None
            raise
        return self

    def stop(self) -> None:
        """Closes every connection, the socket, the loop and the thread; does nothing if it is not running."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._halt()
            thread.join()
            self._address = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """`ADDRESS:PORT`, for the environment variable `KIMI_VERTEX_EMULATOR_HOST`.

        Raises:
            RuntimeError: It is not running.
        """
        if self._address is None:
            raise RuntimeError("the emulator is not running; use it as a context manager or call start()")
        address, port = self._address
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    @property
    def origin(self) -> str:
        """`http://ADDRESS:PORT`."""
        return f"http://{self.host}"

    @property
    def open_connections(self) -> int:
        """How many client connections are open now."""
        return len(self._connections)

    @property
    def connections_opened(self) -> int:
        """How many client connections were ever opened: shows whether a client reuses them."""
        return self._opened

    def _run(self, started: Future[tuple[str, int]]) -> None:
        try:
            asyncio.run(self._serve(started))
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: Future[tuple[str, int]]) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        self._halt = lambda: loop.call_soon_threadsafe(stopping.set)
        while True:
            server = await loop.create_server(self._connection, *self._bind, backlog=_BACKLOG)
            name: Any = server.sockets[0].getsockname()
            if name[1] not in _PORTS or self._bind[1]:
                break
            server.close()
        _PORTS.append(name[1])
        started.set_result((str(name[0]), int(name[1])))
        try:
            await stopping.wait()
        finally:
            server.close()
            await self._close_all()
            await server.wait_closed()
            if self._closed is not None:
                await self._closed()

    async def _close_all(self) -> None:
        # An aborted transport reports its end on a later round of the loop, and a connection that was
        # being accepted may still come in on one.
        await asyncio.sleep(0)
        while self._connections:
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0)

    def _connection(self) -> Connection:
        self._opened += 1
        return Connection(self._handler, self._connections)
