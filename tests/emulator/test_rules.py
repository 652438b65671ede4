"""What the emulator refuses, and how: Kimi's rules, Google's errors, routes and bearers."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import Emulator, Rules

USER = {"role": "user", "content": "What is 1 + 2"}
CALL = {"id": "functions.add:0", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
THOUGHT = {"role": "assistant", "content": "", "reasoning_content": "I add.", "tool_calls": [CALL]}
UNTHOUGHT = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "functions.add:0", "content": "3"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FOUND_NO_THINKING = (
    "thinking is enabled but reasoning_content is missing in assistant tool call message at index"
)

BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "thinking-missing": ({"messages": [USER, UNTHOUGHT, RESULT]}, FOUND_NO_THINKING + " 1"),
    "thinking-missing-later": (
        {"messages": [USER, THOUGHT, RESULT, USER, UNTHOUGHT, RESULT]},
        FOUND_NO_THINKING + " 4",
    ),
    "thinking-null": (
        {"messages": [USER, {**UNTHOUGHT, "reasoning_content": None}, RESULT]},
        FOUND_NO_THINKING,
    ),
    "developer": ({"messages": [{"role": "developer", "content": "x"}, USER]}, "role 'developer'"),
    "image": ({"messages": [{"role": "user", "content": [IMAGE]}]}, "non-text input data"),
    "empty-text-part": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        "text content is empty",
    ),
    "foreign-part": ({"messages": [{"role": "user", "content": [{"type": "tool_use"}]}]}, "'tool_use'"),
    "orphan-result": ({"messages": [USER, RESULT]}, "tool_call_id functions.add:0 is not found"),
    "result-before-call": ({"messages": [USER, RESULT, THOUGHT]}, "is not found"),
    "broken-arguments": (
        {
            "messages": [
                USER,
                {**THOUGHT, "tool_calls": [{**CALL, "function": {"name": "add", "arguments": "{"}}]},
            ]
        },
        "not a JSON object",
    ),
    "bare-model": ({"messages": [USER], "model": "kimi"}, "PUBLISHER/MODEL"),
    "no-budget": ({"messages": [USER], "max_tokens": 0}, "max_tokens"),
}


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "moonshotai/kimi-k2-thinking-maas", **changes}


@pytest.mark.parametrize(("changes", "words"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("stream", [False, True])
def test_strict_refuses(kimi: Any, changes: dict[str, Any], words: str, stream: bool) -> None:
    """Each broken rule is a 400 in JSON that names it, streamed or not."""
    response = kimi.http.post(kimi.url, json=body(**changes, stream=stream))
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/json")
    assert words in response.json()["error"]["message"]


@pytest.mark.parametrize(("changes", "words"), BROKEN.values(), ids=BROKEN)
def test_lenient_accepts(lenient_kimi: Any, changes: dict[str, Any], words: str) -> None:
    """The lenient emulator answers all of it."""
    assert lenient_kimi.http.post(lenient_kimi.url, json=body(**changes)).status_code == 200


def test_missing_thinking_has_moonshots_exact_body(kimi: Any) -> None:
    """The refusal is byte for byte what Moonshot's servers were seen to send."""
    response = kimi.http.post(kimi.url, json=body(messages=[USER, UNTHOUGHT, RESULT]))
    assert response.json() == {
        "error": {"message": f"{FOUND_NO_THINKING} 1", "type": "invalid_request_error"}
    }


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_empty_thinking_is_accepted(kimi: Any, key: str) -> None:
    """A model that thought nothing may say so, under either name."""
    assert kimi.post([USER, {**UNTHOUGHT, key: ""}, RESULT]).status_code == 200


def test_without_thinking_none_is_asked_for(kimi: Any) -> None:
    """With thinking switched off a tool turn needs none."""
    assert kimi.post([USER, UNTHOUGHT, RESULT], thinking={"type": "disabled"}).status_code == 200


def test_a_model_that_sees_may_get_an_image(kimi: Any) -> None:
    """Kimi K2.5 takes images."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "Look"}, IMAGE]}]
    assert kimi.post(messages, model="moonshotai/kimi-k2.5").status_code == 200


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"messages": []}', b'{"messages": ["x"]}'])
def test_a_body_that_is_no_chat_is_refused_in_any_mode(lenient_kimi: Any, content: bytes) -> None:
    """What cannot be read is INVALID_ARGUMENT in Google's shape."""
    response = lenient_kimi.http.post(lenient_kimi.url, content=content)
    assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("choice", "kind"),
    [("required", "required"), ({"type": "function", "function": {"name": "add"}}, "specified")],
)
def test_a_forced_tool_choice_is_refused_on_demand(kimi: Any, tool: Any, choice: Any, kind: str) -> None:
    """By default a forced choice is obeyed; with the setting it is incompatible with thinking."""
    tools = [tool("add", "Add", a={"type": "integer"})]
    assert kimi.calls("Hi", tools=tools, tool_choice=choice)
    kimi.emulator.rules = Rules(refuse_forced_tool_choice=True)
    response = kimi.post("Hi", tools=tools, tool_choice=choice)
    assert response.status_code == 400
    assert (
        response.json()["error"]["message"] == f"tool_choice '{kind}' is incompatible with thinking enabled"
    )
    off = {"chat_template_kwargs": {"thinking": False}}
    assert kimi.post("Hi", tools=tools, tool_choice=choice, **off).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("POST", "/v1/projects/p/locations/global/endpoints/openapi/completions"),
        ("POST", "/v1/projects/p/locations/global/endpoint/openapi/chat/completions"),
        ("POST", "/v1/projects/p/locations/global/endpoints/openapi:predict"),
        ("GET", "/v1/projects/p/locations/global/endpoints/openapi/chat/completions"),
    ],
)
def test_an_unknown_route_is_404_in_googles_shape(
    emulator: Emulator, http: httpx.Client, method: str, path: str
) -> None:
    """The error has code, message and status, and is recorded like any request."""
    response = http.request(
        method, emulator.origin + path, json=body(messages=[USER]) if method == "POST" else None
    )
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (404, 404, "NOT_FOUND")
    assert path in error["message"]
    assert emulator.requests[-1].path == emulator.unexpected[-1].path == path


@pytest.mark.parametrize(
    "path",
    [
        "/v1/projects/p/locations/global/endpoints/openapi/chat/completions",
        "/v1beta1/projects/p/locations/global/endpoints/openapi/chat/completions",
        "/v1/projects/p/locations/us-central1/endpoints/123/chat/completions",
        "/v1/projects/p/locations/us-central1/endpoints/123:rawPredict",
        "/v1/chat/completions",
        "/some/gateway/chat/completions",
    ],
)
def test_chat_routes_answer(emulator: Emulator, http: httpx.Client, path: str) -> None:
    """Managed, self-deployed, raw and foreign prefixes all lead to the model."""
    reply = http.post(emulator.origin + path, json=body(messages=[USER])).json()
    assert reply["choices"][0]["message"]["role"] == "assistant"


def test_an_endpoint_needs_no_model(emulator: Emulator, http: httpx.Client) -> None:
    """A self-deployed endpoint decides on the model itself."""
    url = f"{emulator.origin}/v1/projects/p/locations/r/endpoints/123/chat/completions"
    assert http.post(url, json={"messages": [USER]}).json()["model"] == "123"


def test_stream_raw_predict_streams(emulator: Emulator, http: httpx.Client) -> None:
    """:streamRawPredict answers with events unless the body says otherwise."""
    url = f"{emulator.origin}/v1/projects/p/locations/r/endpoints/123:streamRawPredict"
    assert http.post(url, json={"messages": [USER]}).text.endswith("data: [DONE]\n\n")


def test_predict_wraps_the_chat(emulator: Emulator, http: httpx.Client) -> None:
    """:predict takes the chat as an instance and gives `predictions` as an object."""
    url = f"{emulator.origin}/v1/projects/p/locations/r/endpoints/123:predict"
    instance = {"@requestFormat": "chatCompletions", "messages": [USER]}
    predictions = http.post(url, json={"instances": [instance]}).json()["predictions"]
    assert predictions["choices"][0]["message"]["content"]
    assert http.post(url, json={"instances": [{"prompt": "x"}]}).status_code == 400


def test_an_endpoint_describes_itself(emulator: Emulator, http: httpx.Client) -> None:
    """Where there are no deployments, GET endpoints/ID describes whatever endpoint it names, on the shared host."""
    name = "projects/p/locations/us-central1/endpoints/123"
    described = http.get(f"{emulator.origin}/v1/{name}").json()
    assert described["name"] == name
    assert "dedicatedEndpointDns" not in described


def test_a_bearer_can_be_required(kimi: Any) -> None:
    """With require_token a call without a bearer is Google's 401, list-wrapped when it streams."""
    assert kimi.post("Hi").status_code == 200
    kimi.emulator.require_token = True
    whole, streamed = kimi.post("Hi"), kimi.post("Hi", stream=True)
    assert (whole.status_code, streamed.status_code) == (401, 401)
    assert whole.json()["error"]["status"] == "UNAUTHENTICATED"
    assert streamed.json()[0]["error"]["details"][0]["reason"] == "CREDENTIALS_MISSING"
    with_token = {"Authorization": "Bearer anything"}
    assert kimi.http.post(kimi.url, json=body(messages=[USER]), headers=with_token).status_code == 200


def test_only_valid_tokens_pass_if_they_are_set(kimi: Any) -> None:
    """With valid_tokens any other bearer is a 401 that does not use up the script."""
    kimi.emulator.valid_tokens = {"good"}
    statuses = [
        kimi.http.post(
            kimi.url, json=body(messages=[USER]), headers={"Authorization": f"Bearer {token}"}
        ).status_code
        for token in ("good", "bad")
    ]
    assert statuses == [200, 401]


def test_errors_never_show_the_token(kimi: Any) -> None:
    """A refused bearer does not come back in the error."""
    kimi.emulator.valid_tokens = set()
    response = kimi.http.post(
        kimi.url, json=body(messages=[USER]), headers={"Authorization": "Bearer s3cret"}
    )
    assert not re.search("s3cret", response.text)
