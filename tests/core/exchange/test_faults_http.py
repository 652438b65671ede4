"""Statuses, redirects, refused connections, tokens that are refused, and the three timeouts."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import cycle, product
from typing import Any

import httpx
import pytest
from google.oauth2.credentials import Credentials

from kimi_vertex import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ContextOverflowError,
    InternalServerError,
    KimiVertexClient,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    Timeouts,
    accumulate,
)
from kimi_vertex_emulator import Emulator, Raw, Turn

from ..support_core import (
    FORMS,
    GOOD_STREAM,
    THINKING,
    WHOLE,
    RawServer,
    answer,
    each_form,
    each_row,
    good,
    is_stream,
    nothing_left,
    open_sockets,
    perform,
    read_request,
    wait_until,
)

HTML = b"<html><head><style>p{}</style></head><body><h1>502 Bad Gateway</h1></body></html>"


def google(code: int, status: str, message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "status": status, **more}}).encode()


STATUSES: dict[str, tuple[int, bytes, type[APIStatusError], bool, list[str]]] = {
    "400": (400, google(400, "INVALID_ARGUMENT", "No."), BadRequestError, False, ["INVALID_ARGUMENT", "No."]),
    "400 overflow": (
        400,
        b'{"error": {"message": "Your request exceeded model token limit : 262144"}}',
        ContextOverflowError,
        False,
        ["262144"],
    ),
    "400 overflow, in Google's words": (
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "The input token count (300001) exceeds the maximum number of tokens allowed (262144).",
        ),
        ContextOverflowError,
        False,
        ["300001", "262144"],
    ),
    "400 overflow, in vLLM's": (
        400,
        b'{"object": "error", "type": "BadRequestError", "code": 400, "message": "This model\'s maximum context length is 9 tokens. However, you requested 10 tokens."}',
        ContextOverflowError,
        False,
        ["10 tokens"],
    ),
    "400 overflow, in SGLang's": (
        400,
        b'{"object": "error", "type": "BadRequestError", "code": 400, "message": "The input (10 tokens) is longer than the model\'s context length (9 tokens)."}',
        ContextOverflowError,
        False,
        ["10 tokens"],
    ),
    "400 overflow, in SGLang's older words": (
        400,
        b'{"object": "error", "code": 400, "message": "Requested token count exceeds the model\'s maximum context length of 9 tokens."}',
        ContextOverflowError,
        False,
        ["9 tokens"],
    ),
    "401": (
        401,
        b"[%s]" % google(401, "UNAUTHENTICATED", "Expired."),
        AuthenticationError,
        False,
        ["gcloud auth application-default login"],
    ),
    "403": (
        403,
        google(403, "PERMISSION_DENIED", "aiplatform.endpoints.predict denied"),
        PermissionDeniedError,
        False,
        ["roles/aiplatform.user", "add-iam-policy-binding my-project"],
    ),
    "403 disabled": (
        403,
        google(403, "PERMISSION_DENIED", "No.", details=[{"reason": "SERVICE_DISABLED"}]),
        PermissionDeniedError,
        False,
        ["gcloud services enable aiplatform.googleapis.com --project=my-project"],
    ),
    "404": (
        404,
        google(404, "NOT_FOUND", "Publisher Model `x` was not found"),
        NotFoundError,
        False,
        ["2026-10-21", "not enabled for project my-project", "deploy Kimi yourself"],
    ),
    "408": (408, b"", InternalServerError, True, ["HTTP 408", "gave no reason"]),
    "413": (413, b"", RequestTooLargeError, False, ["1.5 MB"]),
    "429": (
        429,
        b"[%s]" % google(429, "RESOURCE_EXHAUSTED", "Resource exhausted."),
        RateLimitError,
        True,
        ["RESOURCE_EXHAUSTED", "Provisioned Throughput"],
    ),
    "500": (500, google(500, "INTERNAL", "Oops."), InternalServerError, True, ["INTERNAL", "Oops."]),
    "502 with HTML": (502, HTML, InternalServerError, True, ["502 Bad Gateway"]),
    "503": (503, google(503, "UNAVAILABLE", "Busy."), InternalServerError, True, ["Busy."]),
    "504": (504, b"upstream timeout", InternalServerError, True, ["upstream timeout"]),
    "418": (418, b'{"detail": "teapot"}', APIStatusError, False, ["HTTP 418", "teapot"]),
}
pytestmark = pytest.mark.usefixtures("short_jitter")


@pytest.fixture
def vertex(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator in place of Google's hosts, so that error texts speak of a project."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    return emulator


@pytest.mark.parametrize(("row", "form"), [*zip(STATUSES.values(), cycle(FORMS))], ids=STATUSES)
def test_each_status_has_its_error(vertex: Emulator, row: tuple[Any, ...], form: str) -> None:
    """A status becomes its error with code, place and next step; whether it may pass is marked on it."""
    status, body, kind, retryable, words = row
    vertex.enqueue(Raw([body] if body else [], status=status, headers={"x-request-id": "r-7"}))
    with nothing_left(vertex):
        error = perform(
            KimiVertexClient(
                "moonshotai/kimi-k2-thinking-maas", project="my-project", max_retries=0, pace=None
            ),
            form,
        ).error
    assert type(error) is kind
    assert isinstance(error, APIStatusError)
    assert (error.status_code, error.is_retryable, error.request_id) == (status, retryable, "r-7")
    assert (error.partial, error.retry_after) == (None, None)
    for word in [*words, "project my-project", "location global", "kimi-k2-thinking-maas"]:
        assert word in error.message


@pytest.mark.parametrize(("row", "form"), [*zip(STATUSES.values(), cycle(FORMS))], ids=STATUSES)
def test_passing_statuses_are_retried(vertex: Emulator, row: tuple[Any, ...], form: str) -> None:
    """Overload and failures are tried again, refusals are not."""
    status, body, kind, retryable, _ = row
    vertex.enqueue(Raw([body] if body else [], status=status), good(form))
    client = KimiVertexClient("moonshotai/kimi-k2-thinking-maas", project="my-project", pace=None)
    outcome = perform(client, form)
    assert len(vertex.chat_requests) == (2 if retryable else 1)
    assert type(outcome.error) is (type(None) if retryable else kind)


def test_retry_after_is_honored() -> None:
    """`Retry-After` in seconds, in fractions, or as a date that has passed; anything else is ignored."""
    passed = format_datetime(datetime.now(UTC), usegmt=True)

    def check(row: tuple[str, str]) -> None:
        form, value = row
        with Emulator() as emulator:
            emulator.enqueue(Raw([b"{}"], status=429, headers={"retry-after": value}), good(form))
            started = time.monotonic()
            assert perform(KimiVertexClient(base_url=emulator.base_url), form).text == "Hello"
        assert value != "0.4" or time.monotonic() - started >= 0.4

    each_row([*product(FORMS, ["0", "0.4", passed, "soon", "-5"])], check, at_once=20)


@each_form
def test_a_wait_beyond_the_budget_is_not_begun(emulator: Emulator, form: str) -> None:
    """Being asked to wait for longer than `max_retry_seconds` raises at once, with the figure in the error."""
    emulator.enqueue(Raw([b"{}"], status=429, headers={"retry-after": "3600"}))
    started = time.monotonic()
    error = perform(KimiVertexClient(base_url=emulator.base_url), form).error
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 3600.0
    assert time.monotonic() - started < 3600 / 100


@each_form
def test_refused_connection(form: str) -> None:
    """Where no server listens, each attempt fails and the error says where the connection was to go."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with nothing_left():
        client = KimiVertexClient(base_url=f"http://127.0.0.1:{port}/v1")
        error = perform(client, form).error
    assert type(error) is APIConnectionError
    assert "Could not connect" in error.message
    assert f"127.0.0.1:{port}" in error.message


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full backlog refuses")
def test_connect_timeout() -> None:
    """A host that does not take the connection ends in a timeout of its own."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        before = open_sockets()

        def check(form: str) -> None:
            client = KimiVertexClient(
                base_url=f"http://127.0.0.1:{full.getsockname()[1]}/v1",
                timeout=Timeouts(connect=0.1),
                max_retries=0,
                pace=None,
            )
            error = perform(client, form).error
            assert type(error) is APITimeoutError
            assert "Could not connect in time" in error.message

        each_row(FORMS, check)
        wait_until(lambda: open_sockets() <= before)


@each_form
def test_a_redirect_is_not_followed(emulator: Emulator, form: str) -> None:
    """A redirect is an error that names the other host, which never hears of the token."""
    asked: list[bytes] = []

    def other(connection: socket.socket) -> None:
        asked.append(read_request(connection))

    with RawServer(other) as elsewhere:
        head = {"location": f"{elsewhere.base_url}/chat/completions?token=none"}
        emulator.enqueue(Raw([b""], status=307, headers=head))
        client = KimiVertexClient(base_url=emulator.base_url, access_token="secret-token")
        error = perform(client, form).error
    assert type(error) is APIStatusError
    assert f"redirects to {elsewhere.base_url}/chat/completions; redirects are not followed" in error.message
    assert "secret" not in error.message
    assert asked == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_redirect_is_not_followed_by_a_client_that_would(emulator: Emulator, streamed: bool) -> None:
    """That holds for clients of the user's, too, which follow redirects by themselves."""
    away = Raw([b""], status=302, headers={"location": emulator.origin})
    emulator.enqueue(away, away)
    with httpx.Client(follow_redirects=True) as own:
        blocking = KimiVertexClient(base_url=emulator.base_url, http_client=own)
        with pytest.raises(APIStatusError, match="HTTP 302"):
            _ = list(blocking.stream("Hi")) if streamed else blocking.complete("Hi")
    async with httpx.AsyncClient(follow_redirects=True) as other:
        client = KimiVertexClient(base_url=emulator.base_url, http_async_client=other)
        with pytest.raises(APIStatusError, match="HTTP 302"):
            _ = [event async for event in client.astream("Hi")] if streamed else await client.acomplete("Hi")
    assert len(emulator.requests) == 2


def refreshable(emulator: Emulator) -> Credentials:
    return Credentials(  # type: ignore[no-untyped-call]
        "stale-token",
        refresh_token="r",
        client_id="c",
        client_secret="s",
        token_uri=emulator.token_uri,
    )


@each_form
def test_a_refused_token_is_replaced_once(emulator: Emulator, form: str) -> None:
    """A 401 with credentials that can be refreshed costs one token request, even without retries."""
    emulator.require_token = True
    emulator.valid_tokens = {"emulator-token-1"}
    client = KimiVertexClient(
        base_url=emulator.base_url,
        credentials=refreshable(emulator),
        max_retries=0,
        pace=None,
        implicit_thinking=False,
    )
    emulator_answer = perform(client, form).text
    assert "emulator" in emulator_answer
    assert [r.bearer for r in emulator.chat_requests] == ["stale-token", "emulator-token-1"]


@each_form
def test_a_second_refusal_is_final(emulator: Emulator, form: str) -> None:
    """If the new token is refused as well, the error is raised: no loop."""
    emulator.valid_tokens = set()
    client = KimiVertexClient(base_url=emulator.base_url, credentials=refreshable(emulator))
    error = perform(client, form).error
    assert type(error) is AuthenticationError
    assert len(emulator.chat_requests) == 2
    assert "stale-token" not in str(error)


@each_form
def test_a_token_endpoint_that_fails_for_a_moment(emulator: Emulator, form: str) -> None:
    """A token service that breaks the connection is tried again like the model's."""
    emulator.enqueue(Raw(["reset"], status=None), route="token")
    credentials = Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri
    )
    emulator.enqueue(good(form))
    assert (
        perform(KimiVertexClient(base_url=emulator.base_url, credentials=credentials), form).text == "Hello"
    )


def two_answers(form: str, base_url: str, timeouts: Timeouts) -> list[str]:
    """The texts of two requests, one after the other."""
    client = KimiVertexClient(base_url=base_url, timeout=timeouts, max_retries=0, pace=None)
    if form.startswith("sync"):
        with client:
            if is_stream(form):
                return [accumulate(client.stream("Hi")).text for _ in range(2)]
            return [client.complete("Hi").text for _ in range(2)]

    async def run() -> list[str]:
        async with client:
            if is_stream(form):
                return [accumulate([event async for event in client.astream("Hi")]).text for _ in range(2)]
            return [(await client.acomplete("Hi")).text for _ in range(2)]

    return asyncio.run(run())


def test_first_byte_and_idle_are_two_timeouts() -> None:
    """A head may take longer than `idle`, and a pause longer than `first_byte`: the second time on a connection, too."""

    def check(row: tuple[str, str]) -> None:
        form, late = row
        pausing = answer(form, [THINKING, 0.4, *GOOD_STREAM[1:]], [WHOLE[:9], 0.4, WHOLE[9:]])
        reply = Turn(text="Hello", delay=0.4) if late == "head" else pausing
        short = {"idle" if late == "head" else "first_byte": 0.3}
        timeouts = Timeouts(**{"connect": 5, "first_byte": 15, "idle": 15, **short})
        with Emulator() as emulator:
            emulator.enqueue(reply, reply)
            assert two_answers(form, emulator.base_url, timeouts) == ["Hello"] * 2
            assert emulator.connections_opened == 1

    each_row([*product(FORMS, ["head", "rest"])], check)


def test_the_wait_between_attempts_is_no_busy_loop(emulator: Emulator) -> None:
    """While a thread waits for its retry it uses no processor time."""
    emulator.enqueue(Raw([b"{}"], status=503, headers={"retry-after": "0.25"}))
    before = time.thread_time()
    KimiVertexClient(base_url=emulator.base_url).complete("Hi")
    assert time.thread_time() - before < 0.2
