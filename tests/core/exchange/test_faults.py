"""The fault matrix: what a server or the way to it can do wrong, in every form of call, over real sockets."""

from __future__ import annotations

import gzip
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

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
from kimi_vertex_emulator import Emulator, Part, Raw

from ..support_core import (
    DONE,
    FINISH,
    GOOD_STREAM,
    JSON_HEAD,
    TEXT,
    THINKING,
    WHOLE,
    Outcome,
    answer,
    data,
    each_form,
    good,
    is_stream,
    nothing_left,
    perform,
)

SHORT = Timeouts(connect=2, first_byte=0.25, idle=0.25)
STALL = 5.0
PINGS: list[Part] = [part for _ in range(4) for part in (b": ping\n\n", 0.1)]
BLANKS: list[Part] = [part for _ in range(4) for part in (b"\n", 0.1)]
HALF = WHOLE[: len(WHOLE) // 2]
OVERLOADED = {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}
EXHAUSTED = {"error": {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED"}}
FLAT = {"object": "error", "message": "Engine died.", "type": "InternalServerError", "code": 500}
OVERSIZED = [b"data: " + b"x" * (8 << 20)] * 4 + [b"x" * 1024]
OVERSIZED_BODY = [b'{"x": "' + b"x" * (8 << 20)] * 4 + [b"x" * 1024]

Maker = Callable[[str], Raw]


@dataclass(frozen=True)
class Fault:
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


def both(stream: Sequence[Part], whole: Sequence[Part]) -> Maker:
    return lambda form: answer(form, stream, whole)


def alike(raw: Raw) -> Maker:
    return lambda _: raw


FAULTS = [
    Fault(
        "reset before the head",
        alike(Raw(["reset"], status=None)),
        APIConnectionError,
        APIConnectionError,
        "broke before the answer began",
    ),
    Fault(
        "closed before the head",
        alike(Raw([], status=None)),
        APIConnectionError,
        APIConnectionError,
        "broke before the answer began",
    ),
    Fault(
        "garbage in place of HTTP",
        alike(Raw([b"220 mail ready\r\n"], status=None)),
        APIConnectionError,
        APIConnectionError,
        "broke before the answer began",
    ),
    Fault(
        "reset in the answer",
        both([THINKING, TEXT, 0.05, "reset"], [HALF, 0.05, "reset"]),
        StreamInterruptedError,
        APIConnectionError,
        "broke",
        shown=True,
    ),
    Fault(
        "cut in the answer",
        both([THINKING, TEXT, "cut"], [HALF, "cut"]),
        StreamInterruptedError,
        APIConnectionError,
        "broke",
        shown=True,
    ),
    Fault(
        "clean end in the answer",
        both([THINKING, TEXT], [HALF]),
        StreamInterruptedError,
        APIResponseError,
        r"without a finish reason|not JSON",
        shown=True,
    ),
    Fault(
        "clean end in an event",
        both([THINKING, TEXT, FINISH[:40]], [HALF]),
        StreamInterruptedError,
        APIResponseError,
        r"without a finish reason|not JSON",
        shown=True,
    ),
    Fault(
        "stall before the head",
        alike(Raw([STALL], status=None)),
        APITimeoutError,
        APITimeoutError,
        "did not begin to answer in time",
    ),
    Fault("stall after the head", both([STALL], [STALL]), APITimeoutError, APITimeoutError, "stalled"),
    Fault(
        "stall in the answer",
        both([THINKING, TEXT, STALL], [HALF, STALL]),
        APITimeoutError,
        APITimeoutError,
        "stalled",
        shown=True,
    ),
    Fault(
        "keep-alive comments for longer than the timeout",
        both([*PINGS, *GOOD_STREAM], [*BLANKS, WHOLE]),
        None,
        None,
    ),
    *(
        Fault(
            f"error event first, {name}",
            both([data(value)], [data(value)[6:]]),
            kind,
            kind,
            words,
        )
        for name, value, kind, words in (
            ("object", OVERLOADED, InternalServerError, r"HTTP 503 \(UNAVAILABLE\) for .*Overloaded"),
            ("list", [EXHAUSTED], RateLimitError, r"HTTP 429 \(RESOURCE_EXHAUSTED\) for .*exhausted"),
            ("flat", FLAT, InternalServerError, "HTTP 500 .*Engine died"),
        )
    ),
    *(
        Fault(
            f"error event in the answer, {name}",
            both([THINKING, TEXT, data(value), DONE], [data(value)[6:]]),
            kind,
            kind,
            words,
            shown=True,
        )
        for name, value, kind, words in (
            ("object", OVERLOADED, InternalServerError, r"HTTP 503 \(UNAVAILABLE\) .*Overloaded"),
            ("list", [EXHAUSTED], RateLimitError, r"HTTP 429 \(RESOURCE_EXHAUSTED\) .*exhausted"),
            ("flat", FLAT, InternalServerError, "HTTP 500 .*Engine died"),
        )
    ),
    Fault(
        "status 200 with an error body",
        alike(Raw([data(OVERLOADED)[6:]], headers=JSON_HEAD)),
        InternalServerError,
        InternalServerError,
        "Overloaded",
    ),
    Fault(
        "malformed JSON first",
        both([b"data: {nonsense\n\n"], [b"{nonsense"]),
        APIResponseError,
        APIResponseError,
        "not JSON",
    ),
    Fault(
        "malformed JSON in the answer",
        both([THINKING, TEXT, b"data: {nonsense\n\n"], [WHOLE[:-1]]),
        APIResponseError,
        APIResponseError,
        "not JSON",
        shown=True,
    ),
    Fault(
        "JSON of another shape",
        both([b'data: ["a"]\n\n'], [b'["a"]']),
        APIResponseError,
        APIResponseError,
        "cannot be read",
    ),
    Fault(
        "a stream declared as plain text",
        alike(Raw(GOOD_STREAM, headers={"content-type": "text/plain"})),
        None,
        None,
    ),
    Fault(
        "a page of HTML",
        alike(Raw([b"<html><h1>Sign in</h1></html>"], headers={"content-type": "text/html"})),
        APIResponseError,
        APIResponseError,
        "text/html.*Sign in",
        hopeless=True,
    ),
    Fault("an empty body", both([], []), APIConnectionError, APIResponseError, "without a finish|is empty"),
    Fault(
        "choices null",
        both([data({"id": "r1", "choices": None})], [b'{"id": "r1", "choices": null}']),
        StreamInterruptedError,
        APIResponseError,
        "without a finish reason|no choice",
    ),
    Fault(
        "choices empty",
        both([data({"id": "r1", "choices": []})], [b'{"id": "r1", "choices": []}']),
        StreamInterruptedError,
        APIResponseError,
        "without a finish reason|no choice",
    ),
    Fault(
        "an event without an end",
        both(OVERSIZED, OVERSIZED_BODY),
        APIResponseError,
        APIResponseError,
        "longer than 33,554,432 (bytes|characters)",
        hopeless=True,
    ),
    Fault(
        "gzip",
        lambda form: Raw(
            [gzip.compress(b"".join(GOOD_STREAM) if is_stream(form) else WHOLE)],
            headers={**({} if is_stream(form) else JSON_HEAD), "content-encoding": "gzip"},
        ),
        None,
        None,
    ),
    Fault(
        "gzip that is none",
        alike(Raw([b"certainly not"], headers={"content-encoding": "gzip"})),
        APIConnectionError,
        APIConnectionError,
        "broke before any of the answer came",
    ),
    Fault(
        "kept open after [DONE]",
        both([*GOOD_STREAM, STALL], [WHOLE]),
        None,
        None,
    ),
    Fault("no [DONE]", both([THINKING, TEXT, FINISH], [WHOLE]), None, None),
    Fault("no [DONE], then cut", both([THINKING, TEXT, FINISH, "cut"], [WHOLE]), None, None),
    Fault("no finish reason", both([THINKING, TEXT, DONE], [WHOLE]), None, None),
    Fault("clean end in [DONE]", both([THINKING, TEXT, FINISH, b"data: [DON"], [WHOLE]), None, None),
    Fault("cut after [DONE]", both([*GOOD_STREAM, "cut"], [WHOLE]), None, None),
]
FAILING = [fault for fault in FAULTS if fault.stream is not None]
HARMLESS = [fault for fault in FAULTS if fault.stream is None]


@pytest.fixture(autouse=True)
def _short_jitter() -> Iterator[None]:
    """The first three waits before a retry are a few milliseconds."""
    state = random.getstate()
    random.seed(116882)
    yield
    random.setstate(state)


def rows(faults: list[Fault]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", faults, ids=[fault.name for fault in faults])


def expect_hello(outcome: Outcome) -> None:
    assert outcome.text == "Hello"
    assert outcome.completion is not None
    assert outcome.completion.thinking == "Hm. "
    assert outcome.completion.finish_reason == "stop"


@each_form
@rows(FAILING)
def test_each_fault_has_its_error(emulator: Emulator, fault: Fault, form: str) -> None:
    """Without retries a fault becomes one typed error with its place, its reason and the partial answer."""
    emulator.enqueue(fault.make(form))
    with nothing_left(emulator):
        client = KimiVertexClient(base_url=emulator.base_url, max_retries=0, timeout=SHORT)
        outcome = perform(client, form)
    error = outcome.error
    assert type(error) is (fault.stream if is_stream(form) else fault.whole), error
    assert isinstance(error, APIError)
    assert re.search(fault.words, error.message), error.message
    assert emulator.base_url in error.message
    partial = error.partial
    if fault.shown and is_stream(form):
        assert partial is not None
        assert (partial.thinking, partial.text, partial.finish_reason) == ("Hm. ", "Hello", None)
    else:
        assert partial is None or (partial.thinking, partial.text) == (None, "")
        assert outcome.events == []


@each_form
@rows(FAILING)
def test_a_fault_is_survived_unless_seen_or_hopeless(emulator: Emulator, fault: Fault, form: str) -> None:
    """With retries the call succeeds at the second attempt; what the caller has seen is never started anew."""
    emulator.enqueue(fault.make(form), good(form))
    with nothing_left(emulator):
        outcome = perform(KimiVertexClient(base_url=emulator.base_url, timeout=SHORT), form)
    if fault.hopeless or (fault.shown and is_stream(form)):
        assert outcome.error is not None
        assert len(emulator.chat_requests) == 1
    else:
        expect_hello(outcome)
        assert len(emulator.chat_requests) == 2


@each_form
@rows(HARMLESS)
def test_oddities_that_do_no_harm(emulator: Emulator, fault: Fault, form: str) -> None:
    """What leaves the answer whole is no fault: one request, the whole answer, and soon."""
    emulator.enqueue(fault.make(form))
    started = time.monotonic()
    with nothing_left(emulator):
        expect_hello(perform(KimiVertexClient(base_url=emulator.base_url, timeout=SHORT), form))
    assert len(emulator.chat_requests) == 1
    assert time.monotonic() - started < STALL / 2
