"""One token request, however many threads, tasks and loops ask; and when a token is renewed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from kimi_vertex._auth.tokens import TokenSource
from kimi_vertex._secrets import Hidden
from kimi_vertex.errors import CredentialsError
from kimi_vertex_emulator import Emulator, Raw

from .support_source import source_of

FIRST, SECOND = "Bearer emulator-token-1", "Bearer emulator-token-2"


@pytest.fixture
def credentials(emulator: Emulator) -> Credentials:
    return Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri
    )


@pytest.fixture
def source(credentials: Credentials) -> TokenSource:
    return source_of(credentials)


def slow_token(token: str, pause: float = 0.05, lifetime: int = 3600) -> Raw:
    body = json.dumps({"access_token": token, "expires_in": lifetime}).encode()
    return Raw([pause, body], headers={"content-type": "application/json"})


def failure(status: int = 400) -> Raw:
    return Raw([b'{"error": "invalid_grant", "error_description": "Bad Request"}'], status=status)


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def seconds_left(credentials: Credentials, seconds: float) -> None:
    """Let time pass until the token expires in `seconds`."""
    credentials.expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=seconds)


def test_cold_start(source: TokenSource, emulator: Emulator) -> None:
    """20 threads and 100 tasks on two event loops, all cold, make one token request."""
    emulator.enqueue(slow_token("one"), route="token")
    barrier = threading.Barrier(22)

    def in_thread() -> list[str]:
        barrier.wait()
        return [source.headers()["authorization"]]

    async def fifty() -> list[str]:
        barrier.wait()
        return [
            headers["authorization"]
            for headers in await asyncio.gather(*[source.aheaders() for _ in range(50)])
        ]

    with ThreadPoolExecutor(22) as pool:
        futures = [pool.submit(in_thread) for _ in range(20)]
        futures += [pool.submit(lambda: asyncio.run(fifty())) for _ in range(2)]
        seen = [token for future in futures for token in future.result()]
    assert seen == ["Bearer one"] * 120
    assert len(emulator.requests) == 1


def test_fresh(source: TokenSource, emulator: Emulator) -> None:
    """A fresh token is applied again and again without another request."""
    assert {source.headers()["authorization"] for _ in range(5)} == {FIRST}
    assert len(emulator.requests) == 1


async def test_the_loop_is_not_blocked(source: TokenSource, emulator: Emulator) -> None:
    """While a token is fetched, the event loop goes on running other tasks."""
    emulator.enqueue(slow_token("one", 0.15), route="token")
    waiting, ticks = asyncio.ensure_future(source.aheaders()), 0
    while not waiting.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert ticks > 5


async def test_cancelled_callers(source: TokenSource, emulator: Emulator) -> None:
    """Callers that give up, even the first one, neither stop the shared refresh nor fail the others."""
    emulator.enqueue(slow_token("one", 0.15), route="token")
    tasks = [asyncio.ensure_future(source.aheaders()) for _ in range(3)]
    await asyncio.sleep(0.05)
    tasks[0].cancel()
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, asyncio.CancelledError, dict]
    assert len(emulator.requests) == 1


def test_all_callers_gone(source: TokenSource, emulator: Emulator) -> None:
    """A refresh whose last waiter has left still brings the token, even if the loop was closed."""
    emulator.enqueue(slow_token("one", 0.15), route="token")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.aheaders(), 0.05)

    asyncio.run(give_up())
    assert source.headers()["authorization"] == "Bearer one"
    assert len(emulator.requests) == 1


def test_stale(source: TokenSource, credentials: Credentials, emulator: Emulator) -> None:
    """A token that is about to expire is served at once while one refresh runs in the background."""
    source.headers()
    seconds_left(credentials, 60)
    emulator.enqueue(slow_token("two", 0.15), route="token")
    assert {source.headers()["authorization"] for _ in range(20)} == {FIRST}
    wait_until(lambda: source.headers()["authorization"] == "Bearer two")
    assert len(emulator.requests) == 2


async def test_stale_async(source: TokenSource, credentials: Credentials, emulator: Emulator) -> None:
    """The same on an event loop: no caller waits for the early renewal."""
    await source.aheaders()
    seconds_left(credentials, 60)
    emulator.enqueue(slow_token("two", 0.15), route="token")
    assert {(await source.aheaders())["authorization"] for _ in range(20)} == {FIRST}
    await asyncio.to_thread(wait_until, lambda: source.headers()["authorization"] == "Bearer two")
    assert len(emulator.requests) == 2


def test_stale_failure(
    source: TokenSource, credentials: Credentials, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """An early renewal that fails is logged once, and the token that still works stays in use."""
    source.headers()
    seconds_left(credentials, 60)
    emulator.enqueue(failure(), route="token")
    with caplog.at_level(logging.WARNING, "kimi_vertex.auth"):
        source.headers()
        wait_until(lambda: caplog.records)
        assert {source.headers()["authorization"] for _ in range(5)} == {FIRST}
    assert "was not renewed early" in caplog.text
    assert len(caplog.records) == 1
    assert len(emulator.requests) == 2


def test_expired(source: TokenSource, credentials: Credentials, emulator: Emulator) -> None:
    """When a token has expired during a run, every caller waits for one refresh and none fails."""
    source.headers()
    seconds_left(credentials, -1)
    emulator.enqueue(slow_token("two"), route="token")
    with ThreadPoolExecutor(10) as pool:
        seen = list(pool.map(lambda _: source.headers()["authorization"], range(10)))
    assert seen == ["Bearer two"] * 10
    assert len(emulator.requests) == 2


def test_short_lived(emulator: Emulator, source: TokenSource) -> None:
    """A token service whose tokens expire at once still gives every call a token."""
    emulator.token_lifetime = 0
    assert [source.headers()["authorization"] for _ in range(2)] == [FIRST, SECOND]


def test_refused_together(source: TokenSource, emulator: Emulator) -> None:
    """Callers that got a 401 with the same token make one refresh together, also those that come late."""
    source.headers()
    emulator.enqueue(slow_token("two"), route="token")
    with ThreadPoolExecutor(10) as pool:
        seen = list(pool.map(lambda _: source.headers(rejected=Hidden(FIRST))["authorization"], range(10)))
    late = source.headers(rejected=Hidden(FIRST))["authorization"]
    assert {*seen, late} == {"Bearer two"}
    assert len(emulator.requests) == 2


async def test_refused_again(source: TokenSource, emulator: Emulator) -> None:
    """Each newly refused token is replaced."""
    await source.aheaders()
    await source.aheaders(rejected=Hidden(FIRST))
    third = await source.aheaders(rejected=Hidden(SECOND))
    assert third["authorization"] == "Bearer emulator-token-3"


def test_a_refused_static_token_stays() -> None:
    """A static token cannot be replaced, and the source says so."""
    source = source_of(access_token="abc")
    assert source.headers(rejected=Hidden("Bearer abc")) == {"authorization": "Bearer abc"}
    assert not source.can_refresh


def test_shared_failure(source: TokenSource, emulator: Emulator) -> None:
    """Callers that wait together fail together, each with an exception of its own; the next call tries again."""
    emulator.enqueue(Raw([0.15, b'{"error": "invalid_grant"}'], status=400), route="token")

    def attempt(_: int) -> CredentialsError:
        with pytest.raises(CredentialsError) as caught:
            source.headers()
        return caught.value

    with ThreadPoolExecutor(5) as pool:
        errors = list(pool.map(attempt, range(5)))
    assert len({id(error) for error in errors}) == 5
    assert len(emulator.requests) == 1
    assert source.headers()["authorization"] == FIRST


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork(emulator: Emulator) -> None:
    """A child that is forked while a refresh is under way gets a token of its own instead of waiting for ever."""
    script = f"""
import os, threading, time, warnings
import kimi_vertex._auth.google
from google.oauth2.credentials import Credentials
from kimi_vertex._auth.credentials import CredentialSettings
from kimi_vertex._auth.tokens import TokenSource
from kimi_vertex._secrets import Hidden
warnings.simplefilter("ignore", DeprecationWarning)
given = Credentials(None, refresh_token="r", client_id="c", client_secret="s", token_uri={emulator.token_uri!r})
source = TokenSource(CredentialSettings.checked(Hidden(given), Hidden(None)))
caller = threading.Thread(target=source.headers)
caller.start()
time.sleep(0.15)
child = os.fork()
if child == 0:
    os._exit(0 if source.headers()["authorization"] == "Bearer emulator-token-1" else 1)
assert os.waitpid(child, 0)[1] == 0
caller.join()
assert source.headers()["authorization"] == "Bearer slow"
"""
    emulator.enqueue(slow_token("slow", 0.3), route="token")
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(emulator.requests) == 2
