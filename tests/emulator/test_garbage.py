"""Whatever comes over the socket, the emulator refuses or answers it, and serves the next client."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kimi_vertex_emulator import Emulator

from .support_http import PLAIN

CHAT = "/v1/projects/p/locations/global/endpoints/openapi/chat/completions"
BODY = {"model": "moonshotai/kimi-k2-thinking-maas", "messages": [{"role": "user", "content": "Hi"}]}
CALL = {"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}

ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats(-1e300, 1e300) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "function", "name", "parameters", "properties", "text", "a"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
FIELDS = (
    "messages model tools tool_choice response_format stream stream_options max_tokens max_completion_tokens stop "
    "temperature parallel_tool_calls chat_template_kwargs thinking n"
).split()
IN_MESSAGES = "role content tool_calls tool_call_id reasoning_content name".split()
IN_SCHEMAS = (
    "type properties required enum items anyOf allOf oneOf $ref $defs minimum maximum exclusiveMinimum minItems "
    "maxItems minLength maxLength default const format description"
).split()
RELAXED = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def status(http: httpx.Client, emulator: Emulator, body: Any) -> int:
    content = json.dumps(body).encode()
    return http.post(emulator.origin + CHAT, content=content).status_code


@RELAXED
@given(odd=st.dictionaries(st.sampled_from(FIELDS), ODD, min_size=1, max_size=3), strict=st.booleans())
def test_odd_fields_are_refused_or_ignored(
    emulator: Emulator, http: httpx.Client, odd: dict[str, Any], strict: bool
) -> None:
    """No JSON value in a field of the request makes the emulator fail."""
    emulator.strict = strict
    assert status(http, emulator, {**BODY, "tools": [TOOL], **odd}) in {200, 400}


@RELAXED
@given(odd=st.dictionaries(st.sampled_from(IN_MESSAGES), ODD, min_size=1, max_size=3), strict=st.booleans())
def test_odd_messages_are_refused_or_ignored(
    emulator: Emulator, http: httpx.Client, odd: dict[str, Any], strict: bool
) -> None:
    """No JSON value in a message makes the emulator fail."""
    emulator.strict = strict
    history = [{"role": "assistant", "reasoning_content": "r", "tool_calls": [CALL], **odd}]
    assert status(http, emulator, {**BODY, "messages": [*BODY["messages"], *history]}) in {200, 400}


@RELAXED
@given(
    odd=st.dictionaries(st.sampled_from(IN_SCHEMAS), ODD, min_size=1, max_size=4),
    kind=st.sampled_from(["object", "array", "integer", "string"]),
)
def test_odd_schemas_are_followed_as_far_as_they_go(
    emulator: Emulator, http: httpx.Client, odd: dict[str, Any], kind: str
) -> None:
    """A tool whose schema is not a schema can still be forced, and so can a structured answer."""
    inner = {"type": kind, **odd}
    schema = {"type": "object", "properties": {"value": inner, "other": odd}, "required": ["value"]}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert status(http, emulator, {**BODY, "tools": [tool], "tool_choice": "required"}) == 200
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {**schema, **odd}}}
    assert status(http, emulator, {**BODY, "response_format": wanted}) == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"a/b","messages":[{"role":"user","content":"\xff"}]}',
        json.dumps({**BODY, "tools": [{**TOOL, "function": {"name": "f", "parameters": {}}}]})
        .replace('"parameters": {}', '"parameters": ' + '{"items":' * 900 + "{}" + "}" * 900)
        .encode(),
        b"",
        b"x" * 3_000_000,
    ],
    ids=["deep", "no-utf8", "deep-schema", "empty", "large"],
)
def test_bodies_that_no_parser_likes(emulator: Emulator, http: httpx.Client, body: bytes) -> None:
    """They are a 400 or are read as far as they go, in the journal too."""
    assert http.post(emulator.origin + CHAT, content=body).status_code in {200, 400}
    assert emulator.find("anything") == []
    assert http.get(f"{emulator.origin}/_emulator/journal").status_code == 200


def exchange(emulator: Emulator, data: bytes, *, then_eof: bool = False) -> bytes:
    """Send bytes on a connection of their own, and read until the emulator closes or resets it."""
    host, _, port = emulator.host.partition(":")
    received = b""
    with (
        socket.create_connection((host, int(port)), timeout=10) as sock,
        contextlib.suppress(OSError),
    ):
        sock.sendall(data)
        if then_eof:
            sock.shutdown(socket.SHUT_WR)
        for piece in iter(lambda: sock.recv(65536), b""):
            received += piece
    return received


def request(body: bytes, more: str = "") -> bytes:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def test_pipelined_requests_are_answered_in_order(emulator: Emulator) -> None:
    """Three requests in one write get three answers, in their order."""
    bodies = [json.dumps({**BODY, "model": f"m/{number}"}).encode() for number in range(3)]
    data = b"".join(request(body, "connection: close\r\n" * (body is bodies[-1])) for body in bodies)
    answers = exchange(emulator, data).split(b"HTTP/1.1 200")[1:]
    assert [f'"model":"m/{n}"'.encode() in answer for n, answer in enumerate(answers)] == [True] * 3


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (request(b"x" * 10)[:-5], b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 2_000_000 + b"\r\n\r\n", b""),
        (request(b"{}").replace(b"length: 2", b"length: -2"), b"HTTP/1.1 400 "),
        (request(b"{}").replace(b"host: x\r\n", b""), b"HTTP/1.1 400 "),
    ],
    ids=["half-a-body", "tls", "huge-head", "negative-length", "no-host"],
)
def test_broken_http_ends_the_connection_only(
    emulator: Emulator, http: httpx.Client, data: bytes, answer: bytes
) -> None:
    """Bytes that are not a request end the connection, after an answer if the client is still there."""
    assert exchange(emulator, data, then_eof=True).startswith(answer)
    assert status(http, emulator, BODY) == 200
    assert len(emulator.requests) == 1


def test_ipv6_has_brackets() -> None:
    """On `::1` the address can be used in a URL as it is."""
    with Emulator(host="::1") as emulator:
        assert emulator.host.startswith("[::1]:")
        assert httpx.post(emulator.origin + CHAT, json=BODY, verify=PLAIN).status_code == 200


def test_threads_may_script_and_ask_at_once(emulator: Emulator) -> None:
    """Eight threads add rules, ask and look into the journal, and each gets its own answers."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with httpx.Client(verify=PLAIN) as client:
                for turn in range(10):
                    words = f"question {number}/{turn}."
                    emulator.on(words).answer(f"answer {number}/{turn}")
                    body = {**BODY, "messages": [{"role": "user", "content": words}]}
                    answer = client.post(emulator.origin + CHAT, json=body).json()
                    assert answer["choices"][0]["message"]["content"] == f"answer {number}/{turn}"
                    assert len(emulator.find(words)) == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    emulator.verify()


def test_a_broken_brain_is_named_in_the_answer(emulator: Emulator, http: httpx.Client) -> None:
    """The 500 says what the test's own function did wrong."""
    emulator.brain = lambda chat: 5  # type: ignore[assignment, return-value]
    answer = http.post(emulator.origin + CHAT, json=BODY)
    assert answer.status_code == 500
    assert "TypeError: int is not an answer" in answer.json()["error"]["message"]
