"""`on_request`: one report per call, with the figures that a metrics system wants."""

from __future__ import annotations

import logging
import threading

import pytest

from kimi_vertex import APIError, KimiVertexClient, RequestStats
from kimi_vertex_emulator import Emulator, Raw

from ..support_core import FINISH, TEXT, THINKING, WHOLE, answer, each_form, each_stream, good, perform

BUSY = Raw([b"{}"], status=500, headers={"retry-after": "0"})


@pytest.fixture
def reports() -> list[RequestStats]:
    return []


@pytest.fixture
def client(emulator: Emulator, reports: list[RequestStats]) -> KimiVertexClient:
    return KimiVertexClient(base_url=emulator.base_url, on_request=reports.append)


@each_form
def test_a_good_call(
    emulator: Emulator, client: KimiVertexClient, reports: list[RequestStats], form: str
) -> None:
    """Attempts, seconds, times to the first event and the first text, finish reason and usage."""
    emulator.enqueue(BUSY)
    perform(client, form)
    (report,) = reports
    assert report.attempts == 2
    assert report.usage is not None
    assert report.usage.completion_tokens > 0
    assert (report.finish_reason, report.error) == ("stop", None)
    assert report.seconds_to_first_event is not None
    assert report.seconds_to_first_text is not None
    assert 0 < report.seconds_to_first_event <= report.seconds_to_first_text <= report.seconds


@each_stream
def test_times_are_those_of_the_events(
    emulator: Emulator, client: KimiVertexClient, reports: list[RequestStats], form: str
) -> None:
    """The first event is the first thinking; the first text comes later where the model pauses between."""
    emulator.enqueue(Raw([THINKING, 0.1, TEXT, 0.1, FINISH]))
    perform(client, form)
    (report,) = reports
    assert report.seconds_to_first_event is not None
    assert report.seconds_to_first_text is not None
    assert report.seconds_to_first_text - report.seconds_to_first_event > 0.05
    assert report.seconds - report.seconds_to_first_text > 0.05


@each_form
def test_a_failed_call(
    emulator: Emulator, client: KimiVertexClient, reports: list[RequestStats], form: str
) -> None:
    """A failure is reported once, with its class, however many attempts it took."""
    emulator.enqueue(*[BUSY] * 3)
    assert isinstance(perform(client, form).error, APIError)
    (report,) = reports
    assert (report.attempts, report.error, report.finish_reason) == (3, "InternalServerError", None)


@each_stream
def test_a_broken_stream(
    emulator: Emulator, client: KimiVertexClient, reports: list[RequestStats], form: str
) -> None:
    """A stream that breaks off has its times and its error."""
    emulator.enqueue(answer(form, [THINKING, "cut"], [WHOLE]))
    perform(client, form)
    (report,) = reports
    assert (report.error, report.seconds_to_first_text) == ("StreamInterruptedError", None)
    assert report.seconds_to_first_event is not None


def test_a_stream_that_is_left(
    emulator: Emulator, client: KimiVertexClient, reports: list[RequestStats]
) -> None:
    """Leaving early is reported as neither an error nor an end."""
    emulator.enqueue(Raw([THINKING, 5.0]))
    with client.stream("Hi") as stream:
        next(stream)
    (report,) = reports
    assert (report.error, report.finish_reason) == (None, None)
    client.stream("never read").close()
    assert len(reports) == 1


def test_a_listener_that_raises(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A broken listener breaks no call; its traceback is logged."""

    def listener(stats: RequestStats) -> None:
        raise KeyError(stats.attempts)

    client = KimiVertexClient(base_url=emulator.base_url, on_request=listener)
    assert perform(client, "sync-whole").text
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.exc_info is not None


def test_the_listener_runs_in_the_callers_thread(emulator: Emulator) -> None:
    """No thread of the library's calls the user's code."""
    threads: list[threading.Thread] = []
    emulator.enqueue(good("sync-stream"))
    client = KimiVertexClient(
        base_url=emulator.base_url, on_request=lambda _: threads.append(threading.current_thread())
    )
    perform(client, "sync-stream")
    assert threads == [threading.current_thread()]
