"""The only module that talks HTTP: performs a flow's commands with httpx, blocking or on an event loop."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from asyncio import current_task
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import httpx

from kimi_vertex._auth.tokens import TokenSource
from kimi_vertex._exchange.commands import (
    Authorize,
    Command,
    Drain,
    Flow,
    Head,
    Identity,
    ReadBody,
    ReadChunk,
    Request,
    Send,
    Sleep,
    TransportFailure,
)
from kimi_vertex._target.target import DEFAULT_UNIVERSE
from kimi_vertex.errors import ConfigurationError, CredentialsError
from kimi_vertex.events import Event
from kimi_vertex.options import Timeouts

from .clients import Clients
from .limits import FOREVER, Cutoff, Limits, Watch
from .sse import LONGEST_EVENT, EventReader, OversizedEvent

__all__ = ["AsyncDriver", "SyncDriver"]

logger = logging.getLogger("kimi_vertex.http")

# The end of the body comes with `[DONE]` or right behind it; who is slower is better off with a new connection.
_DRAIN_SECONDS: Final = 0.3
_ANONYMOUS: Final = Identity({}, None, DEFAULT_UNIVERSE, can_refresh=False)
_FAILURES: Final = (httpx.HTTPError, httpx.StreamError, OversizedEvent, TimeoutError)


def _failure(error: Exception, overdue: str) -> TransportFailure:
    words = str(error) or type(error).__name__
    if isinstance(error, OversizedEvent):
        return TransportFailure("oversized", words)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return TransportFailure("connect_timeout", words)
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return TransportFailure("timeout", overdue)
    if isinstance(error, httpx.ConnectError):
        return TransportFailure("connect", words)
    return TransportFailure("broken", words)


def _body_as_sent(response: httpx.Response) -> Any:
    """The transport's stream of a body, if no hook has read it and httpx has nothing to decode; else `None`.

    All that `iter_bytes` would do is to count the bytes, which costs about as much as reading the JSON of a delta.
    """
    as_sent = not response.is_stream_consumed and "content-encoding" not in response.headers
    return response.stream if as_sent else None


class _Body:
    """Joins a body that may not grow without end."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > LONGEST_EVENT:
            raise OversizedEvent(f"the body is longer than {LONGEST_EVENT:,} bytes")

    def whole(self) -> bytes:
        return b"".join(self._chunks)


class _Driver:
    """What both drivers share: the response in hand, and until when it may be waited for."""

    def __init__(self, clients: Clients, tokens: TokenSource | None, timeouts: Timeouts) -> None:
        self._clients = clients
        self._tokens = tokens
        self._timeouts = timeouts
        self._limits = Limits(timeouts)
        self._response: httpx.Response | None = None
        self._reader = EventReader()
        self._begun = False
        """Whether the answer's first token has come."""
        self._bounded = False
        """Whether the stream has to end, or to bring its first token, by a certain time."""

    def _build(
        self, client: httpx.Client | httpx.AsyncClient, request: Request, waits: float | None
    ) -> httpx.Request:
        connect = self._timeouts.connect
        return client.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.content,
            timeout=httpx.Timeout(connect=connect, read=waits, write=waits, pool=connect),
        )

    def _head(self, response: httpx.Response) -> Head:
        self._response = response
        return Head(response.status_code, {k.lower(): v for k, v in response.headers.items()})

    def _failure(self, error: Exception) -> TransportFailure:
        return _failure(error, self._limits.overdue())

    def _await_piece(self, *, begun: bool) -> None:
        self._begun = begun
        if begun:
            self._limits.await_rest()
        else:
            self._limits.await_first_token()
        self._bounded = self._limits.bound < FOREVER

    def _identity(self, headers: dict[str, str], tokens: TokenSource) -> Identity:
        return Identity(headers, tokens.project, tokens.universe_domain, tokens.can_refresh)

    def _is_projectless(self, command: Authorize, tokens: TokenSource) -> bool:
        """Whether a token need not be fetched, because the request cannot be made."""
        return command.project and tokens.project is None

    @property
    def _open_response(self) -> httpx.Response:
        assert self._response is not None, "the flow reads only after it has sent"
        return self._response


class SyncDriver(_Driver):
    """Runs a flow in the calling thread.

    The transport limits each blocking read; the clock is looked at between two of them.
    """

    def __init__(self, clients: Clients, tokens: TokenSource | None, timeouts: Timeouts) -> None:
        super().__init__(clients, tokens, timeouts)
        self._client: httpx.Client | None = None
        self._chunks: Iterator[bytes] | None = None
        self._cutoff: Cutoff | None = None

    def run(self, flow: Flow) -> Generator[Event, None, None]:
        """Perform the flow's commands and yield its events. Closing the generator frees the connection."""
        reply: Any = None
        failure: Exception | None = None
        since = 0.0
        try:
            while True:
                try:
                    step = flow.send(reply) if failure is None else flow.throw(failure)
                except StopIteration:
                    return
                reply = failure = None
                if type(step) is ReadChunk:
                    # Each delta passes through here; a method of its own would be another call for each.
                    yield from step.show
                    try:
                        chunks = self._chunks
                        if chunks is None or step.begun is not self._begun:
                            chunks = self._read_on(begun=step.begun)
                        reader = self._reader
                        if not reader.dripping:
                            since = monotonic()
                        elif monotonic() - since >= self._limits.idle:
                            raise TimeoutError
                        if self._bounded and monotonic() >= self._limits.bound:
                            raise TimeoutError
                        chunk = next(chunks, None)
                        if chunk is None:
                            self._check_cutoff()
                        reply = (reader.close(), True) if chunk is None else (reader.feed(chunk), False)
                    except _FAILURES as error:
                        failure = self._failure(error)
                        self._close()
                elif type(step) is list:
                    yield from step
                else:
                    try:
                        reply = self._perform(step)  # type: ignore[arg-type]
                    except (CredentialsError, ConfigurationError) as error:
                        failure = error
                    except _FAILURES as error:
                        failure = self._failure(error)
                        self._close()
        finally:
            failure = None  # its traceback holds this frame
            try:
                self._close()
            finally:
                if self._client is not None:
                    self._clients.give_back(self._client)
                flow.close()

    def _failure(self, error: Exception) -> TransportFailure:
        over = self._cutoff is not None and self._cutoff.over
        return super()._failure(TimeoutError() if over else error)

    def _perform(self, command: Command) -> Any:
        kind = type(command)
        if isinstance(command, Send):
            return self._send(command.request)
        if kind is ReadBody:
            return self._read_body()
        if kind is Drain:
            return self._drain()
        if isinstance(command, Sleep):
            return time.sleep(command.seconds)
        assert isinstance(command, Authorize)
        self._close()
        self._limits.begin_attempt()
        return self._authorize(command)

    def _remaining(self) -> float | None:
        """Seconds until the present stage has to end.

        Raises:
            TimeoutError: It should have ended.
        """
        remaining = self._limits.bound - monotonic()
        if remaining <= 0:
            raise TimeoutError
        return None if remaining == math.inf else remaining

    def _send(self, request: Request) -> Head:
        self._close()
        self._limits.await_head()
        if self._client is None:
            self._client = self._clients.borrow()
        built = self._build(self._client, request, self._remaining())
        response = self._client.send(built, stream=True, follow_redirects=False)
        # httpcore reads the timeout again when it begins to read the body.
        response.request.extensions["timeout"]["read"] = self._timeouts.idle
        return self._head(response)

    def _read_on(self, *, begun: bool) -> Iterator[bytes]:
        """Begin to read the stream, or to wait for the rest of it."""
        self._await_piece(begun=begun)
        self._cut_off(self._limits.bound - monotonic())
        if self._chunks is None:
            body = _body_as_sent(self._open_response)
            self._chunks = self._open_response.iter_bytes() if body is None else iter(body)
            self._reader = EventReader()
        return self._chunks

    def _cut_off(self, seconds: float) -> bool:
        """Have the connection shut down after so many seconds; say whether it can be."""
        if self._cutoff is not None:
            self._cutoff.release()
            self._cutoff = None
        if seconds < FOREVER and self._response is not None:
            stream = self._response.extensions.get("network_stream")
            connection = stream.get_extra_info("socket") if stream is not None else None
            # HTTP/2 has other streams on the same socket.
            if connection is not None and self._response.http_version.startswith("HTTP/1"):
                with suppress(RuntimeError):  # the interpreter is shutting down and starts no more threads
                    self._cutoff = Cutoff(connection, max(0.0, seconds))
        return self._cutoff is not None

    def _check_cutoff(self) -> None:
        """Raise `TimeoutError` if the body ended because the connection was shut down here."""
        if self._cutoff is not None and self._cutoff.over:
            raise TimeoutError

    def _read_body(self) -> bytes:
        self._limits.await_rest()
        self._cut_off(self._limits.bound - monotonic())
        body = _Body()
        for chunk in self._open_response.iter_bytes():
            self._remaining()
            body.add(chunk)
        self._check_cutoff()
        self._close()
        return body.whole()

    def _drain(self) -> None:
        """Read on to the end of the body, but not for long: some servers keep a finished stream open."""
        if self._chunks is not None and self._cut_off(_DRAIN_SECONDS):
            try:
                for _ in self._chunks:
                    pass
            except (httpx.HTTPError, httpx.StreamError):
                logger.debug("A finished stream did not end cleanly; its connection is not reused.")
        self._close()

    def _authorize(self, command: Authorize) -> Identity:
        tokens = self._tokens
        if tokens is None:
            return _ANONYMOUS
        if command.project:
            tokens.load(timeout=self._remaining())
            if self._is_projectless(command, tokens):
                return _ANONYMOUS
        headers = tokens.headers(
            force=command.rejected is not None, rejected=command.rejected, timeout=self._remaining()
        )
        return self._identity(headers, tokens)

    def _close(self) -> None:
        self._cut_off(FOREVER)
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            response.close()


class AsyncDriver(_Driver):
    """Runs a flow on the running event loop, where the clock ends each wait."""

    def __init__(self, clients: Clients, tokens: TokenSource | None, timeouts: Timeouts) -> None:
        super().__init__(clients, tokens, timeouts)
        self._client: httpx.AsyncClient | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._watch = Watch()

    async def run(self, flow: Flow) -> AsyncGenerator[Event, None]:
        """Perform the flow's commands and yield its events. Closing the generator frees the connection."""
        reply: Any = None
        failure: Exception | None = None
        watch = self._watch
        try:
            while True:
                try:
                    step = flow.send(reply) if failure is None else flow.throw(failure)
                except StopIteration:
                    return
                reply = failure = None
                if type(step) is ReadChunk:
                    # Each delta passes through here; a method of its own would be another call for each.
                    for event in step.show:
                        yield event
                    try:
                        chunks = self._chunks
                        if chunks is None or step.begun is not self._begun:
                            chunks = self._read_on(begun=step.begun)
                        reader = self._reader
                        if not reader.dripping:
                            watch.since = monotonic()
                        if self._bounded and monotonic() >= self._limits.bound:
                            raise TimeoutError
                        watch.task = current_task()
                        try:
                            reply = reader.feed(await anext(chunks)), False
                        except StopAsyncIteration:
                            reply = reader.close(), True
                        finally:
                            watch.task = None
                            if watch.ended is not None:
                                watch.settle()
                    except _FAILURES as error:
                        failure = self._failure(error)
                        await self._close()
                elif type(step) is list:
                    for event in step:
                        yield event
                else:
                    try:
                        reply = await self._perform(step)  # type: ignore[arg-type]
                    except (CredentialsError, ConfigurationError) as error:
                        failure = error
                    except _FAILURES as error:
                        failure = self._failure(error)
                        await self._close()
        finally:
            failure = None  # its traceback holds this frame
            watch.close()
            try:
                await self._close()  # may be cancelled once more
            finally:
                try:
                    await self._give_back()
                finally:
                    flow.close()

    async def _perform(self, command: Command) -> Any:
        kind = type(command)
        if isinstance(command, Send):
            return await self._send(command.request)
        if kind is ReadBody:
            return await self._read_body()
        if kind is Drain:
            return await self._drain()
        if isinstance(command, Sleep):
            return await asyncio.sleep(command.seconds)
        assert isinstance(command, Authorize)
        await self._close()
        self._limits.begin_attempt()
        return await self._watch.wait(self._authorize(command), self._limits.bound)

    async def _send(self, request: Request) -> Head:
        await self._close()
        self._limits.await_head()
        client = self._client
        if client is None or client.is_closed:
            await self._give_back()
            client = self._client = await self._clients.aborrow()
        # The transport's own limits of reading and writing are not needed.
        sending = client.send(self._build(client, request, None), stream=True, follow_redirects=False)
        try:
            return self._head(await self._watch.wait(sending, self._limits.bound))
        except RuntimeError:
            if client.is_closed:
                raise httpx.NetworkError("the client was closed meanwhile") from None
            raise

    async def _give_back(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await self._clients.agive_back(client)

    def _read_on(self, *, begun: bool) -> AsyncIterator[bytes]:
        """Begin to read the stream, or to wait for the rest of it."""
        self._await_piece(begun=begun)
        self._watch.begin(self._limits.bound, idle=self._limits.idle)
        if self._chunks is None:
            body = _body_as_sent(self._open_response)
            self._chunks = self._open_response.aiter_bytes() if body is None else aiter(body)
            self._reader = EventReader()
        return self._chunks

    async def _read_body(self) -> bytes:
        self._limits.await_rest()
        body = _Body()
        chunks = self._open_response.aiter_bytes()
        while True:
            until = min(self._limits.bound, monotonic() + self._limits.idle)
            chunk = await self._watch.wait(anext(chunks, None), until)
            if chunk is None:
                break
            body.add(chunk)
        await self._close()
        return body.whole()

    async def _drain(self) -> None:
        """Read on to the end of the body, but not for long: some servers keep a finished stream open."""
        if self._chunks is not None:
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    async for _ in self._chunks:
                        pass
            except (httpx.HTTPError, httpx.StreamError, TimeoutError):
                logger.debug("A finished stream did not end cleanly; its connection is not reused.")
        await self._close()

    async def _authorize(self, command: Authorize) -> Identity:
        tokens = self._tokens
        if tokens is None:
            return _ANONYMOUS
        if command.project:
            await tokens.aload()
            if self._is_projectless(command, tokens):
                return _ANONYMOUS
        return self._identity(
            await tokens.aheaders(force=command.rejected is not None, rejected=command.rejected), tokens
        )

    async def _close(self) -> None:
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()
