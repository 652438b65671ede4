"""Hostile servers: a raw TCP server that misbehaves on purpose, in every form of call."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import Any

import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from kimi_vertex import (
    APIError,
    APIStatusError,
    APITimeoutError,
    KimiVertexClient,
    StreamInterruptedError,
    Timeouts,
)

from ..support_core import (
    CONTROL,
    DONE,
    FINISH,
    FORMS,
    TEXT,
    THINKING,
    Outcome,
    RawServer,
    chunk,
    each_form,
    each_row,
    each_stream,
    expect_sound,
    is_stream,
    perform,
    read_request,
    respond,
)
from .support_raw_faults import (
    PATIENCE,
    Shape,
    drip,
    fault_server,
    good_body,
    head,
)
from .support_raw_shapes import ERROR_SHAPES, SHAPES, TIME_SHAPES

LIMITS = Timeouts(connect=2, first_byte=0.25, idle=0.25)
AMPLE = Timeouts(connect=5, first_byte=15, idle=15)


def ask(shape: Shape, form: str, timeouts: Timeouts, **settings: Any) -> Outcome:
    with fault_server(shape, form) as server:
        own = {"timeout": timeouts, "max_retries": 0, "pace": None, "implicit_thinking": False, **settings}
        return perform(KimiVertexClient(base_url=server.base_url, **own), form)


def expect_plain_logs(caplog: pytest.LogCaptureFixture) -> None:
    for record in caplog.records:
        if record.name.startswith("kimi_vertex"):
            text = record.getMessage()
            assert len(text) < 5_000, record
            assert not CONTROL.search(text), text


def in_turns(shapes: Sequence[Shape], shape: Shape, *forms: str) -> str:
    """The form in which a shape is read, where it means the same to these forms, which take turns."""
    return forms[shapes.index(shape) % len(forms)]


@pytest.mark.parametrize("way", ["stream", "whole"])
def test_a_fault_has_its_error_or_does_no_harm(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes with a status of 200 is read for what it is, or refused in words."""
    caplog.set_level(logging.DEBUG, "kimi_vertex")

    def check(shape: Shape) -> None:
        outcome = ask(shape, in_turns(SHAPES, shape, f"sync-{way}", f"async-{way}"), AMPLE)
        if shape.right == "text":
            assert outcome.error is None, outcome.error
        elif shape.right == "error" or outcome.error is not None:
            expect_sound(outcome.error)
            assert re.search(shape.words, str(outcome.error)), outcome.error
            assert "defect" not in str(outcome.error), outcome.error
        else:
            pickle.dumps(outcome.completion)
            repr(outcome.completion)

    each_row(SHAPES, check)
    expect_plain_logs(caplog)


def test_an_error_says_its_status(caplog: pytest.LogCaptureFixture) -> None:
    """An error status is an error of its class, whatever its head and its body hold."""
    caplog.set_level(logging.DEBUG, "kimi_vertex")

    def check(shape: Shape) -> None:
        outcome = ask(shape, in_turns(ERROR_SHAPES, shape, *FORMS), AMPLE)
        expect_sound(outcome.error)
        kind = APIError if shape.right == "either" else APIStatusError
        assert isinstance(outcome.error, kind), outcome.error

    each_row(ERROR_SHAPES, check)
    expect_plain_logs(caplog)


def test_what_lasts_too_long_is_cut_by_the_clock() -> None:
    """However busy the connection is, each wait has its end."""

    def check(row: tuple[Shape, str]) -> None:
        began = time.monotonic()
        outcome = ask(*row, LIMITS)
        assert time.monotonic() - began < PATIENCE / 2
        expect_sound(outcome.error)
        assert isinstance(outcome.error, APITimeoutError | APIStatusError | APIError)

    turns = zip(TIME_SHAPES, cycle([FORMS[:2], FORMS[2:]]))
    each_row([(shape, form) for shape, forms in turns for form in forms], check, at_once=24)


@each_stream
@pytest.mark.parametrize("length", [-9, 9])
def test_a_wrong_content_length_keeps_the_partial_answer(form: str, length: int) -> None:
    """A body that is longer, or shorter, than its head says is cut; what came is in `partial`."""
    sent = THINKING + TEXT + chunk(content=" there")
    shape = Shape(
        "", lambda form: [head(form, length=len(sent) + length), sent + (FINISH + DONE) * (length < 0)]
    )
    outcome = ask(shape, form, Timeouts())
    assert isinstance(outcome.error, StreamInterruptedError)
    assert outcome.error.partial is not None
    assert outcome.error.partial.text.startswith("Hello")


@each_form
def test_no_cookies_are_kept(form: str) -> None:
    """What an answer sets is not sent with the next request."""
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(head(form, "set-cookie: a=1; path=/") + good_body(form))

    with RawServer(handle) as server:
        client = KimiVertexClient("kimi", base_url=server.base_url)
        for _ in range(2):
            assert perform(client, form).text == "Hello"
    assert len(seen) == 2
    assert b"\r\ncookie:" not in seen[1].lower()


def test_a_header_that_is_reused_is_cut_by_the_clock() -> None:
    """The head of the second answer on a connection drips: that connection is known, too."""

    def handle(connection: socket.socket, form: str) -> None:
        read_request(connection)
        respond(connection, "400 No", b"{}")
        read_request(connection)
        with suppress(OSError):
            for part in drip(head(form, *["x: y"] * 500)):
                connection.sendall(part) if isinstance(part, bytes) else time.sleep(part)

    def sync(client: KimiVertexClient, form: str) -> None:
        with client:
            with pytest.raises(APIStatusError):
                client.complete("Hi")
            with pytest.raises(APITimeoutError, match="first_byte"):
                list(client.stream("Hi")) if is_stream(form) else client.complete("Hi")

    async def on_loop(client: KimiVertexClient, form: str) -> None:
        async with client:
            with pytest.raises(APIStatusError):
                await client.acomplete("Hi")
            with pytest.raises(APITimeoutError, match="first_byte"):
                await (anext(client.astream("Hi")) if is_stream(form) else client.acomplete("Hi"))

    def check(form: str) -> None:
        with RawServer(partial(handle, form=form)) as server:
            client = KimiVertexClient(base_url=server.base_url, timeout=LIMITS, max_retries=0)
            sync(client, form) if form.startswith("sync") else asyncio.run(on_loop(client, form))

    each_row(FORMS, check)


def test_over_aiohttp() -> None:
    """The same, where aiohttp carries the requests; a chunk that cannot be read may end by the clock there."""

    async def failure(base_url: str, form: str, timeouts: Timeouts) -> Exception | None:
        async with httpx.AsyncClient(transport=AiohttpTransport(verify=False)) as http:
            client = KimiVertexClient(
                base_url=base_url,
                timeout=timeouts,
                max_retries=0,
                pace=None,
                implicit_thinking=False,
                http_async_client=http,
            )
            try:
                if is_stream(form):
                    async for _ in client.astream("Hi"):
                        pass
                else:
                    await client.acomplete("Hi")
            except Exception as error:
                return error
        return None

    def check(shape: Shape, shapes: Sequence[Shape], limits: Timeouts) -> None:
        form = in_turns(shapes, shape, "async-stream", "async-whole")
        began = time.monotonic()
        with fault_server(shape, form) as server:
            error = asyncio.run(failure(server.base_url, form, limits))
        assert time.monotonic() - began < PATIENCE / 2
        if shape.right == "text":
            assert error is None, error
        elif error is not None or shape.right == "error":
            expect_sound(error)

    bytes_only = [*SHAPES[::3], *ERROR_SHAPES[::9]]
    each_row(TIME_SHAPES, partial(check, shapes=TIME_SHAPES, limits=LIMITS), at_once=24)
    each_row(bytes_only, partial(check, shapes=bytes_only, limits=Timeouts(first_byte=4, idle=4)))
