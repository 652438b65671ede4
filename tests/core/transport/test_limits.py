"""`Timeouts` by the clock: each limit ends its own wait, over every transport, and no other.

The limit under test is short and all others are long, so an error that names it has been raised by it.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from typing import Any

import httpx
import pytest
from google.oauth2.credentials import Credentials
from httpx_aiohttp import AiohttpTransport

from kimi_vertex import APITimeoutError, Completion, KimiVertexClient, Timeouts
from kimi_vertex_emulator import Emulator

from ..support_core import DONE, FINISH, TEXT, THINKING, RawServer, read_request

SHORT = 0.6
LONG = 30.0
TRANSPORTS = ("httpx", "httpx-async", "aiohttp")
ON_A_LOOP = TRANSPORTS[1:]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
AT_ONCE = 32
SILENCE: tuple[bytes, ...] = ()


_CHECKS: list[Callable[[], None]] = []


@cache
def _running() -> dict[Callable[[], None], Future[None]]:
    """All checks of this module, begun when the first is asked for, because what they do is to wait."""
    pool = ThreadPoolExecutor(AT_ONCE)
    running = {check: pool.submit(check) for check in _CHECKS}
    pool.shutdown(wait=False)
    return running


def each_transport(
    *transports: str, **rows: Sequence[Any]
) -> Callable[[Callable[..., Awaitable[None] | None]], Callable[[], None]]:
    """Checks a test over transports, and with each value of one argument; every check of the module at the same time."""

    def run(test: Callable[..., Any], **arguments: Any) -> None:
        outcome = test(**arguments)
        if inspect.iscoroutine(outcome):
            asyncio.run(outcome)

    def decorate(test: Callable[..., Awaitable[None] | None]) -> Callable[[], None]:
        names = [{name: value} for name, values in rows.items() for value in values] or [{}]
        checks = {
            f"{name} {row or ''}": partial(run, test, transport=name, **row)
            for name in transports or TRANSPORTS
            for row in names
        }
        _CHECKS.extend(checks.values())

        def outcomes() -> None:
            for name, check in checks.items():
                if error := _running()[check].exception():
                    error.add_note(f"over {name}")
                    raise error

        outcomes.__name__, outcomes.__doc__ = test.__name__, test.__doc__
        return outcomes

    return decorate


def limits(**short: float) -> Timeouts:
    """Long limits, but for the one under test."""
    return Timeouts(**{"connect": LONG, "first_byte": LONG, "idle": LONG, **short})


@contextmanager
def server(*parts: bytes, then: Sequence[bytes] = SILENCE, pause: float = 0.05) -> Iterator[RawServer]:
    """Sends the parts, then the others again and again, or nothing, until the client goes away."""
    over = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        for part in parts:
            connection.sendall(part)
            over.wait(pause)
        while then and not over.is_set():
            for part in then:
                connection.sendall(part)
                over.wait(pause)
        if not parts or parts[-1] != DONE:
            wait_for_the_end(connection, over)

    with RawServer(handle) as raw:
        try:
            yield raw
        finally:
            over.set()


def wait_for_the_end(connection: socket.socket, over: threading.Event) -> None:
    connection.settimeout(0.05)
    while not over.is_set():
        try:
            if not connection.recv(1024):
                return
        except TimeoutError:
            continue


def ask(
    transport: str, base_url: str, timeouts: Timeouts, *, stream: bool = True, **settings: Any
) -> Completion:
    """One request without retries, over one of the transports."""
    settings = {"max_retries": 0, "timeout": timeouts, "implicit_thinking": False, **settings}
    if transport == "httpx":
        with KimiVertexClient(base_url=base_url, **settings) as client:
            if not stream:
                return client.complete("Hi")
            with client.stream("Hi") as events:
                for _ in events:
                    pass
                return events.completion
    return asyncio.run(aask(transport, base_url, settings, stream=stream))


async def aask(transport: str, base_url: str, settings: Any, *, stream: bool) -> Completion:
    async with on_loop(transport, base_url, **settings) as client:
        if not stream:
            return await client.acomplete("Hi")
        async with client.astream("Hi") as events:
            async for _ in events:
                pass
            return events.completion


@asynccontextmanager
async def on_loop(transport: str, base_url: str, **settings: Any) -> AsyncIterator[KimiVertexClient]:
    """A client over one of the transports of event loops."""
    async with httpx.AsyncClient(transport=AiohttpTransport(verify=False)) as over_aiohttp:
        if transport == "aiohttp":
            settings["http_async_client"] = over_aiohttp
        async with KimiVertexClient(base_url=base_url, **settings) as client:
            yield client


def fails(limit: str, ask: Callable[[], Completion]) -> APITimeoutError:
    """The error of the limit, which must come before any other limit could."""
    started = time.monotonic()
    with pytest.raises(APITimeoutError, match=rf"Timeouts\.{limit}\)") as caught:
        ask()
    assert time.monotonic() - started < LONG / 2
    return caught.value


@each_transport(stream=[True, False])
def test_a_head_that_does_not_come(transport: str, stream: bool) -> None:
    """`first_byte` ends the wait for the head of the response."""
    with server() as raw:
        fails("first_byte", lambda: ask(transport, raw.base_url, limits(first_byte=SHORT), stream=stream))


@each_transport(*ON_A_LOOP)
def test_a_head_that_drips(transport: str) -> None:
    """On an event loop `first_byte` ends it although the connection is busy."""
    with server(HEAD[:20], then=[b"x"]) as raw:
        fails("first_byte", lambda: ask(transport, raw.base_url, limits(first_byte=SHORT)))


@each_transport()
def test_a_stream_that_stalls(transport: str) -> None:
    """`idle` ends a pause between two pieces, and the error has what had come."""
    with server(HEAD, THINKING, TEXT) as raw:
        error = fails("idle", lambda: ask(transport, raw.base_url, limits(idle=SHORT)))
    assert error.partial is not None
    assert (error.partial.thinking, error.partial.text) == ("Hm. ", "Hello")


@each_transport(begin=[b"data: ", b": "])
def test_bytes_that_drip_are_no_sign_of_life(transport: str, begin: bytes) -> None:
    """`idle` goes on while bytes come one by one and do not complete a line."""
    with server(HEAD, THINKING, begin, then=[b"x"]) as raw:
        error = fails("idle", lambda: ask(transport, raw.base_url, limits(idle=SHORT)))
    assert error.partial is not None
    assert error.partial.thinking == "Hm. "


@each_transport(comment=[b": ping\n\n", b":\n", b": ping\r\n\r\n"])
def test_comments_are_a_sign_of_life(transport: str, comment: bytes) -> None:
    """A keep-alive comment starts the wait over, with a blank line after it or without."""
    with server(HEAD, THINKING, *[comment] * 16, TEXT, FINISH, DONE) as raw:
        assert ask(transport, raw.base_url, limits(idle=0.6)).text == "Hello"


@each_transport()
def test_a_long_line_is_a_sign_of_life(transport: str) -> None:
    """A line that takes longer than `idle`, but comes in large pieces, is read to its end."""
    long = "x" * 16 * 2000
    line = TEXT.replace(b"Hello", long.encode())
    pieces = [line[at : at + 2000] for at in range(0, len(line), 2000)]
    with server(HEAD, *pieces, FINISH, DONE) as raw:
        assert ask(transport, raw.base_url, limits(idle=0.6)).text == long


@each_transport()
def test_a_token_that_does_not_come(transport: str) -> None:
    """`first_token` ends the wait for the answer although the connection is busy."""
    with server(HEAD, then=[b": ping\n\n"]) as raw:
        fails("first_token", lambda: ask(transport, raw.base_url, limits(first_token=SHORT)))


@each_transport()
def test_a_silent_server_has_no_token_either(transport: str) -> None:
    """`first_token` also ends a wait in which nothing comes at all."""
    with server(HEAD) as raw:
        fails("first_token", lambda: ask(transport, raw.base_url, limits(first_token=SHORT)))


@each_transport()
def test_a_head_that_waits_for_the_first_token(transport: str) -> None:
    """`first_token` also bounds a stream's head, which some engines send with the first token only."""
    with server() as raw:
        fails("first_token", lambda: ask(transport, raw.base_url, limits(first_token=SHORT), model="kimi"))


@each_transport(implicit_thinking=[True, False])
def test_the_first_token_is_the_first_only(transport: str, implicit_thinking: bool) -> None:
    """After the first piece, shown or held back, `first_token` limits nothing."""
    with server(HEAD, TEXT, *[b": ping\n\n"] * 8, FINISH, DONE, pause=0.1) as raw:
        answer = ask(transport, raw.base_url, limits(first_token=0.6), implicit_thinking=implicit_thinking)
    assert answer.text == "Hello"


@each_transport()
def test_an_answer_that_does_not_end(transport: str) -> None:
    """`total` ends a stream that is never silent."""
    with server(HEAD, then=[TEXT]) as raw:
        error = fails("total", lambda: ask(transport, raw.base_url, limits(total=SHORT)))
    assert error.partial is not None
    assert error.partial.text.startswith("Hello")


@each_transport()
def test_an_answer_that_stalls_beyond_the_total(transport: str) -> None:
    """`total` ends a pause that `idle` would allow."""
    with server(HEAD, THINKING) as raw:
        fails("total", lambda: ask(transport, raw.base_url, limits(total=SHORT)))


@each_transport(drips=[True, False])
def test_a_whole_answer_that_does_not_end(transport: str, drips: bool) -> None:
    """`total` ends a body that drips, or stalls."""
    with server(JSON_HEAD, b'{"choices": ', then=[b" "] if drips else SILENCE) as raw:
        fails("total", lambda: ask(transport, raw.base_url, limits(total=SHORT), stream=False))


@each_transport()
def test_a_whole_answer_that_stalls(transport: str) -> None:
    """`idle` ends a pause in a whole answer, too."""
    with server(JSON_HEAD, b'{"choices": ') as raw:
        fails("idle", lambda: ask(transport, raw.base_url, limits(idle=SHORT), stream=False))


@each_transport(limit=["first_byte", "total"])
def test_a_token_service_that_is_silent(transport: str, limit: str) -> None:
    """The wait for an access token counts for the head of the answer, and for the whole of it."""
    with server() as service:
        credentials = Credentials(  # type: ignore[no-untyped-call]
            None, refresh_token="r", client_id="c", client_secret="s", token_uri=service.base_url
        )
        settings: dict[str, Any] = {"credentials": credentials, "project": "my-project"}
        fails(limit, lambda: ask(transport, service.base_url, limits(**{limit: SHORT}), **settings))


@each_transport()
def test_who_comes_after_a_silent_token_service(transport: str) -> None:
    """The refresh that a request gave up ends soon, so that the next request has one of its own."""
    with server() as silent, Emulator() as emulator:
        credentials = Credentials(  # type: ignore[no-untyped-call]
            None, refresh_token="r", client_id="c", client_secret="s", token_uri=silent.base_url
        )
        settings: dict[str, Any] = {"credentials": credentials, "project": "my-project"}
        fails("total", lambda: ask(transport, emulator.base_url, limits(total=SHORT), **settings))
        credentials._token_uri = emulator.token_uri
        assert ask(transport, emulator.base_url, Timeouts(), max_retries=5, **settings).text


@each_transport("httpx")
def test_the_time_of_a_reader_is_not_a_pause(transport: str) -> None:
    """What a reader does between two events is not silence of the server."""
    with server(HEAD, THINKING, FINISH, DONE) as raw:
        client = KimiVertexClient(base_url=raw.base_url, timeout=limits(idle=SHORT))
        with client, client.stream("Hi") as stream:
            next(stream)
            time.sleep(1.2 * SHORT)
            _ = list(stream)
    assert stream.completion.finish_reason == "stop"


@each_transport(*ON_A_LOOP)
async def test_the_time_of_a_reader_is_not_a_pause_async(transport: str) -> None:
    """The same on an event loop, where a timer runs meanwhile."""
    with server(HEAD, THINKING, FINISH, DONE) as raw:
        timeout = limits(idle=SHORT)
        async with (
            on_loop(transport, raw.base_url, timeout=timeout) as client,
            client.astream("Hi") as stream,
        ):
            await anext(stream)
            await asyncio.sleep(1.2 * SHORT)
            _ = [event async for event in stream]
    assert stream.completion.finish_reason == "stop"


@each_transport(*ON_A_LOOP)
async def test_the_task_that_waits_is_the_one_that_fails(transport: str) -> None:
    """A stream that one task began and another reads on fails in the other."""
    with server(HEAD, THINKING) as raw:
        async with on_loop(transport, raw.base_url, timeout=limits(idle=SHORT)) as client:
            stream = client.astream("Hi")
            await asyncio.create_task(anext(stream))
            with pytest.raises(APITimeoutError):
                await asyncio.create_task(anext(stream))
            current = asyncio.current_task()
            assert current is not None
            assert current.cancelling() == 0


@each_transport(*ON_A_LOOP)
async def test_a_task_that_is_cancelled_is_not_late(transport: str) -> None:
    """A cancellation from outside stays one."""
    with server(HEAD, THINKING) as raw:
        async with on_loop(transport, raw.base_url, timeout=limits(idle=LONG)) as client:
            stream = client.astream("Hi")
            await anext(stream)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SHORT / 3):
                    await anext(stream)


@each_transport(*ON_A_LOOP)
async def test_a_limit_leaves_the_task_as_it_was(transport: str) -> None:
    """A task whose wait was ended can wait again, and does not count as cancelled."""
    with server(HEAD, THINKING) as raw:
        async with on_loop(transport, raw.base_url, timeout=limits(idle=SHORT), max_retries=0) as client:
            for _ in range(2):
                stream = client.astream("Hi")
                await anext(stream)
                with pytest.raises(APITimeoutError):
                    await anext(stream)
            current = asyncio.current_task()
            assert current is not None
            assert current.cancelling() == 0
            await asyncio.sleep(0)
