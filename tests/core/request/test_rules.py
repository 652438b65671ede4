"""What each model's rules make of a request: effort, limits, sampling, ids, thinking, the choice of a tool, media."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from kimi_vertex._request.rules import Rules
from kimi_vertex._settings import merge_options
from kimi_vertex.errors import ConfigurationError, InvalidRequestError
from kimi_vertex.messages import Message, ToolCall
from kimi_vertex.models import EFFORTS, Server, model_info
from kimi_vertex.options import RequestOptions

from .support_payload import IMAGE, body, payload, sent

K3 = "moonshotai/kimi-k3"
K2_6 = "moonshotai/Kimi-K2.6"
SERVER = {"base_url": "http://localhost:8000/v1"}
USER = Message("user", "hi")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("f", "g")]
OFF: dict[str, Any] = {"chat_template_kwargs": {"thinking": False}}
ON: dict[str, Any] = {"chat_template_kwargs": {"thinking": True, "preserve_thinking": True}}

# The model, the kind of server, the effort, and the fields of the body that say it.
EFFORT_FIELDS: list[tuple[str | None, Server | None, str, dict[str, Any]]] = [
    *((model, server, level, {"reasoning_effort": level})
      for model in (K3, "kimi-k3.1-pro")
      for server in ("moonshot", "vllm", "sglang", None)
      for level in ("low", "high", "max")),
    *((K3, server, "none", OFF) for server in ("vllm", "sglang", None)),
    (K2_6, "moonshot", "none", {"thinking": {"type": "disabled"}}),
    (K2_6, "moonshot", "high", {"thinking": {"type": "enabled", "keep": "all"}}),
    ("kimi-k2.5", "moonshot", "high", {"thinking": {"type": "enabled"}}),
    ("kimi-k2.5", "vllm", "none", OFF),
    ("kimi-k2.5", "sglang", "high", {"chat_template_kwargs": {"thinking": True}}),
    ("kimi-k2.5", None, "none", {**OFF, "thinking": {"type": "disabled"}}),
    (K2_6, "vllm", "high", ON),
    (K2_6, None, "high", ON),
    *((name, server, level, {"reasoning_effort": level})
      for name in ("my/model", None) for server in ("vllm", None) for level in EFFORTS if level != "none"),
    ("my/model", "vllm", "none", {"reasoning_effort": "none", **OFF}),
    (None, None, "none", {"reasoning_effort": "none", **OFF, "thinking": {"type": "disabled"}}),
]  # fmt: skip


def fields(model: str | None, server: Server | None, **options: Any) -> dict[str, Any]:
    written = body(model=model, server=server, target=SERVER, **options)
    return {name: value for name, value in written.items() if name not in ("model", "messages")}


@pytest.mark.parametrize(("model", "server", "effort", "expected"), EFFORT_FIELDS)
def test_effort(model: str | None, server: Server | None, effort: str, expected: dict[str, Any]) -> None:
    """One setting becomes what the model on its server understands, and nothing else."""
    assert fields(model, server, reasoning_effort=effort) == expected


@pytest.mark.parametrize(
    ("model", "server", "effort", "text"),
    [
        (K3, None, "medium", "Kimi K3 takes the reasoning_effort 'none', 'low', 'high' or 'max', not 'medium'"),
        (K3, "moonshot", "none", "Kimi K3 takes the reasoning_effort 'low', 'high' or 'max', not 'none'"),
        (K2_6, None, "low", "Kimi K2.6 takes the reasoning_effort 'none' or 'high', not 'low'"),
        ("kimi-k2.7-code", None, "high", "Kimi K2.7 Code has no reasoning_effort: it always thinks"),
        ("kimi-k2-thinking", None, "high", "Kimi K2 Thinking has no reasoning_effort: it always thinks"),
        ("kimi-k2-0905-preview", None, "low", "it never thinks"),
    ],
)  # fmt: skip
def test_effort_that_the_model_lacks(model: str, server: Server | None, effort: str, text: str) -> None:
    """A level that the model does not have is refused, with the levels that it has."""
    with pytest.raises(InvalidRequestError, match=text):
        fields(model, server, reasoning_effort=effort)


def test_effort_that_is_unknown() -> None:
    """A word that no model knows is a mistake in the settings."""
    with pytest.raises(ConfigurationError, match="'none', 'low', 'medium', 'high', 'max'"):
        merge_options(RequestOptions(reasoning_effort="huge"))  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        (K2_6, {"chat_template_kwargs": {"thinking": True, "x": 1}}, {"chat_template_kwargs": {"thinking": True, "x": 1}}),
        (K2_6, {"extra_body": {"chat_template_kwargs": {}}}, {"chat_template_kwargs": {}}),
    ],
)  # fmt: skip
def test_what_the_caller_words_itself_wins(
    model: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The translation of an effort gives way to the server's own fields, where the caller sets them."""
    assert fields(model, "vllm", reasoning_effort="none", **given) == expected


def test_one_word_for_the_effort() -> None:
    """Moonshot takes the effort in `thinking` before `reasoning_effort`, so only the one that was given is sent."""
    thinking = {"type": "enabled", "effort": "low"}
    assert fields(K3, "moonshot", thinking=thinking, reasoning_effort="max") == {"thinking": thinking}


@pytest.mark.parametrize(("model", "name"), [(K3, "max_completion_tokens"), (K2_6, "max_tokens")])
def test_limit(model: str, name: str) -> None:
    """The limit of an answer goes out under the model's word for it."""
    assert fields(model, None, max_tokens=9) == {name: 9}


@pytest.mark.parametrize(
    ("model", "server", "kept"),
    [
        (K3, "moonshot", False),
        (K2_6, "moonshot", False),
        (K3, "vllm", True),
        (K3, None, True),
        ("kimi-k2-thinking", "moonshot", True),
    ],
)
def test_fixed_sampling(
    model: str, server: Server | None, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Moonshot's service fixes what an engine takes: it is left out there, and the log says so once."""
    rules = Rules(model_info(model), server)
    options = RequestOptions(temperature=0.2, seed=1)
    with caplog.at_level(logging.WARNING):
        written = [rules.fields(options) for _ in range(2)]
    assert written == [{"temperature": 0.2, "seed": 1} if kept else {"seed": 1}] * 2
    assert [record.message[:15] for record in caplog.records] == ([] if kept else ["temperature=0.2"])


@pytest.mark.parametrize(
    ("model", "server", "choice", "names"),
    [
        (K3, None, "required", ["g"]),
        (K3, "moonshot", "required", ["g"]),
        (K3, "vllm", {"type": "function", "function": {"name": "g"}}, ["f", "g"]),
        (K2_6, None, {"type": "function", "function": {"name": "g"}}, ["f", "g"]),
    ],
)
def test_named_choice(model: str, server: Server | None, choice: Any, names: list[str]) -> None:
    """Where a choice by name is not understood, any call is demanded, and only that tool offered."""
    asked = payload(model=model, server=server, target=SERVER, tools=TOOLS, tool_choice="g")
    assert asked.body["tool_choice"] == choice
    assert [tool["function"]["name"] for tool in asked.body["tools"]] == names
    assert asked.tools.names == {"f", "g"}
    assert asked.forced is not None
    assert asked.forced.names == {"g"}


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        (["call_a", "call_b"], ["f:0", "f:1"]),
        (["f:0", "f:1"], ["f:0", "f:1"]),
        (["f:0", "f:0"], ["f:0", "f:1"]),
        (["functions.f:0", "toolu_1"], ["functions.f:0", "f:1"]),
        (["functions.g:0"], ["f:0"]),
    ],
)
def test_ids(given: list[str], wire: list[str]) -> None:
    """K3's ids have no namespace; those of K2 may stay in the history of a conversation that K3 goes on with."""
    turn = Message("assistant", tool_calls=[ToolCall(identity, "f", "{}") for identity in given])
    assert [call["id"] for call in sent(USER, turn, model=K3)[1]["tool_calls"]] == wire


@pytest.mark.parametrize(
    ("model", "tool_turn", "other_turn"),
    [
        (K3, "", ""),
        ("kimi-k3.1-pro", "", ""),
        ("kimi-k2.7-code", "", ""),
        (K2_6, "", None),
        ("kimi-k2.5", " ", None),
        ("kimi-k2-thinking", " ", None),
        ("my/model", " ", None),
        ("kimi-linear-48b", None, None),
    ],
)
def test_missing_thinking(model: str, tool_turn: str | None, other_turn: str | None) -> None:
    """Turns that need thinking and have none go out with it empty, or blank where empty is refused."""
    call = Message("assistant", tool_calls=[ToolCall("x", "f", "{}")])
    messages = sent(
        USER, call, Message("tool", "r", tool_call_id="x"), Message("assistant", "a"), model=model
    )
    assert [messages[n].get("reasoning_content") for n in (1, 3)] == [tool_turn, other_turn]


def test_no_empty_thinking_when_it_is_off() -> None:
    """A conversation that K3 answers without thinking needs none of earlier turns."""
    messages = sent(USER, Message("assistant", "a"), USER, model=K3, reasoning_effort="none")
    assert "reasoning_content" not in messages[1]


def test_thinking_of_all_turns() -> None:
    """K3 gets the thinking of every turn back."""
    messages = sent(USER, Message("assistant", "a", thinking="t"), USER, model=K3)
    assert messages[1]["reasoning_content"] == "t"


VIDEO = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA=="}}
LINK = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("model", "server", "part"),
    [
        *((model, None, part) for model in (K3, "kimi-k2.5", K2_6, "kimi-k2.7-code", "x/y") for part in (IMAGE, VIDEO)),
        (K3, "vllm", VIDEO),
        (K3, "vllm", LINK),
        (K2_6, "moonshot", LINK),
        (K3, "moonshot", IMAGE),
        (K3, "moonshot", {"type": "image_url", "image_url": {"url": "ms://file-1"}}),
    ],
)  # fmt: skip
def test_media(model: str, server: Server | None, part: dict[str, Any]) -> None:
    """Images and videos go to the models and servers that take them."""
    assert sent(Message("user", [part]), model=model, server=server)[0]["content"] == [part]


@pytest.mark.parametrize(
    ("model", "server", "part", "text"),
    [
        ("kimi-k2-thinking", None, VIDEO, "reads only text"),
        ("kimi-linear-48b", None, IMAGE, "reads only text"),
        (K3, "sglang", VIDEO, "SGLang drops"),
        (K3, "moonshot", LINK, "ms://"),
    ],
)
def test_media_refused(model: str, server: Server | None, part: dict[str, Any], text: str) -> None:
    """What would be dropped or guessed at is refused, with the reason."""
    with pytest.raises(InvalidRequestError, match=text) as refused:
        sent(
            Message("user", [{"type": "text", "text": "See:"}, {"type": "text", "text": ""}, part]),
            model=model,
            server=server,
        )
    assert re.search(r"[Mm]essage 0 has .*number 2", str(refused.value))
