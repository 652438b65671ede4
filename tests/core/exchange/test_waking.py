"""An endpoint that starts from zero: it is waited for, told from a quota and from overload, and the wait is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kimi_vertex import APIStatusError, InternalServerError, KimiVertexClient, RateLimitError, Timeouts, Wait
from kimi_vertex._exchange.commands import TransportFailure

from .support_flow import BUSY, GOOD, Answer, Play

DNS = "123.us-central1-456789.prediction.vertexai.goog"
ZERO = "Model is not yet ready for inference. Please wait: scale-up from zero is in progress."


def google(status: int, message: str) -> Answer:
    return Answer(status, body=json.dumps({"error": {"code": status, "message": message, "status": "X"}}))


WAKING = google(429, ZERO)
NO_REPLICA = Answer(503, body="no healthy upstream")
QUOTA = google(429, "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests.")
EXHAUSTED = google(429, "Resource exhausted. Please try again later.")


def endpoint(news: list[Wait] | None = None, **settings: Any) -> KimiVertexClient:
    on_wait = None if news is None else news.append
    # Without a pace, what is not a start is retried.
    return KimiVertexClient(
        endpoint_host=DNS,
        access_token="t",
        on_wait=on_wait,
        **{"wake_timeout": 1800, "pace": None, **settings},
    )


class Waking(Play):
    """Plays an endpoint that answers with what its start looks like, until it is up."""

    def __init__(self, kimi: KimiVertexClient, until: float, *looks: Any, **how: Any) -> None:
        self._until, self._looks, self.asked_at = until, looks, list[float]()
        super().__init__(kimi, [], **how)

    def _perform(self, command: Any) -> Any:
        if type(command).__name__ == "Send":
            self.asked_at.append(self.now)
            look = self._looks[(len(self.asked_at) - 1) % len(self._looks)]
            self._answers = [GOOD if self.now >= self._until else look]
        return super()._perform(command)


@pytest.mark.parametrize(
    "looks",
    [
        (WAKING,),
        (NO_REPLICA,),
        (WAKING, NO_REPLICA, BUSY, google(502, "Bad gateway")),
        (NO_REPLICA, TransportFailure("broken", "reset")),
    ],
    ids=["429", "503", "mixed", "broken"],
)
@pytest.mark.parametrize("form", ["stream", "whole"])
def test_fifteen_minutes_lose_no_request(looks: tuple[Any, ...], form: Any) -> None:
    """A start of 15 minutes is waited for, with news at least every 10 s, and the answer comes."""
    news: list[Wait] = []
    times: list[float] = []
    kimi = endpoint()
    play = Waking.__new__(Waking)

    def hear(wait: Wait) -> None:
        news.append(wait)
        times.append(play.now)

    kimi._on_wait = hear
    play.__init__(kimi, 900.0, *looks, form=form, random=lambda: 1.0)  # type: ignore[misc]
    assert play.error is None
    assert 900 <= play.now < 945
    gaps = [later - earlier for earlier, later in zip([0.0, *times], [*times, play.now], strict=True)]
    assert max(gaps) <= 10
    pauses = [later - earlier for earlier, later in zip(play.asked_at, play.asked_at[1:], strict=False)]
    assert pauses == sorted(pauses) or looks[-1] is not WAKING
    assert max(pauses) <= 40
    assert {wait.reason for wait in news} == {"waking"}
    assert news[0].seconds == 0
    assert news[-1].left > 0
    assert "starting" in str(news[0])


@pytest.mark.parametrize(
    "answer", [QUOTA, EXHAUSTED, google(429, "Rate limit reached")], ids=["quota", "exhausted", "rate"]
)
def test_a_quota_is_not_waited_for_as_a_start(answer: Answer) -> None:
    """The same endpoint under a quota's 429 gets the usual retries and no more."""
    play = Play(endpoint(max_retries=2), [answer] * 3)
    assert isinstance(play.error, RateLimitError)
    assert (len(play.sent), play.now < 5) == (3, True)
    assert "wake_timeout" not in play.error.message


def test_overload_is_not_waited_for_as_a_start() -> None:
    """Nor is a server that is up and busy."""
    play = Play(endpoint(max_retries=1), [BUSY] * 2)
    assert isinstance(play.error, InternalServerError)
    assert len(play.sent) == 2


def test_a_quota_in_the_middle_of_a_start_ends_the_wait() -> None:
    """Once a quota is the obstacle, the usual retries hold, counted from then on."""
    play = Play(endpoint(max_retries=1), [WAKING] * 5 + [QUOTA] * 2)
    assert isinstance(play.error, RateLimitError)
    assert len(play.sent) == 7


@pytest.mark.parametrize("answer", [WAKING, NO_REPLICA], ids=["429", "503"])
def test_without_a_limit_the_error_says_what_to_set(answer: Answer) -> None:
    """Who did not ask for a wait gets the usual retries, and is told how long a start takes and what to set."""
    play = Play(endpoint(wake_timeout=None, max_retries=1), [answer] * 2)
    assert isinstance(play.error, APIStatusError)
    assert len(play.sent) == 2
    assert "10 to 30 minutes" in play.error.message[:120]
    assert "wake_timeout=1800" in play.error.message[:120]


def test_the_wait_has_an_end() -> None:
    """When `wake_timeout` is over, the last error says how long has been waited."""
    play = Waking(endpoint(wake_timeout=100), 1e9, WAKING)
    assert isinstance(play.error, RateLimitError)
    assert play.now == pytest.approx(100)
    assert "not ready after 100 s of waiting: raise wake_timeout" in play.error.message[:120]


def test_the_total_time_bounds_the_wait() -> None:
    """`Timeouts.total` holds for a start, too."""
    play = Waking(endpoint(timeout=Timeouts(total=50)), 1e9, WAKING)
    assert play.error is not None
    assert play.now == pytest.approx(50)


def test_the_usual_retries_begin_when_the_endpoint_is_up() -> None:
    """The time of the start is not taken off `max_retry_seconds`."""
    play = Play(endpoint(max_retry_seconds=60, max_retries=2), [WAKING] * 12 + [BUSY, GOOD])
    assert play.error is None
    assert play.now > 60


@pytest.mark.parametrize("message", ["Endpoint 1 doesn't have any deployed model.", "No model deployed"])
def test_a_deployment_that_is_on_its_way(message: str) -> None:
    """Nothing deployed is waited for only by those who ask for it: a model may be on its way."""
    assert Play(endpoint(), [google(400, message), GOOD]).error is None
    told = Play(endpoint(wake_timeout=None), [google(400, message)]).error
    assert "gcloud ai endpoints deploy-model" in str(told)[:120]


def test_other_waits_are_told_too() -> None:
    """`on_wait` is told of every wait before another attempt."""
    news: list[Wait] = []
    play = Play(
        endpoint(news, max_retries=1), [Answer(429, body="busy", headers={"retry-after": "12"}), GOOD]
    )
    assert play.error is None
    assert [(wait.reason, wait.next_attempt) for wait in news] == [("retry", 12), ("retry", 7), ("retry", 2)]
    assert play.waits == [5, 5, 2]


def test_a_listener_that_raises_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What `on_wait` raises is logged, and the wait goes on."""

    def listener(_: Wait) -> None:
        raise RuntimeError("boom")

    kimi = KimiVertexClient(endpoint_host=DNS, access_token="t", on_wait=listener, wake_timeout=60)
    assert Play(kimi, [WAKING, GOOD]).error is None
    assert "on_wait raised" in caplog.text
