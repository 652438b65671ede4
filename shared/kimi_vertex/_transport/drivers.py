"""The only module that talks HTTP: performs a flow's commands with httpx, blocking or on an event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
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
    ReadStream,
    Request,
    Send,
    Sleep,
    TransportFailure,
)
from kimi_vertex._target.target import DEFAULT_UNIVERSE
from kimi_vertex.errors import ConfigurationError, CredentialsError
from kimi_vertex.events import Event

from .clients import Clients
from .drain import limit_reading
from .sse import LONGEST_EVENT, EventReader, OversizedEvent

__all__ = ["AsyncDriver", "SyncDriver"]

logger = logging.getLogger("kimi_vertex.http")

# The end of the body comes with `[DONE]` or right behind it; who is slower is better off with a new connection.
_DRAIN_SECONDS: Final = 0.3
_NOBODY: Final = Identity({}, None, DEFAULT_UNIVERSE, can_refresh=False)
_FAILURES: Final = (httpx.HTTPError, httpx.StreamError, OversizedEvent)


def _failure(error: Exception) -> TransportFailure:
    words = str(error) or type(error).__name__
    if isinstance(error, OversizedEvent):
        return TransportFailure("oversized", words)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return TransportFailure("connect_timeout", words)
    if isinstance(error, httpx.TimeoutException):
        return TransportFailure("timeout", words)
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
    """What both drivers share: the response in hand."""

    def __init__(self, clients: Clients, tokens: TokenSource | None) -> None:
        self._clients = clients
        self._tokens = tokens
        self._response: httpx.Response | None = None

    def _begin(self, client: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
        timeouts = request.timeouts
        return client.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.content,
            timeout=httpx.Timeout(
                connect=timeouts.connect,
                read=timeouts.first_byte,
                write=timeouts.first_byte,
                pool=timeouts.connect,
            ),
        )

    def _head(self, response: httpx.Response, request: Request) -> Head:
        self._response = response
        # httpcore looks the timeout up again when it begins to read the body.
        response.request.extensions["timeout"]["read"] = request.timeouts.idle
        return Head(response.status_code, {k.lower(): v for k, v in response.headers.items()})

    def _identity(self, headers: dict[str, str], tokens: TokenSource) -> Identity:
        return Identity(headers, tokens.project, tokens.universe_domain, tokens.can_refresh)

    def _is_projectless(self, command: Authorize, tokens: TokenSource) -> bool:
        """Whether no token need be fetched, because the call cannot be made."""
        return command.project and tokens.project is None

    @property
    def _open_response(self) -> httpx.Response:
        assert self._response is not None, "the flow reads only after it has sent"
        return self._response


class SyncDriver(_Driver):
    """Runs a flow in the calling thread."""

    def __init__(self, clients: Clients, tokens: TokenSource | None) -> None:
        super().__init__(clients, tokens)
        self._client: httpx.Client | None = None
        self._chunks: Iterator[bytes] | None = None

    def run(self, flow: Flow) -> Generator[Event, None, None]:
        """Perform the flow's commands and yield its events. Closing the generator frees the connection."""
        reply: Any = None
        failure: Exception | None = None
        try:
            while True:
                try:
                    step = flow.send(reply) if failure is None else flow.throw(failure)
                except StopIteration:
                    return
                reply = failure = None
                if type(step) is list:
                    yield from step
                    continue
                try:
                    if isinstance(step, ReadStream):
                        chunks, reader, intake = self._open_chunks(), EventReader(), step.intake
                        for chunk in chunks:
                            yield from intake.take(reader.feed(chunk))
                            if intake.finished():
                                break
                        else:
                            yield from intake.take(reader.close(), last=True)
                    else:
                        reply = self._perform(step)  # type: ignore[arg-type]
                except (CredentialsError, ConfigurationError) as error:
                    failure = error
                except _FAILURES as error:
                    failure = _failure(error)
        finally:
            failure = None  # its traceback holds this frame
            try:
                self._close()
            finally:
                if self._client is not None:
                    self._clients.give_back(self._client)
                flow.close()

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
        return self._authorize(command)

    def _send(self, request: Request) -> Head:
        self._close()
        if self._client is None:
            self._client = self._clients.borrow()
        built = self._begin(self._client, request)
        return self._head(self._client.send(built, stream=True, follow_redirects=False), request)

    def _open_chunks(self) -> Iterator[bytes]:
        body = _body_as_sent(self._open_response)
        self._chunks = self._open_response.iter_bytes() if body is None else iter(body)
        return self._chunks

    def _read_body(self) -> bytes:
        body = _Body()
        try:
            for chunk in self._open_response.iter_bytes():
                body.add(chunk)
        finally:
            self._close()
        return body.whole()

    def _drain(self) -> None:
        """Read on to the end of the body, but not for long: some servers keep a finished stream open."""
        response, chunks = self._response, self._chunks
        # HTTP/2 has other streams on the same socket, and needs no draining.
        if chunks is not None and response is not None and response.http_version.startswith("HTTP/1"):
            stream = response.extensions.get("network_stream")
            connection = stream.get_extra_info("socket") if stream is not None else None
            if connection is not None:
                try:
                    with limit_reading(connection, _DRAIN_SECONDS):
                        for _ in chunks:
                            pass
                except (httpx.HTTPError, httpx.StreamError):
                    logger.debug("A finished stream did not end cleanly; its connection is not reused.")
        self._close()

    def _authorize(self, command: Authorize) -> Identity:
        tokens = self._tokens
        if tokens is None:
            return _NOBODY
        if command.project:
            tokens.load()
            if self._is_projectless(command, tokens):
                return _NOBODY
        return self._identity(
            tokens.headers(force=command.rejected is not None, rejected=command.rejected), tokens
        )

    def _close(self) -> None:
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            response.close()


class AsyncDriver(_Driver):
    """Runs a flow on the running event loop."""

    def __init__(self, clients: Clients, tokens: TokenSource | None) -> None:
        super().__init__(clients, tokens)
        self._client: httpx.AsyncClient | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def run(self, flow: Flow) -> AsyncGenerator[Event, None]:
        """Perform the flow's commands and yield its events. Closing the generator frees the connection."""
        reply: Any = None
        failure: Exception | None = None
        try:
            while True:
                try:
                    step = flow.send(reply) if failure is None else flow.throw(failure)
                except StopIteration:
                    return
                reply = failure = None
                if type(step) is list:
                    for event in step:
                        yield event
                    continue
                try:
                    if isinstance(step, ReadStream):
                        chunks, reader, intake = self._open_chunks(), EventReader(), step.intake
                        async for chunk in chunks:
                            for event in intake.take(reader.feed(chunk)):
                                yield event
                            if intake.finished():
                                break
                        else:
                            for event in intake.take(reader.close(), last=True):
                                yield event
                    else:
                        reply = await self._perform(step)  # type: ignore[arg-type]
                except (CredentialsError, ConfigurationError) as error:
                    failure = error
                except _FAILURES as error:
                    failure = _failure(error)
        finally:
            failure = None  # its traceback holds this frame
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
        return await self._authorize(command)

    async def _send(self, request: Request) -> Head:
        await self._close()
        client = self._client
        if client is None or client.is_closed:
            await self._give_back()
            client = self._client = await self._clients.aborrow()
        built = self._begin(client, request)
        try:
            return self._head(await client.send(built, stream=True, follow_redirects=False), request)
        except RuntimeError:
            if client.is_closed:
                raise httpx.NetworkError("the client was closed meanwhile") from None
            raise

    async def _give_back(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await self._clients.agive_back(client)

    def _open_chunks(self) -> AsyncIterator[bytes]:
        body = _body_as_sent(self._open_response)
        self._chunks = self._open_response.aiter_bytes() if body is None else aiter(body)
        return self._chunks

    async def _read_body(self) -> bytes:
        body = _Body()
        try:
            async for chunk in self._open_response.aiter_bytes():
                body.add(chunk)
        finally:
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
            return _NOBODY
        if command.project:
            await tokens.aload()
            if self._is_projectless(command, tokens):
                return _NOBODY
        return self._identity(
            await tokens.aheaders(force=command.rejected is not None, rejected=command.rejected), tokens
        )

    async def _close(self) -> None:
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()
