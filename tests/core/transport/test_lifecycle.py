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
from typing import Any

import httpx
import pytest

from kimi_vertex import (
    APIError,
    ConfigurationError,
    Finish,
    KimiVertexClient,
)
from kimi_vertex_emulator import Emulator, Raw, Turn

from ..support_core import ENDLESS, GOOD_STREAM, gone, nothing_left, open_sockets, wait_until


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
    """20 threads, 2 calls each, on one client that is cold at the start."""
    with ThreadPoolExecutor(20) as pool, nothing_left(emulator):
        barrier = threading.Barrier(20)

        def work(number: int) -> list[str]:
            barrier.wait()
            return [client.complete(f"Repeat {number}.").text for _ in range(2)]

        answers = list(pool.map(work, range(20)))
        client.close()
        pool.shutdown()
    assert all(f"Repeat {number}." in text for number, texts in enumerate(answers) for text in texts)
    assert len(emulator.chat_requests) == 40


async def test_many_tasks_share_a_client(emulator: Emulator, client: KimiVertexClient) -> None:
    """40 streams at once on one loop do not wait for one another."""

    async def one(number: int) -> str:
        async with client.astream(f"Repeat {number}.") as stream:
            async for _ in stream:
                pass
            return stream.completion.text

    answers = await asyncio.gather(*map(one, range(40)))
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


@pytest.mark.parametrize(
    "secret",
    [{"access_token": "secret-token"}, {"credentials": {"type": "authorized_user", "client_secret": "s"}}],
)
def test_a_client_with_a_secret_is_not_pickled(emulator: Emulator, secret: dict[str, Any]) -> None:
    """Even where no token is needed, the pickle is refused rather than made without the secret."""
    client = KimiVertexClient(base_url=emulator.base_url, **secret)
    with pytest.raises(ConfigurationError, match="Secrets are not pickled"):
        pickle.dumps(client)
    for twin in (copy.copy(client), copy.deepcopy(client)):
        assert twin._shared.tokens is client._shared.tokens


def test_local_callbacks_are_not_pickled(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be found again where a pickle arrives stays behind, with a warning for each; the rest travels."""
    local: Any = lambda _: None  # noqa: E731
    client = KimiVertexClient(
        base_url=emulator.base_url, on_thinking=local, on_wait=local, on_request=print, temperature=0.5
    )
    twin = pickle.loads(pickle.dumps(client))
    assert (twin._on_wait, twin._on_request) == (None, print)
    assert twin._settings.defaults == {"temperature": 0.5}
    assert client._on_wait is local
    assert twin.complete("Hi").text
    left_out = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert sorted(left_out[:2]) == ["on_thinking", "on_wait"]  # type: ignore[type-var]


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
    wait_until(lambda: emulator.open_connections == 1)
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
    """A stream works although its client is otherwise forgotten; their connections end with it."""
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
    """A value that is not an httpx client of the right kind is refused at once, by name."""
    other = httpx.AsyncClient() if name == "http_client" else httpx.Client()
    for wrong, kind in ((other, r"httpx\.(Async)?Client"), ("requests", r"builtins\.str")):
        settings: Any = {name: wrong}
        with pytest.raises(ConfigurationError, match=rf"{name} is {kind}; it must be an httpx\."):
            KimiVertexClient(base_url="http://127.0.0.1:1/v1", **settings)


def test_a_client_of_httpx2_is_told_apart() -> None:
    """Newer libraries use httpx2, whose client has the same name: the refusal says that it is another library."""
    other = pytest.importorskip("httpx2").Client()
    with pytest.raises(ConfigurationError, match=r"is httpx2\.Client; .* httpx2 is another library"):
        KimiVertexClient(base_url="http://127.0.0.1:1/v1", http_client=other)


def test_a_closed_client_of_the_users(emulator: Emulator) -> None:
    """A client of the user's that is closed is a mistake in the settings, said as such."""
    mine = httpx.Client()
    mine.close()
    with pytest.raises(ConfigurationError, match="http_client is closed"):
        KimiVertexClient(base_url=emulator.base_url, http_client=mine).complete("Hi")


def test_logs_have_no_secrets_and_no_prompts(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, `kimi_vertex` logs neither tokens nor prompts nor thinking nor answers."""
    emulator.enqueue(
        Raw([b'{"error": {"message": "Broken."}}'], status=500, headers={"retry-after": "0"}),
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
