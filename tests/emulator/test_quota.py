"""Quotas of every kind, pools and queues; changes while the emulator runs; large runs."""

from __future__ import annotations

import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from kimi_vertex_emulator import Emulator, Quota, Turn
from kimi_vertex_emulator.quota import Meter

BODY = {"model": "a/b", "messages": [{"role": "user", "content": "Hi"}]}


def admitted(quota: Quota, times: list[float]) -> list[bool]:
    """Which of the requests that come at these times are admitted, each of which ends at once."""
    meter, found = Meter(), []
    for now in times:
        found.append(meter.admit(quota, 1, now) is None)
        if found[-1]:
            meter.leave()
    return found


@pytest.mark.parametrize(
    ("kind", "times", "expected"),
    [
        ("sliding", [108, 109, 111, 118, 119, 119.5], [1, 1, 0, 1, 1, 0]),
        ("fixed", [108, 109, 109.5, 110, 111, 112], [1, 1, 0, 1, 1, 0]),
        ("bucket", [100, 100, 100, 105, 105, 110], [1, 1, 0, 1, 0, 1]),
    ],
)
def test_each_kind_of_quota_admits_what_its_window_allows(
    kind: str, times: list[float], expected: list[int]
) -> None:
    """Two requests per ten seconds: in any ten seconds, in each ten of the clock, or one every five after a burst."""
    quota = Quota(requests=2, window=10, kind=kind)  # type: ignore[arg-type]
    assert admitted(quota, times) == list(map(bool, expected))


@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
@pytest.mark.parametrize("limit", [{"requests": 2}, {"tokens": 2}], ids=["requests", "tokens"])
def test_each_kind_refuses_what_exceeds_it(http: httpx.Client, kind: str, limit: dict[str, int]) -> None:
    """Of three requests of one token each, a quota of two requests or two tokens admits two, of whatever kind it is."""
    quota = Quota(**limit, window=3600, kind=kind)  # type: ignore[arg-type]
    with Emulator(quota=quota) as emulator:
        url = f"{emulator.base_url}/chat/completions"
        assert [http.post(url, json=BODY).status_code for _ in "abc"] == [200, 200, 429]


@pytest.mark.parametrize(("kind", "seconds"), [("sliding", 9.0), ("fixed", 8.0), ("bucket", 4.0)])
def test_a_refusal_says_when_there_is_room(kind: str, seconds: float) -> None:
    """The wait is that until the oldest request leaves the window, the next window, or the bucket holds enough."""
    quota, meter = Quota(requests=2, window=10, kind=kind), Meter()  # type: ignore[arg-type]
    meter.admit(quota, 1, 101.0)
    meter.admit(quota, 1, 101.0)
    assert meter.admit(quota, 1, 102.0) == pytest.approx(seconds)


@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
def test_a_quota_of_nothing_refuses_everything(http: httpx.Client, kind: str) -> None:
    """Where no request is allowed, each gets a 429, of whatever kind the quota is."""
    with Emulator(quota=Quota(requests=0, kind=kind)) as emulator:  # type: ignore[arg-type]
        assert http.post(f"{emulator.base_url}/chat/completions", json=BODY).status_code == 429


def test_a_pool_refuses_while_its_places_are_taken(http: httpx.Client) -> None:
    """Of five requests at a time, a pool of three answers three; a place is free again when an answer has ended."""
    three_have_come = threading.Semaphore(0)
    refused: list[int] = []

    def answer(_: object) -> Turn:
        three_have_come.release()
        return Turn(text="x", delay=0.0 if refused else 0.3)

    with Emulator(quota=Quota(cap=3), brain=answer) as emulator, ThreadPoolExecutor(3) as threads:
        url = f"{emulator.base_url}/chat/completions"
        running = [threads.submit(http.post, url, json=BODY) for _ in range(3)]
        for _ in running:
            three_have_come.acquire()
        refused = [http.post(url, json=BODY).status_code for _ in range(2)]
        assert ([one.result().status_code for one in running], refused) == ([200] * 3, [429] * 2)
        assert http.post(url, json=BODY).status_code == 200


def test_a_failing_brain_frees_its_place(http: httpx.Client) -> None:
    """What raises inside the emulator does not take a place of the pool for good."""

    def fail(_: object) -> Turn:
        raise ValueError

    with Emulator(quota=Quota(cap=1), brain=fail) as emulator:
        url = f"{emulator.base_url}/chat/completions"
        assert [http.post(url, json=BODY).status_code for _ in range(2)] == [500, 500]


def test_a_queue_delays_answers(http: httpx.Client) -> None:
    """With one slot, four answers of 0.1 seconds that are asked for at once take four times as long as one."""
    with Emulator(quota=Quota(slots=1), brain=lambda _: Turn(text="x", delay=0.1)) as emulator:
        url = f"{emulator.base_url}/chat/completions"
        start = time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: http.post(url, json=BODY), range(4)))
        assert time.monotonic() - start >= 0.4


def test_who_leaves_a_queue_is_not_answered(http: httpx.Client) -> None:
    """With one slot, a request that waits behind three whose clients have left is answered after the one that is made."""
    with Emulator(quota=Quota(slots=1), brain=lambda _: Turn(text="x", delay=0.5)) as emulator:
        url = f"{emulator.base_url}/chat/completions"
        with ThreadPoolExecutor(4) as threads:
            first = threads.submit(http.post, url, json=BODY)
            time.sleep(0.1)
            for left in [threads.submit(http.post, url, json=BODY, timeout=0.1) for _ in range(3)]:
                assert isinstance(left.exception(), httpx.TimeoutException)
        start = time.monotonic()
        assert http.post(url, json=BODY).status_code == first.result().status_code == 200
        assert time.monotonic() - start < 1.4


def test_a_queue_works_after_another_start(http: httpx.Client) -> None:
    """An emulator that has made requests wait does so again when it is started again."""
    emulator = Emulator(quota=Quota(slots=1), brain=lambda _: Turn(text="x", delay=0.02))
    for _ in range(2):
        with emulator, ThreadPoolExecutor(4) as threads:
            url = f"{emulator.base_url}/chat/completions"
            posts = [threads.submit(http.post, url, json=BODY) for _ in range(4)]
            assert [post.result().status_code for post in posts] == [200] * 4


def test_a_quota_may_change_while_the_emulator_runs(http: httpx.Client) -> None:
    """What the old quota admitted counts for the new one."""
    with Emulator(quota=Quota(requests=2)) as emulator:
        url = f"{emulator.base_url}/chat/completions"
        first = [http.post(url, json=BODY).status_code for _ in range(3)]
        emulator.quota = Quota(requests=3)
        assert (first, [http.post(url, json=BODY).status_code for _ in range(2)]) == (
            [200, 200, 429],
            [200, 429],
        )


def test_a_large_run_needs_constant_memory(http: httpx.Client) -> None:
    """With a `journal_limit`, a hundred and twenty requests more leave nothing behind that forty did not."""
    with Emulator(journal_limit=10, quota=Quota(requests=10, window=0.01)) as emulator:
        url = f"{emulator.base_url}/chat/completions"

        def ask(times: int) -> int:
            for _ in range(times):
                http.post(url, json=BODY)
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = ask(40)
            assert ask(120) - before < 100_000
        finally:
            tracemalloc.stop()
        assert (len(emulator.requests), len(emulator.exchanges)) == (10, 10)
