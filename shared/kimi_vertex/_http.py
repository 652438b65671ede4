"""The only module that talks HTTP: performs a flow's commands with httpx, blocking or on an event loop."""

from __future__ import annotations

import asyncio
import codecs
import logging
import socket
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, Final, TypeVar

import httpx
from httpx_sse import EventSource, ServerSentEvent

from ._auth import TokenSource
from ._clients import Clients
from ._commands import (
    Authorize,
    Command,
    Drain,
    Flow,
    Head,
    Identity,
    ReadBody,
    ReadEvents,
    Request,
    Send,
    Sleep,
    TransportFailure,
)
from ._endpoint import DEFAULT_UNIVERSE
from .completion import Completion
from .errors import CredentialsError
from .events import Event

__all__ = ["AsyncDriver", "SyncDriver"]

logger = logging.getLogger("kimi_vertex.http")

_LONGEST_LINE: Final = 32 * 1024 * 1024
_DRAIN_SECONDS: Final = 1.0
_NOBODY: Final = Identity({}, None, DEFAULT_UNIVERSE, can_refresh=False)

ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)


def _failure(error: Exception) -> TransportFailure:
    words = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return TransportFailure("connect_timeout", words)
    if isinstance(error, httpx.TimeoutException):
        return TransportFailure("timeout", words)
    if isinstance(error, httpx.ConnectError):
        return TransportFailure("connect", words)
    return TransportFailure("broken", words)


class _Text:
    """A response as `EventSource` wants it: strict UTF-8 as server-sent events demand, lines of a bounded length.

    An event that the server did not end with a blank line before it closed the body still counts.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = 0
        self.headers = {"content-type": "text/event-stream"}

    def _decode(self, chunk: bytes) -> str:
        text = self._decoder.decode(chunk)
        end = max(text.rfind("\n"), text.rfind("\r"))
        self._line = len(text) - end - 1 if end >= 0 else self._line + len(text)
        if self._line > _LONGEST_LINE:
            raise TransportFailure(
                "broken", f"a line of the stream is longer than {_LONGEST_LINE} characters"
            )
        return text

    def iter_text(self) -> Iterator[str]:
        for chunk in self._response.iter_bytes():
            yield self._decode(chunk)
        yield self._decoder.decode(b"", final=True) + "\n\n"

    async def aiter_text(self) -> AsyncIterator[str]:
        async for chunk in self._response.aiter_bytes():
            yield self._decode(chunk)
        yield self._decoder.decode(b"", final=True) + "\n\n"


class _Driver:
    """What both drivers share: the response in hand."""

    def __init__(self, tokens: TokenSource | None) -> None:
        self._tokens = tokens
        self._response: httpx.Response | None = None

    def _begin(self, client: Any, request: Request) -> httpx.Request:
        timeouts = request.timeouts
        built: httpx.Request = client.build_request(
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
        return built

    def _head(self, response: httpx.Response, request: Request) -> Head:
        self._response = response
        # httpcore looks the timeout up again when it begins to read the body.
        response.request.extensions["timeout"]["read"] = request.timeouts.idle
        return Head(response.status_code, {k.lower(): v for k, v in response.headers.items()})

    def _identity(self, headers: dict[str, str], tokens: TokenSource) -> Identity:
        return Identity(headers, tokens.project, tokens.universe_domain, tokens.can_refresh)

    @property
    def _open_response(self) -> httpx.Response:
        assert self._response is not None, "the flow reads only after it has sent"
        return self._response


class SyncDriver(_Driver):
    """Runs a flow in the calling thread."""

    def __init__(self, client: httpx.Client, tokens: TokenSource | None) -> None:
        super().__init__(tokens)
        self._client = client
        self._events: Iterator[ServerSentEvent] | None = None

    def run(self, flow: Flow) -> Generator[Event, None, Completion]:
        """Perform the flow's commands and yield its events. Closing the generator frees the connection."""
        reply: Any = None
        failure: Exception | None = None
        try:
            while True:
                try:
                    step = flow.send(reply) if failure is None else flow.throw(failure)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                reply = failure = None
                if type(step) is list:
                    yield from step
                    continue
                try:
                    reply = self._perform(step)  # type: ignore[arg-type]
                except (TransportFailure, CredentialsError) as error:
                    failure = error
                except (httpx.HTTPError, httpx.StreamError) as error:
                    failure = _failure(error)
        finally:
            self._close()
            flow.close()

    def _perform(self, command: Command) -> Any:
        kind = type(command)
        if kind is ReadEvents:
            if self._events is None:
                self._events = EventSource(_Text(self._open_response)).iter_sse()  # type: ignore[arg-type]
            sse = next(self._events, None)
            return None if sse is None else [sse.data]
        if isinstance(command, Send):
            self._close()
            request = self._begin(self._client, command.request)
            response = self._client.send(request, stream=True, follow_redirects=False)
            return self._head(response, command.request)
        if kind is ReadBody:
            try:
                return self._open_response.read().decode("utf-8-sig", "replace")
            finally:
                self._close()
        if kind is Drain:
            return self._drain()
        if isinstance(command, Sleep):
            return time.sleep(command.seconds)
        assert isinstance(command, Authorize)
        return self._authorize(command)

    def _authorize(self, command: Authorize) -> Identity:
        if self._tokens is None:
            return _NOBODY
        if command.project:
            self._tokens.load()
        headers = self._tokens.headers(force=command.rejected is not None, rejected=command.rejected)
        return self._identity(headers, self._tokens)

    def _drain(self) -> None:
        """Read on to the end of the body, but not for long: some servers keep a finished stream open."""
        response, events = self._response, self._events
        if response is None or events is None:
            return self._close()
        stream = response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        watchdog = threading.Timer(_DRAIN_SECONDS, _shut_down, [connection])
        watchdog.daemon = True
        watchdog.start()
        try:
            for _ in events:
                pass
        except (httpx.HTTPError, httpx.StreamError, TransportFailure):
            logger.debug("A finished stream did not end cleanly; its connection is not reused.")
        finally:
            watchdog.cancel()
            self._close()

    def _close(self) -> None:
        response, self._response, self._events = self._response, None, None
        if response is not None:
            response.close()


def _shut_down(connection: Any) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except (OSError, AttributeError):
        logger.debug("The connection of a finished stream was gone already.")


class AsyncDriver(_Driver):
    """Runs a flow on the running event loop."""

    def __init__(self, clients: Clients, tokens: TokenSource | None) -> None:
        super().__init__(tokens)
        self._clients = clients
        self._events: AsyncGenerator[ServerSentEvent, None] | None = None

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
                    reply = await self._perform(step)  # type: ignore[arg-type]
                except (TransportFailure, CredentialsError) as error:
                    failure = error
                except (httpx.HTTPError, httpx.StreamError) as error:
                    failure = _failure(error)
        finally:
            await self._close()
            flow.close()

    async def _perform(self, command: Command) -> Any:
        kind = type(command)
        if kind is ReadEvents:
            if self._events is None:
                self._events = EventSource(_Text(self._open_response)).aiter_sse()  # type: ignore[arg-type]
            async for sse in self._events:
                return [sse.data]
            return None
        if isinstance(command, Send):
            await self._close()
            client = await self._clients.on_loop()
            request = self._begin(client, command.request)
            response = await client.send(request, stream=True, follow_redirects=False)
            return self._head(response, command.request)
        if kind is ReadBody:
            try:
                return (await self._open_response.aread()).decode("utf-8-sig", "replace")
            finally:
                await self._close()
        if kind is Drain:
            return await self._drain()
        if isinstance(command, Sleep):
            return await asyncio.sleep(command.seconds)
        assert isinstance(command, Authorize)
        return await self._authorize(command)

    async def _authorize(self, command: Authorize) -> Identity:
        if self._tokens is None:
            return _NOBODY
        if command.project:
            await self._tokens.aload()
        headers = await self._tokens.aheaders(force=command.rejected is not None, rejected=command.rejected)
        return self._identity(headers, self._tokens)

    async def _drain(self) -> None:
        try:
            if self._events is not None:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    async for _ in self._events:
                        pass
        except (httpx.HTTPError, httpx.StreamError, TransportFailure, TimeoutError):
            logger.debug("A finished stream did not end cleanly; its connection is not reused.")
        finally:
            await self._close()

    async def _close(self) -> None:
        response, events = self._response, self._events
        self._response = self._events = None
        try:
            if events is not None:
                await events.aclose()
        finally:
            if response is not None:
                await response.aclose()
