"""What a server teaches about its kind and its model, and what one setting of the client makes of it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from kimi_vertex import KimiVertexClient
from kimi_vertex.errors import BadRequestError, ConfigurationError
from kimi_vertex_emulator import Emulator, Raw, Rules, Turn

from ..support_core import each_form, perform

K3 = "moonshotai/kimi-k3"
K2_5 = "moonshotai/kimi-k2.5"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}


@each_form
def test_sampling_that_the_server_fixes(form: str, caplog: pytest.LogCaptureFixture) -> None:
    """A refused temperature is left out, then and later, and the log says so once."""
    with Emulator(rules=Rules(temperature=True)) as emulator, caplog.at_level(logging.WARNING):
        keep = KimiVertexClient(K3, base_url=emulator.base_url)
        for _ in range(2):
            client = KimiVertexClient(K3, base_url=emulator.base_url, temperature=0.2)
            assert perform(client, form).text
        sent = ["temperature" in request.json for request in emulator.requests if request.json]
        assert keep.facts["fixes_sampling[moonshotai/kimi-k3]"].value
    assert sent == [True, False, False]
    assert len([r for r in caplog.records if "fixes temperature" in r.message]) == 1


REFUSED = [
    ("thinking", "Unrecognized request argument supplied: thinking"),
    ("chat_template_kwargs", "body.chat_template_kwargs: Extra inputs are not permitted"),
]


def _refusal(words: str) -> Raw:
    body = {"error": {"message": words, "type": "invalid_request_error"}}
    return Raw([json.dumps(body).encode()], status=400, headers={"content-type": "application/json"})


@each_form
@pytest.mark.parametrize(("refused", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_one_way_to_switch_thinking_off(form: str, refused: str, words: str) -> None:
    """Of the two ways, the one that the server does not know is left out, then and later."""
    with Emulator() as emulator:
        emulator.enqueue(_refusal(words))
        with KimiVertexClient(K2_5, base_url=emulator.base_url, max_retries=0) as client:
            for _ in range(2):
                other = KimiVertexClient(K2_5, base_url=emulator.base_url, max_retries=0)
                assert perform(other, form, reasoning_effort="none").text
            assert client.facts["refused_switch[moonshotai/kimi-k2.5]"].value == refused
        both = {"thinking", "chat_template_kwargs"}
        sent = [request.json.keys() & both for request in emulator.requests if request.json]
    assert sent == [both, both - {refused}, both - {refused}]


def test_both_ways_to_switch_thinking_off_are_refused() -> None:
    """A server that knows neither is asked twice, and its words are the error."""
    with Emulator() as emulator, KimiVertexClient(K2_5, base_url=emulator.base_url) as client:
        emulator.enqueue(*(_refusal(words) for _, words in REFUSED))
        with pytest.raises(BadRequestError, match="chat_template_kwargs"):
            client.complete("Hi", reasoning_effort="none")
        assert len(emulator.requests) == 2


SHOWN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("moonshot", {"system_fingerprint": "fpv0_abc"}, {}),
    ("sglang", {}, {"matched_stop": 163586}),
    ("vllm", {}, {"stop_reason": None, "token_ids": None}),
]


@pytest.mark.parametrize(("server", "top", "choice"), SHOWN, ids=[row[0] for row in SHOWN])
def test_kind_of_server_is_learned(server: str, top: dict[str, Any], choice: dict[str, Any]) -> None:
    """What stands beside an answer shows what sent it; the setting wins over it."""
    answer = {
        **top,
        "choices": [
            {**choice, "index": 0, "message": {"role": "assistant", "content": "A"}, "finish_reason": "stop"}
        ],
    }
    with Emulator() as emulator:
        url = emulator.base_url.replace("/endpoints/openapi", "/endpoints/7")
        emulator.enqueue(Raw([json.dumps(answer).encode()], headers={"content-type": "application/json"}))
        with KimiVertexClient(K3, base_url=url) as client:
            kinds = [client.server]
            client.complete("Hi")
            kinds.append(client.server)
            assert kinds == [None, server]
            assert client.facts["server"].how
            with KimiVertexClient(K3, base_url=url, server="vllm") as other:
                assert other.server == "vllm"


def test_address_of_moonshot() -> None:
    """Moonshot's own address needs no setting."""
    assert KimiVertexClient(base_url="https://api.moonshot.ai/v1", access_token="x").server == "moonshot"


def test_unknown_kind_of_server() -> None:
    """A server of another kind is refused when the client is made."""
    with pytest.raises(ConfigurationError, match="server is 'ollama'"):
        KimiVertexClient(base_url="http://localhost:1/v1", server="ollama")  # type: ignore[arg-type]


STRIPPED = "TthinkresponseAresponsemessage"


@each_form
def test_markers_that_the_server_strips(form: str, caplog: pytest.LogCaptureFixture) -> None:
    """An answer without its tokens cannot be read; the log says why, and later requests ask for the tokens."""
    with Emulator(dialect="vllm-new") as emulator, caplog.at_level(logging.WARNING):
        keep = KimiVertexClient(K3, base_url=emulator.base_url)
        for text in (STRIPPED, "A"):
            emulator.enqueue(Turn(text=text))
            client = KimiVertexClient(K3, base_url=emulator.base_url)
            assert perform(client, form).text == text
        assert keep.facts["strips_markers[moonshotai/kimi-k3]"].value
        sent = [request.json.get("skip_special_tokens") for request in emulator.requests]
    assert sent == [None, False]
    assert len([r for r in caplog.records if "--reasoning-parser kimi_k3" in r.message]) == 1


def test_a_vllm_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Where the user says that it is a vLLM, the first request asks for the tokens; once, the log says so."""
    with Emulator() as emulator, caplog.at_level(logging.INFO):
        with KimiVertexClient(K3, base_url=emulator.base_url, server="vllm") as client:
            for _ in range(2):
                client.complete("Hi")
        assert [request.json["skip_special_tokens"] for request in emulator.requests] == [False, False]
    assert len([r for r in caplog.records if "skip_special_tokens" in r.message]) == 1


@pytest.mark.parametrize(("pieces", "valid"), [(['{"a": ', "1}"], False), (['{"a": 1}'], True)])
def test_a_call_that_the_limit_may_have_cut(pieces: list[str], valid: bool) -> None:
    """At the token limit, K3's last call is in doubt if it came in pieces: such a server closes what was cut."""
    fragments = [
        {"index": 0, "id": "call_8f", "type": "function", "function": {"name": "f", "arguments": pieces[0]}},
        *({"index": 0, "function": {"arguments": piece}} for piece in pieces[1:]),
    ]
    deltas: list[tuple[dict[str, Any], str | None]] = [({"tool_calls": [part]}, None) for part in fragments]
    lines = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in [*deltas, ({}, "length")]
    ]
    data = b"".join(b"data: %b\n\n" % json.dumps(line).encode() for line in lines)
    with Emulator() as emulator:
        emulator.enqueue(Raw([data + b"data: [DONE]\n\n"]))
        outcome = perform(KimiVertexClient(K3, base_url=emulator.base_url), "sync-stream", tools=[TOOL])
    assert outcome.completion is not None
    assert len(outcome.completion.tool_calls) == valid
    for call in outcome.completion.invalid_tool_calls:
        assert call.error == "cut off by the token limit: the server may have closed it"


@each_form
def test_effort(form: str) -> None:
    """The client's effort goes with every request, and that of a request wins."""
    with Emulator() as emulator:
        for options in ({}, {"reasoning_effort": "low"}):
            emulator.enqueue(Turn(text="A"))
            client = KimiVertexClient(K3, base_url=emulator.base_url, reasoning_effort="max")
            assert perform(client, form, **options).text == "A"
        assert [request.json["reasoning_effort"] for request in emulator.requests] == ["max", "low"]
