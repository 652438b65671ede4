"""The emulator as a running server: its thread, its loop, its sockets and nothing else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any, Literal, Self

from kimi_vertex.emulator._http import Connection
from kimi_vertex.emulator._reply import Reply
from kimi_vertex.emulator._service import Service
from kimi_vertex.emulator.conditions import Faults, Latency, LatencyProfile, Quota
from kimi_vertex.emulator.matching import Brain
from kimi_vertex.emulator.rules import Rules
from kimi_vertex.emulator.script import Chunking, Dialect, Recorded
from kimi_vertex.emulator.scripts import Script

__all__ = ["Emulator"]

_LOG = logging.getLogger("kimi_vertex.emulator")
_BACKLOG = 1024


class Emulator(Service):
    """Kimi on Vertex AI, emulated on a local socket.

    Example:
        ```python
        with Emulator() as emulator:
            emulator.enqueue(Turn(thinking="A greeting.", text="Hello!"))
            client = KimiVertexClient(base_url=emulator.base_url)
            assert client.complete("Hi").text == "Hello!"
            assert emulator.requests[0].json["messages"][0]["content"] == "Hi"
        ```

    Args:
        strict: Refuse what Kimi's servers refuse (default `True`); `False` accepts it.
        host: Address to bind; default loopback.
        port: Port to bind; default 0, a free one.
        require_token: Answer chat calls without a bearer token with Google's 401; default `False`.
        valid_tokens: The bearer tokens that are accepted, besides none; default `None`, any.
        token_lifetime: Seconds that tokens of the token endpoint claim to live; default 3600.
        refuse_forced_tool_choice: Answer a forced `tool_choice` with the 400 that Moonshot's own
            servers send while the model thinks; default `False`.
        dedicated_dns: What `GET endpoints/ID` names as the endpoint's own DNS name; default `""`.
        pace: Seconds between two deltas of the built-in brain's answers; default 0.
        script: Rules that answer when the queue is empty; default none, see also `on`.
        brain: A function that answers what neither queue nor script does; default the built-in brain.
        dialect: Which server's spelling the answers have, `"random"` draws one for each; default `"vertex"`.
        dialects: Dialects of single routes: patterns of paths (`*` is a wildcard), the first that fits counts.
        chunking: How a `str` of a turn is cut into deltas; default `"default"`.
        seed: Where everything random comes from; default 0.
        rules: Rules that hold beyond those of strict mode; default none.
        faults: Faults at a rate; default none. Single ones are scripted with `Fault`.
        quota: What is allowed per minute; default no limit.
        latency: How long answers take; default no time.

    All settings but `host` and `port` are attributes that may be changed while it runs.
    """

    def __init__(
        self,
        strict: bool = True,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        require_token: bool = False,
        valid_tokens: Collection[str] | None = None,
        token_lifetime: int = 3600,
        refuse_forced_tool_choice: bool = False,
        dedicated_dns: str = "",
        pace: float = 0.0,
        script: Script | None = None,
        brain: Brain | None = None,
        dialect: Dialect | Literal["random"] = "vertex",
        dialects: Mapping[str, Dialect] | None = None,
        chunking: Chunking = "default",
        seed: int = 0,
        rules: Rules | None = None,
        faults: Faults | None = None,
        quota: Quota | None = None,
        latency: Latency | LatencyProfile | None = None,
    ) -> None:
        super().__init__(
            strict=strict,
            require_token=require_token,
            valid_tokens=valid_tokens,
            token_lifetime=token_lifetime,
            refuse_forced_tool_choice=refuse_forced_tool_choice,
            dedicated_dns=dedicated_dns,
            pace=pace,
            script=script,
            brain=brain,
            dialect=dialect,
            dialects=dialects,
            chunking=chunking,
            seed=seed,
            rules=rules,
            faults=faults,
            quota=quota,
            latency=Latency.of(latency) if isinstance(latency, str) else latency,
        )
        self._bind = (host, port)
        self._address: tuple[str, int] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
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
            self._thread = self._loop = self._stopping = None
            raise
        return self

    def stop(self) -> None:
        """Closes every connection, the socket, the loop and the thread; does nothing if it is not running."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()
        self._address = self._loop = self._stopping = None

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
    def base_url(self) -> str:
        """What stands before `/chat/completions` on the managed endpoint, for clients that take a base URL."""
        return f"{self.origin}/v1/projects/emulator/locations/global/endpoints/openapi"

    @property
    def token_uri(self) -> str:
        """The OAuth2 token endpoint, for the `token_uri` of a credentials file."""
        return f"{self.origin}/token"

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
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(self._connection, *self._bind, backlog=_BACKLOG)
        name: Any = server.sockets[0].getsockname()
        started.set_result((str(name[0]), int(name[1])))
        try:
            await self._stopping.wait()
        finally:
            server.close()
            await self._close_all()
            await server.wait_closed()

    async def _close_all(self) -> None:
        # An aborted transport reports its end on a later round of the loop, and a connection that was
        # being accepted may still come in on one.
        await asyncio.sleep(0)
        while self._connections:
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0)

    def _connection(self) -> Connection:
        return Connection(self._logged_answer, self._connections, self._count)

    def _count(self) -> None:
        self._opened += 1

    def _logged_answer(self, request: Recorded) -> Reply:
        reply = self.answer(request)
        status = "no head" if reply.status is None else reply.status
        _LOG.info(
            "kimi-vertex emulator (not the real service): %s %s -> %s", request.method, request.path, status
        )
        return reply
