"""A request waits for its turn: refusals are no retries, droughts end, and what is no refusal is not waited for."""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kimi_vertex import (
    APIStatusError,
    ConfigurationError,
    InternalServerError,
    KimiVertexClient,
    Pace,
    RateLimitError,
    RequestStats,
    Timeouts,
    Wait,
)
from kimi_vertex._exchange.pace import Turn
from kimi_vertex_emulator import Emulator, Fault, Quota, Raw
from kimi_vertex_emulator import Turn as Says

from ..support_core import FORMS, each_row, good, perform, wait_until
from .support_flow import BUSY, GOOD, Answer, Play, piece

EXHAUSTED = Answer(429, body='{"error": {"code": 429, "message": "Resource exhausted. Please try again."}}')
SPENT = Answer(429, body='{"error": {"code": 429, "message": "Requests per day limit reached."}}')
ZERO = Answer(503, body="no healthy upstream")
REFUSED = Raw([b"{}"], status=429)
_ports = itertools.count(2000)


def client(**settings: Any) -> KimiVertexClient:
    """A client of a target that nobody else has."""
    return KimiVertexClient("kimi", base_url=f"http://127.0.0.1:{next(_ports)}/v1", **settings)


def endless(kimi: KimiVertexClient, answer: Answer) -> Play:
    class Refusing(Play):
        def _perform(self, command: Any) -> Any:
            self._answers = [answer]
            return super()._perform(command)

    return Refusing(kimi, [])


@pytest.mark.parametrize("form", ["stream", "whole"])
@pytest.mark.parametrize(
    "refusal", [EXHAUSTED, BUSY, Answer(529, body="overloaded")], ids=["429", "503", "529"]
)
def test_a_refusal_is_not_a_retry(refusal: Answer, form: Any) -> None:
    """Without any retries, a request that is refused six times is answered."""
    good = GOOD if form == "stream" else Answer(body=GOOD_BODY)
    play = Play(client(max_retries=0), [refusal] * 6 + [good], form=form)
    assert play.error is None
    assert len(play.sent) == 7


GOOD_BODY = '{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}'


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_failure_is_a_retry(status: int) -> None:
    """What is the request's own failure counts as before."""
    play = Play(client(max_retries=1), [Answer(status, body="{}")] * 2)
    assert isinstance(play.error, InternalServerError)
    assert len(play.sent) == 2


def test_a_refusal_inside_a_stream_is_one() -> None:
    """An error event that names 429, before anything was shown, is waited out."""
    inside = Answer(batches=[['{"error": {"code": 429, "message": "Resource exhausted."}}']])
    play = Play(client(max_retries=0), [inside, inside, GOOD])
    assert play.error is None
    assert len(play.sent) == 3


def test_what_was_shown_is_not_asked_again() -> None:
    """A refusal in the middle of an answer that the caller sees is an error."""
    inside = Answer(
        batches=[
            [piece(reasoning_content="Hm.")],
            ['{"error": {"code": 429, "message": "Resource exhausted."}}'],
        ]
    )
    play = Play(client(), [inside, GOOD])
    assert isinstance(play.error, RateLimitError)
    assert play.error.partial is not None


def test_a_drought_ends_after_two_minutes() -> None:
    """Where nothing is ever answered, the error says how long was waited, at which pace, and how many wait."""
    play = endless(client(), EXHAUSTED)
    assert isinstance(play.error, RateLimitError)
    assert play.now == pytest.approx(120)
    assert "The service has taken nothing while this request waited 120 s: try again later" in str(play.error)
    assert "1 requests wait" in str(play.error)
    assert "The pace was not limited" in str(play.error)
    assert "Resource exhausted" in str(play.error)
    assert max(play.waits) <= 15


def test_a_drought_of_a_busy_server_keeps_its_status() -> None:
    """A server that says 503 for two minutes is a server's error."""
    play = endless(client(), BUSY)
    assert isinstance(play.error, InternalServerError)
    assert play.error.status_code == 503


def test_a_drought_is_as_long_as_is_set() -> None:
    """`max_retry_seconds` is how long it is waited for; zero is not at all, and the service's own words stay."""
    assert endless(client(max_retry_seconds=30), EXHAUSTED).now == pytest.approx(30)
    play = endless(client(max_retry_seconds=0), EXHAUSTED)
    assert (len(play.sent), play.now) == (1, 0)
    assert isinstance(play.error, RateLimitError)
    assert "takes no more at the moment" in str(play.error)


def test_a_wait_is_as_long_as_is_set() -> None:
    """`Pace.max_wait` bounds the wait of a request in place of that."""
    play = endless(client(pace=Pace(max_wait=500)), EXHAUSTED)
    assert play.now == pytest.approx(500)
    assert "within max_wait (500 s)" in str(play.error)


def test_the_total_time_bounds_the_wait() -> None:
    """`Timeouts.total` ends it as well."""
    play = endless(client(timeout=Timeouts(total=20)), EXHAUSTED)
    assert play.now == pytest.approx(20)
    assert isinstance(play.error, RateLimitError)


def test_a_spent_quota_is_not_waited_for() -> None:
    """A quota of the day is final."""
    play = Play(client(), [SPENT])
    assert isinstance(play.error, RateLimitError)
    assert (len(play.sent), play.waits) == (1, [])


def test_a_longer_wait_than_allowed_is_not_begun() -> None:
    """A service that wants to be left alone for an hour is not asked for two minutes."""
    play = Play(client(), [Answer(429, body="{}", headers={"retry-after": "3600"})])
    assert isinstance(play.error, RateLimitError)
    assert (play.error.retry_after, play.waits) == (3600, [])


def test_the_wait_that_is_named_is_kept() -> None:
    """`Retry-After` is for all, and exact."""
    play = Play(client(), [Answer(429, body="{}", headers={"retry-after": "12"}), GOOD])
    assert play.error is None
    assert sum(play.waits) == pytest.approx(12)


@pytest.mark.parametrize(
    "named", ["0", "-5", "0.001", "Wed, 21 Oct 2015 07:28:00 GMT", "nan", "inf", "soon", ""]
)
def test_a_wait_of_nothing_is_not_believed_twice(named: str) -> None:
    """A service that names no wait, or one that is over, and refuses again is asked less and less often."""
    play = endless(client(), Answer(429, body="{}", headers={"retry-after": named}))
    assert isinstance(play.error, RateLimitError)
    assert 8 <= len(play.sent) <= 25
    assert play.now == pytest.approx(120)


def test_a_target_that_starts_is_not_refusing() -> None:
    """No replica yet is a matter of `wake_timeout`: without it, of the usual retries."""
    play = Play(client(max_retries=1), [ZERO, ZERO])
    assert isinstance(play.error, APIStatusError)
    assert len(play.sent) == 2


def test_without_a_pace_a_refusal_is_retried() -> None:
    """`pace=None`: as often as `max_retries` says."""
    play = Play(client(pace=None, max_retries=1), [EXHAUSTED] * 2)
    assert isinstance(play.error, RateLimitError)
    assert len(play.sent) == 2


def test_waits_are_told() -> None:
    """`on_wait` hears of it at once and every five seconds, in words that fit."""
    news: list[Wait] = []
    Play(client(on_wait=news.append), [Answer(429, body="{}", headers={"retry-after": "12"}), GOOD])
    assert [(wait.reason, round(wait.seconds)) for wait in news] == [("pace", 0), ("pace", 5), ("pace", 10)]
    assert str(news[0]).startswith("The service takes no more for now: waited 0 s, asking again in 5 s")


def test_the_figures_tell_of_refusals(emulator: Emulator) -> None:
    """`RequestStats` has the refusals, which are attempts, and the seconds of waiting."""
    reports: list[RequestStats] = []
    kimi = KimiVertexClient(base_url=emulator.base_url, on_request=reports.append)
    kimi.complete("One")
    emulator.enqueue(REFUSED)
    kimi.complete("Two")
    assert reports[0].refusals == reports[0].waited == 0
    assert (reports[1].refusals, reports[1].attempts) == (1, 2)
    assert 0 < reports[1].waited <= reports[1].seconds


def test_clients_of_a_target_share_their_pace(emulator: Emulator) -> None:
    """What one client learns holds for the others of its model; `pace_state` shows it."""
    first, second = (KimiVertexClient("a/1", base_url=emulator.base_url) for _ in range(2))
    first.complete("One")
    emulator.enqueue(REFUSED)
    first.complete("Two")
    assert second.pace_state.refused == first.pace_state.refused == 1
    assert second.pace_state.per_second is not None
    assert first.pace_state.running == first.pace_state.waiting == 0


async def test_a_model_does_not_wait_for_another(emulator: Emulator) -> None:
    """While one model is refused again and again, a second one of the same service is answered, in both clients."""
    emulator.brain = lambda chat: Fault("429") if chat.model == "a/1" else Says(text="x")
    reports: list[RequestStats] = []
    settings: Any = {"base_url": emulator.base_url, "on_request": reports.append}
    async with KimiVertexClient("a/1", **settings) as first, KimiVertexClient("a/2", **settings) as second:
        refused = asyncio.create_task(first.acomplete("Hi"))
        while not first.pace_state.refused:
            await asyncio.sleep(0.01)
        assert [(await second.acomplete("Hi")).text, (await first.acomplete("Hi", model="a/2")).text] == [
            "x"
        ] * 2
        assert not refused.done()
        refused.cancel()
    assert [report.waited for report in reports[:2]] == [0, 0]


def test_each_form_waits() -> None:
    """A stream and a whole answer, blocking or not, wait for their turn."""

    def check(form: str) -> None:
        with Emulator() as emulator:
            emulator.enqueue(REFUSED, good(form))
            assert perform(KimiVertexClient(base_url=emulator.base_url, max_retries=0), form).text == "Hello"
            assert len(emulator.chat_requests) == 2

    each_row(FORMS, check)


def test_a_stream_that_is_left_gives_its_turn_back(emulator: Emulator) -> None:
    """Leaving a stream early makes room for others."""
    emulator.enqueue(Says(thinking="Hm.", text="x" * 100, pause=0.05))
    kimi = KimiVertexClient(base_url=emulator.base_url, pace=Pace(max_concurrency=1))
    with kimi.stream("Hi") as events:
        next(events)
        assert kimi.pace_state.running == 1
    assert kimi.pace_state.running == 0
    assert kimi.complete("Hi").text


def test_threads_wait_for_each_other(emulator: Emulator) -> None:
    """With one place, four threads are answered one after the other."""

    def answer(_: object) -> Says:
        return Says(text="x", delay=0.01)

    emulator.brain, emulator.quota = answer, Quota(cap=1)
    kimi = KimiVertexClient(base_url=emulator.base_url, pace=Pace(max_concurrency=1))
    threads = [threading.Thread(target=kimi.complete, args=("Hi",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [exchange.status for exchange in emulator.exchanges] == [200] * 4


def test_what_is_late_beside_answers_is_asked_again() -> None:
    """A late request took more than `max_retry_seconds`, and is asked again all the same if another one was answered."""
    limits: dict[str, Any] = {"timeout": Timeouts(first_byte=1.0), "max_retry_seconds": 0.6}

    def check(other: str | None) -> None:
        with Emulator() as emulator, ThreadPoolExecutor() as threads:
            emulator.enqueue(Says(text="late", delay=30))
            kimi = KimiVertexClient(base_url=emulator.base_url, **limits)
            late = threads.submit(perform, kimi, "sync-whole")
            wait_until(lambda: emulator.chat_requests)
            if other is not None:
                assert perform(kimi, other).error is None
            assert (late.result().error is None) == (other is not None)

    each_row([*FORMS, None], check)


def test_what_waited_behind_others_is_no_retry() -> None:
    """Without any retries, a request that was late behind two late ones is asked again, if an older one was answered."""

    def check(row: tuple[str, float]) -> None:
        form, first = row
        with Emulator() as emulator, ThreadPoolExecutor() as threads:
            emulator.enqueue(Says(text="first", delay=first), *[Says(text="late", delay=30)] * 3)
            kimi = KimiVertexClient(
                base_url=emulator.base_url, timeout=Timeouts(first_byte=1.0), max_retries=0
            )
            asked: list[Any] = []
            while len(asked) < 4:
                asked.append(threads.submit(perform, kimi, form))
                wait_until(lambda: len(emulator.chat_requests) == len(asked))
            assert (asked[3].result().error is None) == (first < 1)

    each_row([*itertools.product(FORMS, [0.2, 30.0])], check)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_has_a_pace_of_its_own() -> None:
    """A child begins anew, even where a thread of its parent holds the lock of the pace."""
    kimi = client()
    pacer = kimi._shared.pacer(kimi.model)
    Play(kimi, [EXHAUSTED, GOOD])
    with pacer._held:
        child = os.fork()
        if not child:
            os._exit(0 if kimi.pace_state.refused == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert kimi.pace_state.refused == 1


def test_a_pickle_holds_the_setting() -> None:
    """The limits travel, what was learned does not."""
    kimi = client(pace=Pace(max_concurrency=3))
    Play(kimi, [EXHAUSTED, GOOD])
    twin = pickle.loads(pickle.dumps(kimi))
    assert twin._settings.pace == Pace(max_concurrency=3)


@pytest.mark.parametrize(
    ("pace", "words"),
    [
        ("slow", "pace is 'slow'; it must be \"shared\", None, or kimi_vertex.Pace."),
        (Pace(max_concurrency=0), "Pace.max_concurrency is 0; it must be a number above 0, or None."),
        (Pace(max_wait=float("nan")), "Pace.max_wait is nan"),
    ],
)
def test_a_wrong_pace_is_refused(pace: Any, words: str) -> None:
    """A setting that means nothing is an error at once."""
    with pytest.raises(ConfigurationError) as caught:
        client(pace=pace)
    assert str(caught.value).startswith(words)


def test_nothing_waits_where_nothing_is_refused() -> None:
    """A request that is answered takes its turn at once."""
    assert Play(client(), [GOOD]).waits == []


def test_the_pace_costs_next_to_nothing(emulator: Emulator) -> None:
    """Where nothing is refused, taking a turn and giving it back is one percent of a request's own work at most."""
    kimi = KimiVertexClient(base_url=emulator.base_url)
    pacer = kimi._shared.pacer(kimi.model)

    def cost(act: Callable[[], object], times: int) -> float:
        act()
        begun = time.thread_time()
        for _ in range(times):
            act()
        return (time.thread_time() - begun) / times

    def pass_through() -> None:
        turn = pacer.turn(time.monotonic(), Pace(), 10.0)
        assert isinstance(turn, Turn)
        pacer.admitted(turn, time.monotonic())
        pacer.gone(turn, time.monotonic())

    request = min(cost(lambda: kimi.complete("Hi"), 20) for _ in range(3))
    assert min(cost(pass_through, 1000) for _ in range(3)) <= 0.01 * request
