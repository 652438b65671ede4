"""What a client holds and when it lets go: loops, threads, forks, copies, clients of the user's, early exits."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest

from kimi_vertex import (
    APIError,
    ConfigurationError,
    Finish,
    KimiVertexClient,
    ThinkingDelta,
)
from kimi_vertex.emulator import Emulator, Raw, Turn
from kimi_vertex.emulator.script import Part

from .support_core import GOOD_STREAM, THINKING, nothing_left, open_sockets, wait_until

HELLO = Turn(thinking="Hm.", text="Hello")
PIECES: list[Part] = [THINKING, 0.05]
ENDLESS = Raw(PIECES * 200)


@pytest.fixture
def client(emulator: Emulator) -> KimiVertexClient:
    return KimiVertexClient(base_url=emulator.base_url)


def test_making_a_client_opens_nothing(emulator: Emulator) -> None:
    """Neither construction nor a stream that is never read does any I/O."""
    before = open_sockets()
    client = KimiVertexClient(base_url=emulator.base_url)
    client.stream("Hi")
    client.astream("Hi")
    assert open_sockets() == before
    assert emulator.connections_opened == 0


TWO_RUNS = """
import asyncio, os
from kimi_vertex import KimiVertexClient

client = KimiVertexClient(base_url=os.environ["BASE_URL"])

async def main(leave_early):
    assert (await client.acomplete("Hi")).text
    async for event in client.astream("Hi"):
        if leave_early:
            break

for leave_early in (False, True, False):
    asyncio.run(main(leave_early))
for event in client.stream("Hi"):
    break
assert client.complete("Hi").text
print("done")
"""


def test_several_event_loops_in_a_row(emulator: Emulator) -> None:
    """One client serves several `asyncio.run` and blocking calls; nothing warns, although nothing is closed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TWO_RUNS],
        env={**os.environ, "BASE_URL": emulator.base_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout.strip(), done.stderr) == ("done", "")
    wait_until(lambda: emulator.open_connections == 0)


def test_threads_share_a_client(emulator: Emulator, client: KimiVertexClient) -> None:
    """20 threads, 5 calls each, on one client that is cold at the start."""
    with ThreadPoolExecutor(20) as pool, nothing_left(emulator):
        barrier = threading.Barrier(20)

        def work(number: int) -> list[str]:
            barrier.wait()
            return [client.complete(f"Repeat {number}.").text for _ in range(5)]

        answers = list(pool.map(work, range(20)))
        client.close()
        pool.shutdown()
    assert all(f"Repeat {number}." in text for number, texts in enumerate(answers) for text in texts)
    assert len(emulator.chat_requests) == 100


async def test_many_tasks_share_a_client(emulator: Emulator, client: KimiVertexClient) -> None:
    """100 streams at once on one loop do not wait for one another."""

    async def one(number: int) -> str:
        async with client.astream(f"Repeat {number}.") as stream:
            async for _ in stream:
                pass
            return stream.completion.text

    answers = await asyncio.gather(*map(one, range(100)))
    assert all(f"Repeat {number}." in text for number, text in enumerate(answers))
    await client.aclose()
    wait_until(lambda: emulator.open_connections == 0)


def test_loops_in_several_threads(emulator: Emulator, client: KimiVertexClient) -> None:
    """Each running loop has connections of its own."""

    async def two() -> list[str]:
        return [answer.text for answer in await asyncio.gather(client.acomplete("a"), client.acomplete("b"))]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: asyncio.run(two()), range(8)))
    assert all(all(texts) for texts in answers)
    wait_until(lambda: emulator.open_connections == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork(emulator: Emulator, client: KimiVertexClient) -> None:
    """A forked child makes connections of its own, and the parent's still work."""
    client.complete("Hi")
    stream = client.stream("Hi")
    next(stream)
    locks = client._clients._lock
    locks.acquire()  # a thread that does not exist in the child may have held it
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            ok = bool(client.complete("child").text) and bool(asyncio.run(client.acomplete("child")).text)
        finally:
            os._exit(0 if ok else 1)
    locks.release()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert isinstance(list(stream)[-1], Finish)
    assert client.complete("parent").text
    assert emulator.connections_opened == 3
    client.close()


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))],
    ids=["copy", "deep", "pickle"],
)
def test_copies_after_use(emulator: Emulator, client: KimiVertexClient, copied: Any) -> None:
    """A used client can be copied and pickled; the twin has the settings, and connections of its own."""
    client.complete("Hi", temperature=0.5)
    twin = copied(client)
    client.close()
    assert twin.complete("Hi").text
    assert repr(twin) == repr(client)
    assert emulator.connections_opened == 2
    twin.close()


def test_a_pickle_has_no_static_token(emulator: Emulator) -> None:
    """A pickle holds no token; where one is needed, the unpickled client says that it is missing."""
    client = KimiVertexClient(project="my-project", access_token="secret-token")
    pickled = pickle.dumps(client)
    assert b"secret-token" not in pickled
    with pytest.raises(Exception, match="never written into a pickle"):
        pickle.loads(pickled).complete("Hi")


def test_a_closed_client_can_be_used_again(emulator: Emulator, client: KimiVertexClient) -> None:
    """`close` and the end of a `with` block close connections, not the client."""
    for _ in range(2):
        with nothing_left(emulator), client:
            assert client.complete("Hi").text
    assert emulator.connections_opened == 2


async def test_a_closed_client_can_be_used_again_async(emulator: Emulator, client: KimiVertexClient) -> None:
    """The same with `async with`, also if two tasks close it at once."""
    for _ in range(2):
        async with client:
            assert (await client.acomplete("Hi")).text
            await asyncio.gather(client.aclose(), client.aclose())
        wait_until(lambda: emulator.open_connections == 0)
    assert emulator.connections_opened == 2


def test_close_during_a_stream(emulator: Emulator, client: KimiVertexClient) -> None:
    """Closing the client under a running blocking stream lets it end; then its connection is closed."""
    emulator.enqueue(Raw([GOOD_STREAM[0], 0.05, *GOOD_STREAM[1:]]))
    stream = client.stream("Hi")
    next(stream)
    client.close()
    assert client.complete("Hi").text
    client.close()
    assert emulator.open_connections == 1
    assert isinstance(list(stream)[-1], Finish)
    wait_until(lambda: emulator.open_connections == 0)


async def test_aclose_during_a_stream(emulator: Emulator, client: KimiVertexClient) -> None:
    """Closing the client under a running asynchronous stream ends that stream with a typed error."""
    emulator.enqueue(ENDLESS)
    stream = client.astream("Hi")
    await anext(stream)
    await client.aclose()
    with pytest.raises(APIError) as caught:
        _ = [event async for event in stream]
    assert caught.value.partial is not None
    await gone(emulator)


def test_a_client_lives_as_long_as_its_streams(emulator: Emulator) -> None:
    """A stream works although nobody holds its client, whose connections end with it."""
    with nothing_left(emulator):
        assert isinstance(list(KimiVertexClient(base_url=emulator.base_url).stream("Hi"))[-1], Finish)


def test_an_unused_client_is_freed_at_once(emulator: Emulator) -> None:
    """Dropping the last reference closes the connections, without a collection of cycles."""
    gc.disable()
    try:
        client = KimiVertexClient(base_url=emulator.base_url)
        client.complete("Hi")
        gone = weakref.ref(client)
        del client
        assert gone() is None
        wait_until(lambda: emulator.open_connections == 0)
    finally:
        gc.enable()


def test_clients_of_the_users_are_used_and_left_open(emulator: Emulator) -> None:
    """Given HTTP clients carry the calls, with their own settings, and are never closed."""

    async def run() -> None:
        async with httpx.AsyncClient(headers={"x-mine": "async"}) as mine:
            async with KimiVertexClient(base_url=emulator.base_url, http_async_client=mine) as client:
                await client.acomplete("Hi")
            assert not mine.is_closed

    with httpx.Client(headers={"x-mine": "sync"}) as mine:
        with KimiVertexClient(base_url=emulator.base_url, http_client=mine) as client:
            client.complete("Hi")
            list(client.stream("Hi"))
        assert not mine.is_closed
    asyncio.run(run())
    assert [r.headers["x-mine"] for r in emulator.requests] == ["sync", "sync", "async"]


@pytest.mark.parametrize("name", ["http_client", "http_async_client"])
def test_wrong_clients_are_refused(name: str) -> None:
    """What is no httpx client of the right kind is refused at once, by name."""
    other = httpx.AsyncClient() if name == "http_client" else httpx.Client()
    for wrong, kind in ((other, "(Async)?Client"), ("requests", "str")):
        settings: Any = {name: wrong}
        with pytest.raises(ConfigurationError, match=rf"{name} is {kind}; it must be an httpx\."):
            KimiVertexClient(base_url="http://127.0.0.1:1/v1", **settings)


def test_a_closed_client_of_the_users(emulator: Emulator) -> None:
    """A client of the user's that is closed is a mistake in the settings, said as such."""
    mine = httpx.Client()
    mine.close()
    with pytest.raises(ConfigurationError, match="http_client is closed"):
        KimiVertexClient(base_url=emulator.base_url, http_client=mine).complete("Hi")


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
        wait_until(lambda: emulator.open_connections == 0, 1)
        assert list(stream) == []


def test_break_frees_the_socket(emulator: Emulator, client: KimiVertexClient) -> None:
    """So is a `break`, and an exception in the loop's body."""
    emulator.enqueue(ENDLESS, ENDLESS)
    for _ in client.stream("Hi"):
        break
    wait_until(lambda: emulator.open_connections == 0, 1)
    with suppress(KeyError):
        for _ in client.stream("Hi"):
            raise KeyError
    wait_until(lambda: emulator.open_connections == 0, 1)


def test_a_forgotten_stream_frees_the_socket(emulator: Emulator, client: KimiVertexClient) -> None:
    """A stream that is dropped in the middle is freed with its last reference."""
    emulator.enqueue(ENDLESS)
    stream = client.stream("Hi")
    next(stream)
    del stream
    wait_until(lambda: emulator.open_connections == 0, 1)


async def gone(emulator: Emulator) -> None:
    async with asyncio.timeout(1):
        while emulator.open_connections:
            await asyncio.sleep(0.005)


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
    emulator.enqueue(*[Raw([*GOOD_STREAM, 5.0])] * 3)
    started = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(lambda _: list(client.stream("Hi"))[-1], range(3)))
    assert all(isinstance(end, Finish) for end in ends)
    assert 0.25 < time.monotonic() - started < 2
    wait_until(lambda: emulator.open_connections == 0, 1)
    client.close()


def test_draining_needs_no_thread_for_each_stream(emulator: Emulator, client: KimiVertexClient) -> None:
    """One thread watches over all streams that end within its time, and then ends itself."""
    before = threading.active_count()
    names: set[int] = set()
    for _ in range(20):
        list(client.stream("Hi"))
        names |= {t.ident or 0 for t in threading.enumerate() if t.name == "kimi-vertex-drain"}
        assert threading.active_count() <= before + 1
    assert len(names) < 10
    wait_until(lambda: threading.active_count() == before, 1)
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


def test_logs_have_no_secrets_and_no_prompts(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, `kimi_vertex` logs neither tokens nor prompts nor thinking nor answers."""
    emulator.enqueue(
        Raw([b'{"error": {"message": "Busy."}}'], status=503, headers={"retry-after": "0"}),
        Turn(thinking="private-thought", text="private-answer"),
        Turn(thinking="private-thought", text=None),
    )
    with caplog.at_level(logging.DEBUG, "kimi_vertex"):
        client = KimiVertexClient(base_url=emulator.base_url, access_token="secret-token")
        client.complete("private-question")
        list(client.stream("private-question"))
        client.close()
    ours = [record for record in caplog.records if record.name.startswith("kimi_vertex")]
    assert any("Attempt 1 failed" in record.getMessage() for record in ours)
    assert not any(word in record.getMessage() for word in ("secret", "private") for record in ours)


def test_close_between_calls_of_other_threads(emulator: Emulator, client: KimiVertexClient) -> None:
    """Closing the client while other threads call it breaks none of their calls."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        while not stop.is_set():
            try:
                client.complete("Hi")
            except BaseException as error:
                errors.append(error)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(work)
        for _ in range(20):
            time.sleep(0.01)
            client.close()
        stop.set()
    client.close()
    assert errors == []
