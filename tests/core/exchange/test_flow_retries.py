"""When a call is tried again and how long it waits: the flow on a clock of the test's, without any I/O."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from kimi_vertex import (
    APIConnectionError,
    APIError,
    APIStatusError,
    BadRequestError,
    CredentialsError,
    InternalServerError,
    Pace,
    RateLimitError,
    RequestOptions,
    StreamInterruptedError,
    Timeouts,
)
from kimi_vertex._exchange.commands import (
    TransportFailure,
)

from .support_flow import BUSY, GOOD, Answer, Play, client, piece

BROKEN = TransportFailure("broken", "reset")
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


def test_waits_double_up_to_a_ceiling() -> None:
    """The ceiling of the wait is 0.5 s, doubled for each attempt, and 8 s at most."""
    play = Play(client(max_retries=7), [BUSY] * 7 + [GOOD])
    assert play.waits == [0.5, 1, 2, 4, 8, 8, 8]
    assert play.error is None


def test_the_jitter_is_full() -> None:
    """The wait is a random part of the whole ceiling, down to nothing."""
    draws = iter([0.0, 0.5, 0.25])
    play = Play(client(max_retries=3), [BUSY] * 3 + [GOOD], random=lambda: next(draws))
    assert play.waits == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_attempts_are_bounded(retries: int) -> None:
    """`max_retries` is the number of further attempts; the last error is raised."""
    play = Play(client(max_retries=retries), [BUSY] * 9)
    assert len(play.sent) == retries + 1
    assert isinstance(play.error, InternalServerError)


def test_the_total_time_is_bounded() -> None:
    """No wait is begun that would end after `max_retry_seconds`, the time of the attempts included."""
    play = Play(client(max_retries=9, max_retry_seconds=10.0), [BUSY] * 9, seconds_per_request=3.0)
    assert play.waits == [0.5, 1.0]
    assert len(play.sent) == 3


def test_a_target_that_is_away_is_waited_for() -> None:
    """With `Pace.max_wait` a connection that fails is no retry: it is tried again until that time is over."""
    away = TransportFailure("connect", "refused")
    patient = client(max_retries=1, pace=Pace(max_wait=600.0))
    play = Play(patient, [*[away] * 40, BROKEN, GOOD])
    assert play.error is None
    assert len(play.sent) == 42
    play = Play(patient, [away] * 99)
    assert isinstance(play.error, APIConnectionError)
    assert not play.error.connected
    assert 590 <= sum(play.waits) <= 600


@pytest.mark.parametrize(
    ("pace", "failure"),
    [
        (Pace(), TransportFailure("connect", "refused")),
        (Pace(max_wait=600.0), BROKEN),
        (Pace(max_wait=600.0), TransportFailure("connect", "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")),
    ],
    ids=["no such wait", "a connection that broke", "a certificate"],
)
def test_what_is_not_away_is_a_retry(pace: Pace, failure: TransportFailure) -> None:
    """A request that kills its server is not made for an hour, nor is a wrong address asked so long."""
    play = Play(client(max_retries=1, pace=pace), [failure] * 9)
    assert len(play.sent) == 2


def test_no_wait_ends_after_the_total() -> None:
    """`Timeouts.total` bounds the retries, too: no wait is begun that would end after it."""
    options = RequestOptions(timeout=Timeouts(total=5.0))
    play = Play(client(max_retries=9), [BUSY] * 9, seconds_per_request=2.0, options=options)
    assert play.waits == [0.5]
    assert len(play.sent) == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("0", 0.0),
        ("Sun, 22 Nov 2026 12:00:09 GMT", 9.0),
        ("Sun, 22 Nov 2026 11:59:00 GMT", 0.0),
        ("soon", 0.5),
        ("inf", 0.5),
        ("nan", 0.5),
        ("", 0.5),
    ],
)
def test_retry_after(header: str, seconds: float) -> None:
    """The service's own wait is taken exactly, in seconds or as a date; what cannot be read is ignored."""
    answer = Answer(429, body="{}", headers={"retry-after": header})
    assert Play(client(), [answer, GOOD]).waits == [seconds]


def test_retry_info_in_the_body() -> None:
    """Google's `RetryInfo` counts where there is no header, in an error that is wrapped in a list, too."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}
    body = json.dumps([{"error": {"code": 429, "message": "Slow down.", "details": [{"x": 1}, info]}}])
    assert Play(client(), [Answer(429, body=body), GOOD]).waits == [3.5]


@pytest.mark.parametrize("kind", ["connect", "connect_timeout", "timeout", "broken"])
def test_failures_of_the_way_are_retried(kind: Any) -> None:
    """Whatever keeps a request from its answer is tried again."""
    play = Play(client(), [TransportFailure(kind, "no"), GOOD])
    assert (len(play.sent), play.error) == (2, None)


@pytest.mark.parametrize(
    "message", ["You exceeded your current quota", "insufficient_balance", "Requests per day limit reached"]
)
def test_spent_quotas_are_not_retried(message: str) -> None:
    """The client does not wait for a quota that a moment does not refill."""
    body = json.dumps({"error": {"code": 429, "message": message}})
    play = Play(client(), [Answer(429, body=body)])
    assert isinstance(play.error, RateLimitError)
    assert not play.error.is_retryable


@pytest.mark.parametrize("form", ["stream", "whole"])
def test_what_was_seen_is_never_started_anew(form: Any) -> None:
    """After the first shown event an error is final; where nothing is shown the same error is retried."""
    broken = Answer(batches=GOOD.batches[:1], fails=TransportFailure("broken", "reset"))
    play = Play(client(), [broken, GOOD], form=form)
    if form == "stream":
        assert isinstance(play.error, StreamInterruptedError)
        assert play.error.partial is not None
        assert (play.error.partial.thinking, len(play.sent)) == ("Hm.", 1)
    else:
        assert (play.error, len(play.sent)) == (None, 2)


def test_text_that_was_held_back_is_shown_with_the_last_error_only() -> None:
    """Text that may still turn out to be thinking does not hinder a retry, and is shown when there is none."""
    held = Answer(batches=[[piece(content="Per")]], fails=TransportFailure("broken", "reset"))
    play = Play(client(max_retries=1, implicit_thinking=True), [held, held])
    assert len(play.sent) == 2
    assert isinstance(play.error, APIError)
    assert play.error.partial is not None
    assert [getattr(event, "text", None) for event in play.events] == ["Per"]
    assert play.error.partial.text == "Per"


def test_a_token_service_that_may_recover_is_retried() -> None:
    """`CredentialsError` says itself whether another attempt makes sense."""
    passing, final = CredentialsError("busy", is_retryable=True), CredentialsError("no login")
    assert Play(client(), [passing, GOOD]).error is None
    assert Play(client(), [final, GOOD]).error is final


def test_a_refused_token_is_named_to_the_credentials() -> None:
    """After a 401 the refused header is given back, so that only that token is replaced; it does not count as a retry."""
    refused = Answer(401, body="{}")
    play = Play(client(max_retries=0, pace=None, access_token="x"), [refused, GOOD], refreshable=True)
    assert (play.rejected, play.waits, play.error) == ([None, "first"], [], None)
    assert [request.headers.reveal()["authorization"] for request in play.sent] == ["first", "second"]


REFUSAL = Answer(
    400, body='{"error": {"message": "tool_choice \'required\' is incompatible with thinking enabled"}}'
)
FORCED = RequestOptions(tools=[TOOL], tool_choice="required")
NAMED = RequestOptions(tools=[TOOL], tool_choice="add")


def test_a_forced_choice_falls_back_once_and_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    """The refusal of a forced tool choice costs one request and one warning for the client's whole life."""
    kimi = client(max_retries=0, pace=None)
    with caplog.at_level(logging.WARNING, "kimi_vertex"):
        first = Play(kimi, [REFUSAL, GOOD], options=FORCED)
        second = Play(kimi, [GOOD], options=NAMED)
    assert [body["tool_choice"] for body in first.bodies] == ["required", "auto"]
    assert [body["tool_choice"] for body in second.bodies] == ["auto"]
    assert "one of the tools" in first.bodies[1]["messages"][-1]["content"]
    assert "`add`" in second.bodies[0]["messages"][-1]["content"]
    assert [first.error, second.error] == [None, None]
    assert len([record for record in caplog.records if "tool_choice" in record.getMessage()]) == 1


def test_other_refusals_do_not_change_the_choice() -> None:
    """Any other 400 leaves the tool choice as it is and is raised."""
    play = Play(client(), [Answer(400, body='{"error": {"message": "bad schema"}}')], options=FORCED)
    assert isinstance(play.error, BadRequestError)


def test_the_error_of_the_last_attempt_is_raised() -> None:
    """A caller sees how the call ended, not how it began."""
    play = Play(client(max_retries=1), [BUSY, TransportFailure("connect", "refused")])
    assert type(play.error) is APIConnectionError
    assert not isinstance(play.error, APIStatusError)
    assert play.exchange.completion.text == ""
