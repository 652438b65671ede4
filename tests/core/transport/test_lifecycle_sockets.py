"""When connections are freed and when they are used again: early exits, cancelled tasks, finished streams."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from kimi_vertex import APIError, Finish, KimiVertexClient, ThinkingDelta
from kimi_vertex_emulator import Emulator, Raw, Turn

from ..support_core import ENDLESS, GOOD_STREAM, gone, nothing_left, wait_until

HELLO = Turn(thinking="Hm.", text="Hello")


@pytest.fixture
def client(emulator: Emulator) -> KimiVertexClient:
    return KimiVertexClient(base_url=emulator.base_url)


def test_close_frees_the_socket(emulator: Emulator, client: KimiVertexClient) -> None:
    """`stream.close()` and leaving a `with` block are seen by the server at once."""
    for leave in ("close", "with"):
        emulator.enqueue(ENDLESS)
        stream = client.stream("Hi")
        assert isinstance(next(stream), ThinkingDelta)
        if leave == "close":
            stream.close()
        else:
            with stream:
                pass
        wait_until(lambda: emulator.open_connections == 0, 10)
        assert list(stream) == []


def test_break_frees_the_socket(emulator: Emulator, client: KimiVertexClient) -> None:
    """So is a `break`, and an exception in the loop's body."""
    emulator.enqueue(ENDLESS, ENDLESS)
    for _ in client.stream("Hi"):
        break
    wait_until(lambda: emulator.open_connections == 0, 10)
    with suppress(KeyError):
        for _ in client.stream("Hi"):
            raise KeyError
    wait_until(lambda: emulator.open_connections == 0, 10)


def test_a_forgotten_stream_frees_the_socket(emulator: Emulator, client: KimiVertexClient) -> None:
    """A stream that is dropped in the middle is freed with its last reference."""
    emulator.enqueue(ENDLESS)
    stream = client.stream("Hi")
    next(stream)
    del stream
    wait_until(lambda: emulator.open_connections == 0, 10)


async def test_break_and_close_free_the_socket_async(emulator: Emulator, client: KimiVertexClient) -> None:
    """`break`, `aclose` and dropping a stream are seen by the server at once."""
    emulator.enqueue(*[ENDLESS] * 3)
    async for _ in client.astream("Hi"):
        break
    await gone(emulator)
    stream = client.astream("Hi")
    await anext(stream)
    await stream.aclose()
    await gone(emulator)
    stream = client.astream("Hi")
    await anext(stream)
    del stream
    await gone(emulator)


@pytest.mark.parametrize(
    "answer",
    [ENDLESS, Raw([5.0], status=None), Raw([5.0])],
    ids=["in the answer", "before the head", "after it"],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_cancelling_a_task_frees_the_socket(
    emulator: Emulator, client: KimiVertexClient, answer: Raw, streamed: bool
) -> None:
    """A cancelled task ends at once, wherever its call is, and its connection with it."""
    emulator.enqueue(answer)

    async def call() -> None:
        if streamed:
            async for _ in client.astream("Hi"):
                pass
        else:
            await client.acomplete("Hi")

    task = asyncio.create_task(call())
    while not emulator.requests:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(emulator)


async def test_cancelling_during_the_wait_for_a_retry(emulator: Emulator, client: KimiVertexClient) -> None:
    """The wait before a retry can be cancelled."""
    emulator.enqueue(Raw([b"{}"], status=503, headers={"retry-after": "60"}))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.acomplete("Hi")
    assert len(emulator.requests) == 1


def test_finished_streams_leave_their_connection(emulator: Emulator, client: KimiVertexClient) -> None:
    """Calls one after the other need one connection, streamed or whole, also if they end in an error."""
    emulator.enqueue(*[HELLO] * 4, Raw([b"{}"], status=400), Raw([b"{}"], status=401))
    for number in range(6):
        if number in (2, 3):
            with pytest.raises(APIError):
                list(client.stream("Hi"))
        else:
            assert isinstance(list(client.stream("Hi"))[-1], Finish)
            assert client.complete("Hi").text
    assert emulator.connections_opened == 1
    client.close()


async def test_finished_streams_leave_their_connection_async(
    emulator: Emulator, client: KimiVertexClient
) -> None:
    """The same on an event loop."""
    async with client:
        for _ in range(5):
            assert isinstance([event async for event in client.astream("Hi")][-1], Finish)
            assert (await client.acomplete("Hi")).text
    assert emulator.connections_opened == 1


def test_a_body_that_ends_late_is_waited_for(emulator: Emulator, client: KimiVertexClient) -> None:
    """The end of the body may come a moment after `[DONE]`; the connection is still used again."""
    emulator.enqueue(Raw([*GOOD_STREAM, 0.05]), HELLO)
    list(client.stream("Hi"))
    list(client.stream("Hi"))
    assert emulator.connections_opened == 1
    client.close()


def test_a_body_that_does_not_end_costs_a_moment(emulator: Emulator, client: KimiVertexClient) -> None:
    """A server that keeps a finished stream open delays its end by 0.3 s, and loses the connection."""
    emulator.enqueue(*[Raw([*GOOD_STREAM, 30.0])] * 3)
    started = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(lambda _: list(client.stream("Hi"))[-1], range(3)))
    assert all(isinstance(end, Finish) for end in ends)
    assert 0.25 < time.monotonic() - started < 15
    wait_until(lambda: emulator.open_connections == 0, 10)
    client.close()


def test_draining_leaves_no_thread(emulator: Emulator, client: KimiVertexClient) -> None:
    """The thread that watches over the end of a stream ends with it."""
    with nothing_left(emulator):
        for _ in range(20):
            list(client.stream("Hi"))
        client.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_first_event_comes_before_the_last_byte(
    emulator: Emulator, client: KimiVertexClient, asynchronous: bool
) -> None:
    """Events are handed on as they arrive: the first is there while the server still waits to send the rest."""
    emulator.enqueue(Raw([GOOD_STREAM[0], 0.2, *GOOD_STREAM[1:]]))
    times: list[float] = []

    async def collect() -> None:
        async for _ in client.astream("Hi"):
            times.append(time.monotonic())  # the time is the point

    if asynchronous:
        asyncio.run(collect())
    else:
        times = [time.monotonic() for _ in client.stream("Hi")]
    assert len(times) == 3
    assert times[1] - times[0] > 0.15
    client.close()
