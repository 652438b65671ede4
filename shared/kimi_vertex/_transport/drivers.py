"""The only module that talks HTTP: performs a flow's commands with httpx, blocking or on an event loop."""

from __future__ import annotations

import asyncio
import logging
from asyncio import current_task
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from functools import partial
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
    Send,
    Sleep,
    TransportFailure,
)
from kimi_vertex._secrets import Hidden
from kimi_vertex._target.target import DEFAULT_UNIVERSE
from kimi_vertex.errors import ConfigurationError, CredentialsError, KimiVertexError
from kimi_vertex.events import Event
from kimi_vertex.options import Timeouts

from .bodies import Body, Content, adecoded, body_as_sent, decoded
from .clients import Clients
from .encodings import ACCEPTED
from .failures import credentials_errors, failure_of
from .limits import FOREVER, Cutoff, Limits, Watch, can_be_cut, note_connection
from .sleeping import asleep, sleep
from .sse import EventReader

__all__ = ["AsyncDriver", "SyncDriver"]

logger = logging.getLogger("kimi_vertex.http")

# The end of the body comes with `[DONE]` or right behind it; who is slower is better off with a new connection.
_DRAIN_SECONDS: Final = 0.3
_ANONYMOUS: Final = Identity(Hidden({}), None, DEFAULT_UNIVERSE, can_refresh=False)


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
        self,
        client: httpx.Client | httpx.AsyncClient,
        command: Send,
        waits: float | None,
        extensions: dict[str, Any] | None = None,
    ) -> httpx.Request:
        connect, request = self._limits.connect, command.request
        built = client.build_request(
            request.method,
            request.url,
            headers={**request.headers.reveal(), "accept-encoding": ACCEPTED},
            content=request.content,
            extensions=extensions,
            timeout=httpx.Timeout(connect=connect, read=waits, write=waits, pool=connect),
        )
        if request.content is not None and command.sent is not None:
            built.stream = Content(request.content, command.sent)
        return built

    def _await_head(self, command: Send) -> None:
        self._limits.await_head(streams=command.request.headers.reveal().get("accept") == "text/event-stream")

    def _head(self, response: httpx.Response) -> Head:
        self._response = response
        headers = {k.lower(): v for k, v in response.headers.items()}
        if "location" in response.extensions:
            headers["location"] = response.extensions["location"]
        return Head(response.status_code, headers)

    def _failure(self, error: Exception) -> TransportFailure:
        return failure_of(error, self._limits.overdue())

    def _await_piece(self, *, begun: bool) -> None:
        self._begun = begun
        if begun:
            self._limits.await_rest()
        else:
            self._limits.await_first_token()
        self._bounded = self._limits.bound < FOREVER

    def _identity(self, headers: Hidden[Mapping[str, str]], tokens: TokenSource) -> Identity:
        if not all(value.isascii() and value.isprintable() for value in headers.reveal().values()):
            raise CredentialsError(
                "The credentials gave a token with signs that an HTTP header cannot hold, such as a line's end. "
                "Check what the token was read from."
            )
        return Identity(
            headers,
            tokens.project,
            tokens.universe_domain,
            tokens.can_refresh,
            tokens.account,
            tokens.settings.kind,
        )

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
        self._connections: list[Any] = []
        """httpcore's streams of the client."""
        self._cutoff = Cutoff(clients.guard)

    def run(self, flow: Flow) -> Generator[Event, None, None]:
        """Perform the flow's commands and yield its events. Closing the generator frees the connection."""
        reply: Any = None
        failure: Exception | None = None
        cutoff = self._cutoff
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
                            cutoff.since = monotonic()
                        elif monotonic() - cutoff.since >= self._limits.idle:
                            raise TimeoutError  # noqa: TRY301  # handled like the transport's own
                        if self._bounded and monotonic() >= self._limits.bound:
                            raise TimeoutError  # noqa: TRY301  # handled like the transport's own
                        cutoff.waits = True
                        chunk = next(chunks, None)
                        cutoff.waits = False
                        if chunk is None:
                            self._check_cutoff()
                        reply = (reader.close(), True) if chunk is None else (reader.feed(chunk), False)
                    except Exception as error:  # noqa: BLE001  # whatever an HTTP client raises
                        failure = self._failure(error)
                        self._close()
                elif type(step) is list:
                    yield from step
                else:
                    try:
                        reply = self._perform(step)  # type: ignore[arg-type]
                    except KimiVertexError as error:
                        failure = error
                    except Exception as error:  # noqa: BLE001  # whatever an HTTP client raises
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
        return super()._failure(TimeoutError() if self._cutoff.over else error)

    def _perform(self, command: Command) -> Any:
        kind = type(command)
        if isinstance(command, Send):
            return self._send(command)
        if isinstance(command, ReadBody):
            return self._read_body(of_error=command.of_error)
        if kind is Drain:
            return self._drain()
        if isinstance(command, Sleep):
            return sleep(command)
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
        return None if remaining == FOREVER else remaining

    def _send(self, command: Send) -> Head:
        self._close()
        self._await_head(command)
        if self._client is None:
            self._client = self._clients.borrow()
            self._connections = self._clients.connections(self._client)
        built = self._build(
            self._client, command, self._remaining(), {"trace": partial(note_connection, self._connections)}
        )
        self._cutoff.begin(self._connections, self._limits.bound)
        try:
            response = self._client.send(built, stream=True, follow_redirects=False)
        finally:
            self._cutoff.release()
        # httpcore reads the timeout again when it begins to read the body.
        idle = self._limits.idle
        response.request.extensions["timeout"]["read"] = None if idle == FOREVER else idle
        head = self._head(response)
        self._check_cutoff()
        return head

    def _read_on(self, *, begun: bool) -> Iterator[bytes]:
        """Begin to read the stream, or to wait for the rest of it."""
        self._await_piece(begun=begun)
        self._cut_off(self._limits.bound, self._limits.idle)
        if self._chunks is None:
            body = body_as_sent(self._open_response)
            self._chunks = decoded(self._open_response) if body is None else iter(body)
            self._reader = EventReader()
        return self._chunks

    def _cut_off(self, until: float, idle: float = FOREVER) -> bool:
        """Have the connection shut down at a time, or when a wait is too long; say whether it can be."""
        stream = None if self._response is None else self._response.extensions.get("network_stream")
        if stream is None or not can_be_cut(stream):
            self._cutoff.release()
            return False
        self._cutoff.begin((stream,), until, idle)
        return True

    def _check_cutoff(self) -> None:
        """Raise `TimeoutError` if the body ended because the connection was shut down here."""
        if self._cutoff.over:
            raise TimeoutError

    def _read_body(self, *, of_error: bool) -> bytes:
        self._limits.await_body(of_error=of_error)
        self._cut_off(self._limits.bound, self._limits.idle)
        self._cutoff.waits = True
        body = Body(of_error=of_error)
        try:
            for chunk in decoded(self._open_response):
                body.add(chunk)
                self._cutoff.since = body.since
                if monotonic() >= min(self._limits.bound, body.since + self._limits.idle):
                    raise TimeoutError  # noqa: TRY301  # handled like the transport's own
                if body.enough:
                    break
            self._check_cutoff()
        except Exception:
            if not of_error:
                raise
            logger.debug("The body of an error broke off.", exc_info=True)
        self._close()
        return body.whole()

    def _drain(self) -> None:
        """Read on to the end of the body, but not for long: some servers keep a finished stream open."""
        if self._chunks is not None and self._cut_off(monotonic() + _DRAIN_SECONDS):
            try:
                for _ in self._chunks:
                    pass
            except Exception:  # noqa: BLE001  # whatever an HTTP client raises
                logger.debug("A finished stream did not end cleanly; its connection is not reused.")
        self._close()

    def _authorize(self, command: Authorize) -> Identity:
        tokens = self._tokens
        if tokens is None:
            return _ANONYMOUS
        with credentials_errors():
            if command.project:
                tokens.load(timeout=self._remaining())
                if tokens.project is None:
                    return _ANONYMOUS  # the request cannot be made
            headers = Hidden(tokens.headers(rejected=command.rejected, timeout=self._remaining()))
            return self._identity(headers, tokens)

    def _close(self) -> None:
        self._cutoff.release()
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
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "Asynchronous requests need asyncio's event loop, which does not run here. Under trio, make blocking "
                "requests in a thread: await trio.to_thread.run_sync(client.complete, messages)."
            ) from None
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
                            raise TimeoutError  # noqa: TRY301  # handled like the transport's own
                        watch.task = current_task()
                        try:
                            reply = reader.feed(await anext(chunks)), False
                        except StopAsyncIteration:
                            reply = reader.close(), True
                        finally:
                            watch.task = None
                            if watch.ended is not None:
                                watch.settle()
                    except Exception as error:  # noqa: BLE001  # whatever an HTTP client raises
                        failure = self._failure(error)
                        await self._close()
                elif type(step) is list:
                    for event in step:
                        yield event
                else:
                    try:
                        reply = await self._perform(step)  # type: ignore[arg-type]
                    except KimiVertexError as error:
                        failure = error
                    except Exception as error:  # noqa: BLE001  # whatever an HTTP client raises
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
            return await self._send(command)
        if isinstance(command, ReadBody):
            return await self._read_body(of_error=command.of_error)
        if kind is Drain:
            return await self._drain()
        if isinstance(command, Sleep):
            return await asleep(command)
        assert isinstance(command, Authorize)
        await self._close()
        self._limits.begin_attempt()
        return await self._watch.wait(self._authorize(command), self._limits.bound)

    async def _send(self, command: Send) -> Head:
        await self._close()
        self._await_head(command)
        client = self._client
        if client is None or client.is_closed:
            await self._give_back()
            client = self._client = await self._clients.aborrow()
        # The transport's own limits of reading and writing are not needed.
        sending = client.send(self._build(client, command, None), stream=True, follow_redirects=False)
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
            body = body_as_sent(self._open_response)
            self._chunks = adecoded(self._open_response) if body is None else aiter(body)
            self._reader = EventReader()
        return self._chunks

    async def _read_body(self, *, of_error: bool) -> bytes:
        self._limits.await_body(of_error=of_error)
        body = Body(of_error=of_error)
        chunks = adecoded(self._open_response)
        try:
            while not body.enough:
                until = min(self._limits.bound, body.since + self._limits.idle)
                chunk = await self._watch.wait(anext(chunks, None), until)
                if chunk is None:
                    break
                body.add(chunk)
        except Exception:
            if not of_error:
                raise
            logger.debug("The body of an error broke off.", exc_info=True)
        await self._close()
        return body.whole()

    async def _drain(self) -> None:
        """Read on to the end of the body, but not for long: some servers keep a finished stream open."""
        if self._chunks is not None:
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    async for _ in self._chunks:
                        pass
            except Exception:  # noqa: BLE001  # whatever an HTTP client raises
                logger.debug("A finished stream did not end cleanly; its connection is not reused.")
        await self._close()

    async def _authorize(self, command: Authorize) -> Identity:
        tokens = self._tokens
        if tokens is None:
            return _ANONYMOUS
        with credentials_errors():
            if command.project:
                await tokens.aload()
                if tokens.project is None:
                    return _ANONYMOUS  # the request cannot be made
            left = max(0.0, self._limits.bound - monotonic())
            headers = Hidden(await tokens.aheaders(rejected=command.rejected, seconds=left))
            return self._identity(headers, tokens)

    async def _close(self) -> None:
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()
