"""Rules beyond strict mode: ids, windows, payloads, places, tokens; and what the brain obeys."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from kimi_vertex import ContextOverflowError, KimiVertexClient, Message, NotFoundError, ToolCall
from kimi_vertex_emulator import Emulator, Rules, Turn

from .support_http import PLAIN

MODEL = "moonshotai/kimi-k2-thinking-maas"


def user(text: str = "go on") -> dict[str, Any]:
    return {"role": "user", "content": text}


def called(*ids: str) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "add", "arguments": "{}"}} for i in ids]
    return {"role": "assistant", "content": "", "reasoning_content": "I add.", "tool_calls": calls}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "3"}


HISTORIES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "duplicate_ids": (
        [
            user(),
            called("functions.add:0"),
            result("functions.add:0"),
            called("functions.add:0"),
            result("functions.add:0"),
        ],
        "duplicate tool_call_id functions.add:0",
    ),
    "foreign_ids": ([user(), called("call_1"), result("call_1")], "call_1 in message at index 1"),
    "unanswered_calls": ([user(), called("functions.add:0"), user()], "has no result before message 2"),
}


@pytest.mark.parametrize("rule", HISTORIES)
def test_breaches_in_the_history(kimi: Any, rule: str) -> None:
    """A breach is accepted by default, refused with `error`, and costs the answer with `degrade`."""
    history, words = HISTORIES[rule]
    assert kimi.post(history).status_code == 200
    kimi.emulator.rules = Rules(**{rule: "error"})  # type: ignore[arg-type]
    refused = kimi.post(history)
    assert refused.status_code == 400
    assert words in refused.json()["error"]["message"]
    kimi.emulator.rules = Rules(**{rule: "degrade"})  # type: ignore[arg-type]
    kimi.emulator.enqueue(Turn(thinking="I know.", text="42"), Turn(text="fine"))
    message = kimi.message(history)
    assert (message["reasoning_content"], message["content"], message["tool_calls"]) == (
        "I know.",
        None,
        None,
    )
    sound = [user(), called("functions.add:0"), result("functions.add:0")]
    assert kimi.text(sound) == "fine"


def test_the_client_survives_foreign_ids(emulator: Emulator) -> None:
    """The client writes ids as Kimi does, so that a history from elsewhere does not derail the model."""
    emulator.rules = Rules(foreign_ids="degrade", duplicate_ids="error", unanswered_calls="error")
    emulator.enqueue(Turn(text="It is 3."))
    history = [
        Message("user", "1 + 2?"),
        Message("assistant", "", thinking="I add.", tool_calls=(ToolCall("call_9", "add", "{}"),)),
        Message("tool", "3", tool_call_id="call_9"),
    ]
    with KimiVertexClient(base_url=emulator.base_url, access_token="t") as client:
        assert client.complete(history).text == "It is 3."


def test_a_wrong_breach_setting_is_refused() -> None:
    """Only accept, degrade and error are known."""
    with pytest.raises(ValueError, match="foreign_ids 'explode' is unknown"):
        Rules(foreign_ids="explode")  # type: ignore[arg-type]


def test_temperature_can_be_fixed(kimi: Any) -> None:
    """With the rule any temperature but 1 is refused in Moonshot's words."""
    kimi.emulator.rules = Rules(temperature=True)
    assert kimi.post("Hi", temperature=1).status_code == 200
    assert kimi.post("Hi").status_code == 200
    refused = kimi.post("Hi", temperature=0.6).json()["error"]["message"]
    assert refused == "invalid temperature: only 1 is allowed for this model"


@pytest.mark.parametrize("dialect", ["vertex", "vllm-new"])
def test_the_window_overflows_by_estimate(emulator: Emulator, dialect: Any) -> None:
    """Prompt and budget beyond the window are a 400, which the client knows in each dialect's words."""
    emulator.rules = Rules(context_window=100)
    emulator.dialect = dialect
    with KimiVertexClient(base_url=emulator.base_url, access_token="t") as client:
        client.complete("x" * 200, max_tokens=50)
        with pytest.raises(ContextOverflowError):
            client.complete("x" * 200, max_tokens=51)


def test_payloads_can_be_limited(kimi: Any) -> None:
    """A body over the limit is refused before anything in it is read."""
    kimi.emulator.rules = Rules(max_payload=1000)
    assert kimi.post("x").status_code == 200
    assert "exceeds the limit: 1000 bytes" in kimi.post("x" * 1000).json()["error"]["message"]


def test_a_model_that_is_not_there_is_404(emulator: Emulator) -> None:
    """A model that is not listed gets a 404 on the managed endpoint, and no other endpoint cares."""
    emulator.rules = Rules(models=["moonshotai/kimi-k3-maas"])
    client = KimiVertexClient(base_url=emulator.base_url, access_token="t", model=MODEL)
    with client, pytest.raises(NotFoundError, match="Publisher Model"):
        client.complete("Hi")
    own = f"{emulator.origin}/v1/projects/p/locations/r/endpoints/1/chat/completions"
    assert httpx.post(own, json={"model": MODEL, "messages": [user()]}, verify=PLAIN).status_code == 200


def test_issued_tokens_can_expire(emulator: Emulator, http: httpx.Client) -> None:
    """A token of the emulator's is refused when its lifetime is over, and others are not."""
    emulator.token_lifetime = 0
    form = {"grant_type": "refresh_token", "refresh_token": "r"}
    old = http.post(emulator.token_uri, data=form).json()["access_token"]
    emulator.token_lifetime = 60
    new = http.post(emulator.token_uri, data=form).json()["access_token"]
    answers = [
        http.post(
            f"{emulator.base_url}/chat/completions",
            json={"model": MODEL, "messages": [user()]},
            headers={"Authorization": f"Bearer {token}"},
        )
        for token in (old, new, "somebody's")
    ]
    assert [answer.status_code for answer in answers] == [401, 200, 200]
    assert answers[0].json()["error"]["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"


@pytest.mark.parametrize(
    "path",
    ["/v1/models", "/v1/projects/p/locations/global/endpoints/openapi/models", "/some/gateway/models"],
)
def test_models_are_listed_as_openai_does(emulator: Emulator, http: httpx.Client, path: str) -> None:
    """The list, and a single model of it, have OpenAI's form; the rule says what is in it."""
    listed = http.get(emulator.origin + path).json()
    assert [model["id"] for model in listed["data"]] == [MODEL]
    assert http.get(f"{emulator.origin}{path}/{MODEL}").json() == listed["data"][0]
    assert http.get(f"{emulator.origin}{path}/moonshotai/other").status_code == 404
    emulator.rules = Rules(models=["moonshotai/kimi-k3-maas"])
    assert [m["id"] for m in http.get(emulator.origin + path).json()["data"]] == ["moonshotai/kimi-k3-maas"]


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps. " * 8_000,
        " " * 200_000,
        "{" * 200_000,
        '{"a": ' * 30_000,
    ],
    ids=["prose", "blank", "braces", "objects"],
)
def test_a_long_prompt_is_answered_at_once(kimi: Any, tool: Any, text: str) -> None:
    """The brain reads the beginning and the end of a very long prompt: ten times as much takes no hundred times as long."""

    def seconds(asked: str) -> float:
        start = time.process_time()
        assert kimi.post(asked, tools=[tool("add", "Add", a={"type": "integer"})]).status_code == 200
        return time.process_time() - start

    short = min(seconds(text[: len(text) // 10]) for _ in "abc")
    assert min(seconds(text) for _ in "ab") < 50 * short


def test_dialects_at_random(http: httpx.Client) -> None:
    """At random, the seed decides on the dialect of each answer."""
    body = {"messages": [user()]}
    runs = []
    for seed in (1, 1, 2):
        with Emulator(dialect="random", seed=seed) as emulator:
            url = f"{emulator.origin}/v1/chat/completions"
            runs.append([sorted(http.post(url, json=body).json()["choices"][0]) for _ in range(12)])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len({str(keys) for keys in runs[0]}) > 1
