"""Faults for chat requests, endpoint resources and tokens; quotas; delays."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, Literal

import httpx
import pytest
from google.oauth2 import credentials

from kimi_vertex import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CredentialsError,
    InternalServerError,
    KimiVertexClient,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    StreamInterruptedError,
    Timeouts,
    accumulate,
)
from kimi_vertex_emulator import FAULTS, ChatRequest, Emulator, Fault, Quota, Turn

TURN = Turn(thinking="I think about it.", text="A few words in answer.")

STREAMED: dict[str, type[Exception] | None] = {
    "reset": APIConnectionError,
    "close": APIConnectionError,
    "garbage": APIConnectionError,
    "400": BadRequestError,
    "413": RequestTooLargeError,
    "stall-head": APITimeoutError,
    "bad-gzip": APIError,
    "half-event": APIError,
    "keep-alive": None,
    "plain-text": None,
    "no-reason": None,
    "no-done": None,
    "open-end": None,
    "stall": APITimeoutError,
    "401": AuthenticationError,
    "403": PermissionDeniedError,
    "404": NotFoundError,
    "408": APIStatusError,
    "429": RateLimitError,
    "500": InternalServerError,
    "502": InternalServerError,
    "503": InternalServerError,
    "504": InternalServerError,
    "empty-body": APIError,
    "wrong-content-type": APIResponseError,
    "error-200": APIError,
    "reset-mid": StreamInterruptedError,
    "cut-mid": StreamInterruptedError,
    "stall-mid": APIError,
    "no-finish": StreamInterruptedError,
    "error-event": APIError,
    "error-event-list": APIError,
    "error-event-flat": APIError,
    "malformed-json": APIError,
    "oversized-line": None,
}


LATE = FAULTS[FAULTS.index("reset-mid") :]


@pytest.fixture
def client(emulator: Emulator) -> Any:
    patient = Timeouts(connect=5, first_byte=0.2, idle=0.2)
    with KimiVertexClient(
        base_url=emulator.base_url, access_token="t", max_retries=0, pace=None, timeout=patient
    ) as made:
        yield made


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_reaches_the_client(emulator: Emulator, client: Any, kind: str) -> None:
    """Each kind of fault is the documented error of the client, or, where it harms nothing, an answer."""
    emulator.enqueue(Fault(kind, turn=TURN, seconds=0.1 if kind == "keep-alive" else 30))
    expected = STREAMED[kind]
    if expected is None:
        list(client.stream("Hi"))
    else:
        with pytest.raises(expected):
            list(client.stream("Hi"))
    assert emulator.pending == 0


@pytest.mark.parametrize("kind", LATE)
def test_a_late_fault_lets_a_part_through(emulator: Emulator, http: httpx.Client, kind: str) -> None:
    """In the middle of a stream the events before the fault arrive as they are."""
    emulator.enqueue(Fault(kind, after=2, seconds=0.05, turn=TURN))
    body = {"model": "a/b", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    got = b""
    try:
        with http.stream("POST", f"{emulator.base_url}/chat/completions", json=body) as response:
            for chunk in response.iter_raw():
                got += chunk
    except httpx.HTTPError:
        assert kind in {"reset-mid", "cut-mid", "stall-mid"}
    assert got.count(b'"finish_reason":null') >= 2
    whole = {"keep-alive", "oversized-line", "plain-text", "no-reason", "open-end"}
    assert (b"[DONE]" in got) == (kind in whole)


def test_whole_answers_are_struck_too(emulator: Emulator, client: Any) -> None:
    """Without streaming, half of the body arrives, or an error in place of it."""
    for kind in ("cut-mid", "reset-mid", "malformed-json", "error-event"):
        emulator.enqueue(Fault(kind, turn=TURN))
        with pytest.raises(APIError):
            client.complete("Hi")
    emulator.enqueue(Fault("oversized-line", turn=TURN))
    assert client.complete("Hi").text == TURN.text


@pytest.mark.parametrize("kind", ["keep-alive", "plain-text", "no-reason", "no-done", "open-end"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_whole_but_odd_is_read_whole(
    emulator: Emulator, client: Any, kind: str, stream: bool
) -> None:
    """Signs of life, another content type and missing marks at the end cost nothing of the answer."""
    emulator.enqueue(Fault(kind, seconds=0.1, turn=TURN))
    read = accumulate(client.stream("Hi")) if stream else client.complete("Hi")
    assert (read.thinking, read.text) == (TURN.thinking, TURN.text)


def test_a_missing_reason_is_missing_on_the_wire(kimi: Any) -> None:
    """With `no-reason` the finish reason is null everywhere, with `no-done` the closing mark is not there."""
    kimi.emulator.enqueue(*[Fault("no-reason", turn=TURN)] * 2, Fault("no-done", turn=TURN))
    assert kimi.post("Hi").json()["choices"][0]["finish_reason"] is None
    streamed, undone = kimi.post("Hi", stream=True).content, kimi.post("Hi", stream=True).content
    assert b'"finish_reason":"' not in streamed
    assert streamed.endswith(b"data: [DONE]\n\n")
    assert b'"finish_reason":"stop"' in undone
    assert b"[DONE]" not in undone


def test_retry_after_is_sent_if_it_is_set(kimi: Any) -> None:
    """Google sends none; a fault may."""
    kimi.emulator.enqueue(Fault("429"), Fault("429", retry_after="7"))
    assert [kimi.post("Hi").headers.get("retry-after") for _ in "ab"] == [None, "7"]


def test_errors_of_streaming_calls_are_in_a_list(kimi: Any) -> None:
    """As Google does, the error of a streaming call is wrapped in a list."""
    kimi.emulator.enqueue(Fault("503"), Fault("503"))
    assert kimi.post("Hi").json()["error"]["status"] == "UNAVAILABLE"
    assert kimi.post("Hi", stream=True).json()[0]["error"]["code"] == 503


@pytest.mark.parametrize("kind", ["reset", "401", "403", "502", "malformed-json", "empty-body"])
def test_the_token_endpoint_can_fail(emulator: Emulator, kind: str) -> None:
    """A fault on the token route fails google-auth's real refresh inside the client; the next one succeeds."""
    found = credentials.Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", token_uri=emulator.token_uri, client_id="c", client_secret="s"
    )
    # google-auth tries again by itself what it takes for passing.
    emulator.enqueue(*[Fault(kind)] * 4, route="token")
    with KimiVertexClient(base_url=emulator.base_url, credentials=found, max_retries=0, pace=None) as client:
        with pytest.raises(CredentialsError):
            client.complete("Hi")
        emulator.reset()
        client.complete("Hi")
    assert emulator.requests[-1].bearer == emulator.issued_tokens[-1]


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_strikes_every_route(
    emulator: Emulator, http: httpx.Client, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Tokens, endpoint resources, text of the metadata server and `:predict` can fail in each way; the emulator does not."""
    place = f"{emulator.origin}/v1/projects/p/locations/l/endpoints/7"
    message = {"role": "user", "content": "Hi"}
    predict = {"instances": [{"@requestFormat": "chatCompletions", "messages": [message]}]}
    flavor = {"metadata-flavor": "Google"}
    email = f"{emulator.origin}/computeMetadata/v1/instance/service-accounts/default/email"
    grant = {"grant_type": "refresh_token", "refresh_token": "r"}
    fault = Fault(kind, seconds=0.01)
    calls: list[tuple[Literal["token", "endpoint", "chat"], Callable[[], object]]] = [
        ("token", lambda: http.post(emulator.token_uri, data=grant)),
        ("token", lambda: http.get(email, headers=flavor)),
        ("endpoint", lambda: http.get(place)),
        ("chat", lambda: http.post(f"{place}:predict", json=predict)),
    ]
    for route, ask in calls:
        emulator.enqueue(fault, route=route)
        with contextlib.suppress(httpx.HTTPError):
            ask()
        assert emulator.pending == 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def statuses(emulator: Emulator, http: httpx.Client, number: int) -> list[int]:
    body = {"model": "a/b", "messages": [{"role": "user", "content": "Hi"}]}
    url = f"{emulator.base_url}/chat/completions"
    return [http.post(url, json=body).status_code for _ in range(number)]


def test_a_quota_answers_429_until_there_is_room(http: httpx.Client) -> None:
    """What exceeds the quota is refused with the wait, and admitted when the window has moved on."""
    with Emulator(quota=Quota(requests=2, retry_after=True)) as emulator:
        assert statuses(emulator, http, 3) == [200, 200, 429]
        refused = http.post(
            f"{emulator.base_url}/chat/completions",
            json={"model": "a/b", "messages": [{"role": "user", "content": "Hi"}]},
        )
        assert 50 < int(refused.headers["retry-after"]) <= 60
        emulator.quota = Quota(requests=2, window=0.05)
        time.sleep(0.06)
        assert statuses(emulator, http, 1) == [200]


@pytest.mark.parametrize("stream", [True, False])
def test_a_turn_can_take_its_time(kimi: Any, stream: bool) -> None:
    """An answer with a delay begins after it, and one without takes less."""
    seconds = []
    for delay in (0.1, 0.0):
        kimi.emulator.enqueue(Turn(text="x", delay=delay))
        start = time.perf_counter()
        kimi.post("Hi", stream=stream)
        seconds.append(time.perf_counter() - start)
    assert seconds[0] >= 0.1
    assert seconds[0] > seconds[1]


def test_a_function_can_draw_faults(http: httpx.Client) -> None:
    """Faults at a rate are a function of the test's own: with the same seed they come in the same places."""
    runs = []
    for seed in (1, 1, 2):
        draw = random.Random(seed)

        def brain(_: ChatRequest, draw: random.Random = draw) -> Fault | str:
            return Fault("503") if draw.random() < 0.3 else "Fine."

        with Emulator(brain=brain) as emulator:
            runs.append(statuses(emulator, http, 40))
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 503}
