"""The fault matrix: what a server or the way to it can do wrong, in every form of call, over real sockets."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, product

from kimi_vertex import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APITimeoutError,
    InternalServerError,
    KimiVertexClient,
    RateLimitError,
    StreamInterruptedError,
    Timeouts,
)
from kimi_vertex_emulator import Emulator, Fault, Part, Raw, Turn

from ..support_core import (
    DONE,
    FINISH,
    FORMS,
    GOOD_STREAM,
    JSON_HEAD,
    TEXT,
    THINKING,
    WHOLE,
    Outcome,
    answer,
    data,
    each_row,
    good,
    is_stream,
    nothing_left,
    perform,
    wait_until,
)

SHORT = Timeouts(connect=2, first_byte=0.6, idle=0.6)
STALL = 30.0
HALF = WHOLE[: len(WHOLE) // 2]
OVERSIZED = [b"data: " + b"x" * (8 << 20)] * 4 + [b"x" * 1024]
OVERSIZED_BODY = [b'{"x": "' + b"x" * (8 << 20)] * 4 + [b"x" * 1024]

BEFORE = "broke before the answer began"
ENDED = "without a finish reason|not JSON"

Maker = Callable[[str], Raw | Fault]


@dataclass(frozen=True)
class Row:
    """One row: the answer, and what is to come of it in both shapes; `None` for recovered without a retry."""

    name: str
    make: Maker
    stream: type[APIError] | None
    whole: type[APIError] | None
    words: str = ""
    shown: bool = False
    """Whether the caller of a stream has seen "Hm. Hello" by then."""
    hopeless: bool = False
    """Whether it makes no sense to try again."""

    @property
    def limits(self) -> Timeouts:
        """Short ones where the row is about waiting, so that no other row fails on a busy machine."""
        return (
            SHORT if re.match("stall|keep-alive", self.name) else Timeouts(connect=5, first_byte=15, idle=15)
        )


def both(stream: Sequence[Part], whole: Sequence[Part]) -> Maker:
    return lambda form: answer(form, stream, whole)


def alike(raw: Raw) -> Maker:
    return lambda _: raw


def emulated(kind: str, after: int = 3, seconds: float = STALL) -> Maker:
    """The emulator's own fault; with `after=3` the role, the thinking and the text come before it."""
    return lambda _: Fault(kind, after=after, seconds=seconds, turn=Turn(thinking=["Hm. "], text=["Hello"]))


ERRORS: list[tuple[str, str, type[APIError], str]] = [
    ("object", "error-event", RateLimitError, r"exhausted.*HTTP 429 RESOURCE_EXHAUSTED"),
    ("list", "error-event-list", RateLimitError, r"exhausted.*HTTP 429 RESOURCE_EXHAUSTED"),
    ("flat", "error-event-flat", InternalServerError, "engine died.*HTTP 500"),
]
FAULTS = [
    Row("reset before the head", emulated("reset"), APIConnectionError, APIConnectionError, BEFORE),
    Row("closed before the head", emulated("close"), APIConnectionError, APIConnectionError, BEFORE),
    Row("garbage in place of HTTP", emulated("garbage"), APIConnectionError, APIConnectionError, BEFORE),
    Row(
        "reset in the answer",
        emulated("reset-mid"),
        StreamInterruptedError,
        APIConnectionError,
        "broke",
        shown=True,
    ),
    Row(
        "cut in the answer",
        emulated("cut-mid"),
        StreamInterruptedError,
        APIConnectionError,
        "broke",
        shown=True,
    ),
    Row(
        "clean end in the answer",
        emulated("no-finish"),
        StreamInterruptedError,
        APIResponseError,
        ENDED,
        shown=True,
    ),
    Row(
        "clean end in an event",
        emulated("half-event"),
        StreamInterruptedError,
        APIResponseError,
        ENDED,
        shown=True,
    ),
    Row(
        "stall before the head",
        emulated("stall"),
        APITimeoutError,
        APITimeoutError,
        "did not begin to answer in time",
    ),
    Row("stall after the head", emulated("stall-head"), APITimeoutError, APITimeoutError, "stalled"),
    Row(
        "stall in the answer", emulated("stall-mid"), APITimeoutError, APITimeoutError, "stalled", shown=True
    ),
    Row("keep-alive comments for longer than the timeout", emulated("keep-alive", seconds=1.0), None, None),
    *(
        Row(f"error event {place}, {name}", emulated(kind, after=after), error, error, words, shown=after > 0)
        for place, after in (("first", 0), ("in the answer", 3))
        for name, kind, error, words in ERRORS
    ),
    Row(
        "status 200 with an error body",
        emulated("error-200"),
        InternalServerError,
        InternalServerError,
        r"currently unavailable.*HTTP 503 UNAVAILABLE",
    ),
    Row(
        "malformed JSON first",
        emulated("malformed-json", after=0),
        APIResponseError,
        APIResponseError,
        "not JSON",
    ),
    Row(
        "malformed JSON in the answer",
        emulated("malformed-json"),
        APIResponseError,
        APIResponseError,
        "not JSON",
        shown=True,
    ),
    Row(
        "JSON of another shape",
        both([b'data: ["a"]\n\n'], [b'["a"]']),
        APIResponseError,
        APIResponseError,
        "cannot be read",
    ),
    Row("a stream declared as plain text", emulated("plain-text"), None, None),
    Row(
        "a page of HTML",
        emulated("wrong-content-type"),
        APIResponseError,
        APIResponseError,
        "text/html.*temporary error",
        hopeless=True,
    ),
    Row(
        "an empty body",
        emulated("empty-body"),
        APIConnectionError,
        APIResponseError,
        "without a finish|is empty",
    ),
    Row(
        "choices null",
        both([data({"id": "r1", "choices": None})], [b'{"id": "r1", "choices": null}']),
        StreamInterruptedError,
        APIResponseError,
        "without a finish reason|no choice",
    ),
    Row(
        "choices empty",
        both([data({"id": "r1", "choices": []})], [b'{"id": "r1", "choices": []}']),
        StreamInterruptedError,
        APIResponseError,
        "without a finish reason|no choice",
    ),
    Row(
        "an event without an end",
        both(OVERSIZED, OVERSIZED_BODY),
        APIResponseError,
        APIResponseError,
        "longer than 33,554,432 (bytes|characters)",
        hopeless=True,
    ),
    Row(
        "gzip",
        lambda form: Raw(
            [gzip.compress(b"".join(GOOD_STREAM) if is_stream(form) else WHOLE)],
            headers={**({} if is_stream(form) else JSON_HEAD), "content-encoding": "gzip"},
        ),
        None,
        None,
    ),
    Row(
        "bytes that are not gzip",
        emulated("bad-gzip"),
        APIConnectionError,
        APIConnectionError,
        "broke before any of the answer",
    ),
    Row("kept open after [DONE]", emulated("open-end"), None, None),
    Row("no [DONE]", emulated("no-done"), None, None),
    Row("a finish reason of null", emulated("no-reason"), None, None),
    Row("no [DONE], then cut", both([THINKING, TEXT, FINISH, "cut"], [WHOLE]), None, None),
    Row("no finish reason", both([THINKING, TEXT, DONE], [WHOLE]), None, None),
    Row("clean end in [DONE]", both([THINKING, TEXT, FINISH, b"data: [DON"], [WHOLE]), None, None),
    Row("cut after [DONE]", both([*GOOD_STREAM, "cut"], [WHOLE]), None, None),
]
FAILING = [fault for fault in FAULTS if fault.stream is not None]
HARMLESS = [fault for fault in FAULTS if fault.stream is None]


@contextmanager
def server(*answers: Raw | Fault) -> Iterator[Emulator]:
    """An emulator with answers, which no client leaves a connection to."""
    with Emulator(strict=True) as running:
        running.enqueue(*answers)
        yield running
        wait_until(lambda: running.open_connections == 0)


def expect_hello(outcome: Outcome) -> None:
    assert outcome.text == "Hello"
    assert outcome.completion is not None
    assert outcome.completion.thinking == "Hm. "
    assert outcome.completion.finish_reason == "stop"


def test_each_fault_has_its_error() -> None:
    """Without retries a fault becomes one typed error with its place, its reason and the partial answer."""

    def check(row: tuple[Row, str]) -> None:
        fault, form = row
        with server(fault.make(form)) as emulator:
            base_url = emulator.base_url
            outcome = perform(
                KimiVertexClient(base_url=base_url, max_retries=0, pace=None, timeout=fault.limits), form
            )
        error = outcome.error
        assert type(error) is (fault.stream if is_stream(form) else fault.whole), error
        assert isinstance(error, APIError)
        assert re.search(fault.words, error.message), error.message
        assert base_url in error.message
        partial = error.partial
        if fault.shown and is_stream(form):
            assert partial is not None
            assert (partial.thinking, partial.text, partial.finish_reason) == ("Hm. ", "Hello", None)
        else:
            assert partial is None or (partial.thinking, partial.text) == (None, "")
            assert outcome.events == []

    with nothing_left():
        each_row([*product(FAILING, FORMS)], check, at_once=24)


def test_a_fault_is_survived_unless_seen_or_hopeless() -> None:
    """With retries the call succeeds at the second attempt; an answer that the caller has seen part of is never started over."""

    def check(row: tuple[Row, str]) -> None:
        fault, form = row
        with server(fault.make(form), good(form)) as emulator:
            outcome = perform(KimiVertexClient(base_url=emulator.base_url, timeout=fault.limits), form)
        if fault.hopeless or (fault.shown and is_stream(form)):
            assert outcome.error is not None
            assert len(emulator.chat_requests) == 1
        else:
            expect_hello(outcome)
            assert len(emulator.chat_requests) == 2

    rows = [(fault, form) for fault, forms in zip(FAILING, cycle([FORMS[:2], FORMS[2:]])) for form in forms]
    with nothing_left():
        each_row(rows, check, at_once=24)


def test_oddities_that_do_no_harm() -> None:
    """A fault that leaves the answer whole does not matter: one request, the whole answer, and soon."""

    def check(row: tuple[Row, str]) -> None:
        fault, form = row
        started = time.monotonic()
        with server(fault.make(form)) as emulator:
            expect_hello(perform(KimiVertexClient(base_url=emulator.base_url, timeout=fault.limits), form))
        assert len(emulator.chat_requests) == 1
        assert time.monotonic() - started < STALL / 2

    with nothing_left():
        each_row([*product(HARMLESS, FORMS)], check, at_once=24)
