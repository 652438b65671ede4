"""How messages look on the wire: roles, thinking, parts, images; and which are refused, with their position."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_vertex._request.order import NOT_EXECUTED
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message, ToolCall
from kimi_vertex.options import Settings

from .support_payload import IMAGE, MANAGED, SEES, body, payload, sent

CALL = ToolCall("functions.f:0", "f", "{}")


THOUGHT = Message("assistant", "x", thinking="t")
SILENT = Message("assistant", "x")
THOUGHTLESS = Message("assistant", "x", thinking="")
CALLED = Message("assistant", tool_calls=[CALL], thinking="t")
FOREIGN = Message("assistant", tool_calls=[CALL])
EMPTY = Message("assistant", tool_calls=[CALL], thinking="")
NOTHING = object()

REPLAY: list[tuple[Message, str, Any]] = [
    (THOUGHT, "all", "t"),
    (THOUGHT, "tools", NOTHING),
    (THOUGHT, "none", NOTHING),
    (SILENT, "all", NOTHING),
    (THOUGHTLESS, "all", ""),
    (THOUGHTLESS, "tools", NOTHING),
    (CALLED, "all", "t"),
    (CALLED, "tools", "t"),
    (CALLED, "none", NOTHING),
    (EMPTY, "all", ""),
    (EMPTY, "tools", ""),
    (FOREIGN, "all", " "),
    (FOREIGN, "tools", " "),
    (FOREIGN, "none", NOTHING),
]


@pytest.mark.parametrize(("message", "policy", "thinking"), REPLAY)
def test_replayed_thinking(message: Message, policy: Any, thinking: Any) -> None:
    """`replay_thinking` says which turns go out with their thinking; "" is thinking, and stays."""
    wire = sent(Message("user", "u"), message, settings=Settings(replay_thinking=policy))[1]
    assert wire.get("reasoning_content", NOTHING) == thinking
    assert "reasoning" not in wire


def test_lost_thinking() -> None:
    """A turn with tool calls that has lost its thinking gets a blank."""
    assert sent(Message("user", "u"), FOREIGN)[1]["reasoning_content"] == " "


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "moonshotai/Kimi-K2-Instruct-0905"},
        {"chat_template_kwargs": {"thinking": False}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
        {"thinking": {"type": "disabled"}},
        {"extra_body": {"thinking": {"type": "disabled"}}},
    ],
    ids=["a model that never thinks", "vLLM", "extra body", "Moonshot", "Moonshot, extra body"],
)
def test_no_placeholder_without_thinking(arguments: dict[str, Any]) -> None:
    """A model that does not think needs no blank, and its text is not taken for thinking."""
    built = payload([Message("user", "u"), FOREIGN], **arguments)
    assert "reasoning_content" not in built.body["messages"][1]
    assert not built.implicit_thinking


TARGETS: list[tuple[str, dict[str, Any], bool]] = [
    ("managed", {"model": MANAGED, "project": "my-proj"}, False),
    ("endpoint", {"endpoint": "projects/my-proj/locations/us-central1/endpoints/1"}, True),
    ("gateway", {"base_url": "https://gateway.example/v1"}, True),
    ("managed by base_url", {"base_url": "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi"}, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "both"), [case[1:] for case in TARGETS], ids=[case[0] for case in TARGETS]
)
def test_both_fields_for_self_deployed(target: dict[str, Any], both: bool) -> None:
    """A server of one's own may be a vLLM that reads thinking from `reasoning` only: it gets both fields."""
    wire = sent(Message("user", "u"), CALLED, target=target, model=None)[1]
    assert wire["reasoning_content"] == "t"
    assert wire.get("reasoning") == ("t" if both else None)


MESSAGES: list[tuple[str, Any, dict[str, Any] | None]] = [
    ("system", Message("system", "s"), {"role": "system", "content": "s"}),
    ("developer", {"role": "developer", "content": "s"}, {"role": "system", "content": "s"}),
    ("name of a user", Message("user", "x", name="ann"), {"role": "user", "content": "x"}),
    ("name of an agent", Message("assistant", "x", name="supervisor"), {"role": "assistant", "content": "x"}),
    ("text", "x", {"role": "user", "content": "x"}),
    ("no content", Message("user"), {"role": "user", "content": ""}),
    ("parts are joined", Message("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), {"role": "user", "content": "ab"}),
    ("string parts", {"role": "user", "content": ["a", {"type": "text", "text": "b", "cache_control": {}}]}, {"role": "user", "content": "ab"}),
    ("empty parts", Message("user", [{"type": "text", "text": ""}]), {"role": "user", "content": ""}),
    ("white space of a prefill", Message("assistant", "It is "), {"role": "assistant", "content": "It is "}),
    ("empty assistant turn", Message("assistant", "", thinking="t"), None),
    ("blank assistant turn", Message("assistant", [{"type": "text", "text": " \n"}]), None),
    (
        "OpenAI's dict",
        {"role": "assistant", "content": None, "reasoning_content": "t", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"role": "assistant", "content": "", "reasoning_content": "t", "tool_calls": [{"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
    ),
    (
        "vLLM's dict, arguments as object",
        {"role": "assistant", "content": "\n", "reasoning": "t", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "assistant", "content": "", "reasoning_content": "t", "tool_calls": [{"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
    ),
    ("our dict", {"role": "assistant", "content": "x", "thinking": "t"}, {"role": "assistant", "content": "x", "reasoning_content": "t"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "wire"), [case[1:] for case in MESSAGES], ids=[case[0] for case in MESSAGES]
)
def test_message(message: Any, wire: dict[str, Any] | None) -> None:
    """Each message has one form on the wire; an empty assistant turn, which strict servers refuse, has none."""
    messages = [written for written in sent("u", message) if written["role"] != "tool"]
    assert messages == [{"role": "user", "content": "u"}, *([wire] if wire else [])]


def test_call_without_result() -> None:
    """A call whose result never came is sent with one that says so; the caller's messages stay as they are."""
    history = [Message("user", "u"), FOREIGN, Message("user", "go on")]
    wire = sent(*history)
    assert wire[2] == {"role": "tool", "content": NOT_EXECUTED, "tool_call_id": "functions.f:0", "name": "f"}
    assert history == [Message("user", "u"), FOREIGN, Message("user", "go on")]


def test_result() -> None:
    """A tool's result carries the id and the name of its call."""
    wire = sent("u", FOREIGN, {"role": "tool", "tool_call_id": "functions.f:0", "content": "r"})[-1]
    assert wire == {"role": "tool", "content": "r", "tool_call_id": "functions.f:0", "name": "f"}


BAD_MESSAGES: list[tuple[str, Any, str]] = [
    ("no message", 5, "Message 1 is a int"),
    ("bytes", b"x", "Message 1 is a bytes"),
    ("no role", {"content": "x"}, "Message 1 has the role None; Kimi knows assistant, system, tool, user"),
    ("unknown role", Message("function", "x"), "Message 1 has the role 'function'"),  # type: ignore[arg-type]
    ("role of another type", {"role": ["user"], "content": "x"}, r"Message 1 has the role \['user'\]"),
    ("content of another type", {"role": "user", "content": 5}, r"Message 1 \(user\) has content of type int"),
    ("content in bytes", Message("user", b"x"), r"Message 1 \(user\) has content of type bytes"),  # type: ignore[arg-type]
    ("one part", {"role": "user", "content": {"type": "text", "text": "x"}}, r"Message 1 \(user\) has content of type dict"),
    ("unknown part", {"role": "user", "content": ["x", {"type": "input_audio"}]}, r"Message 1 \(user\) has a content part, number 1, .* 'input_audio'"),
    ("part without type", {"role": "user", "content": [{"text": "x"}]}, "number 0, .* None"),
    ("part of another type", {"role": "user", "content": [5]}, "number 0, .* int"),
    ("text that is not text", {"role": "user", "content": [{"type": "text", "text": 5}]}, "number 0, .* 'text'"),
    ("image without url", {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "number 0, .* 'image_url'"),
    ("thinking of another type", Message("assistant", "x", thinking=["t"]), "Message 1 has thinking of type list"),  # type: ignore[arg-type]
    ("a user's calls", Message("user", "x", tool_calls=[CALL]), "Message 1 has tool calls, but its role is 'user'"),
    ("calls of another type", {"role": "assistant", "tool_calls": {"id": "a"}}, "Message 1 has tool_calls of type dict"),
    ("a call of another type", {"role": "assistant", "tool_calls": ["f"]}, "Message 1 has a tool call, number 0, of an unknown form"),
    ("a call without function", {"role": "assistant", "tool_calls": [{"id": "a", "name": "f"}]}, "number 0, of an unknown form"),
    ("a function of another type", {"role": "assistant", "tool_calls": [{"function": ["f"]}]}, "number 0, of an unknown form"),
    ("a call without name", {"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}, "number 0, without the tool's name"),
    ("arguments that are no JSON", {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": {1}}}}]}, "Message 1 calls 'f' with arguments that cannot be written as JSON"),
    ("an old call", {"role": "assistant", "function_call": {"name": "f"}}, "Message 1 has a function_call"),
    ("an orphan", {"role": "tool", "tool_call_id": 7, "content": "r"}, "Message 1 is the result of the tool call '7'"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "said"), [c[1:] for c in BAD_MESSAGES], ids=[c[0] for c in BAD_MESSAGES])
def test_bad_message(message: Any, said: str) -> None:
    """A message that cannot be sent is refused, with its position and what is wrong."""
    with pytest.raises(InvalidRequestError, match=said):
        sent("u", message)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "There are no messages"),
        (None, "The conversation is a NoneType"),
        ({"role": "user", "content": "x"}, "The conversation is a dict"),
        (Message("user", "x"), "The conversation is a Message"),
        (b"x", "The conversation is a bytes"),
        ([Message("assistant", "")], "All messages are empty"),
    ],
    ids=["none", "None", "dict", "Message", "bytes", "empty"],
)
def test_bad_conversation(messages: Any, said: str) -> None:
    """A value that is not a conversation is refused, and never taken for a list of its parts."""
    with pytest.raises(InvalidRequestError, match=said):
        body(messages)


TEXT = {"type": "text", "text": "a"}
IMAGES: list[tuple[str, dict[str, Any]]] = [
    ("data", IMAGE),
    ("url", {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}),
    ("video", {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}),
]


@pytest.mark.parametrize("part", [case[1] for case in IMAGES], ids=[case[0] for case in IMAGES])
@pytest.mark.parametrize("model", [SEES, None, "someone/unknown"])
def test_image(part: dict[str, Any], model: str | None) -> None:
    """A model that may see gets the parts as they are, without empty ones."""
    content = [{"type": "text", "text": ""}, part, {"type": "text", "text": "What is it?"}]
    assert sent(Message("user", content), model=model)[0]["content"] == content[1:]


def test_image_as_text() -> None:
    """An image given as its URL alone is written in full."""
    wire = sent(
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://e.com/a"}]}, model=SEES
    )
    assert wire[0]["content"] == [{"type": "image_url", "image_url": {"url": "https://e.com/a"}}]


@pytest.mark.parametrize("model", [MANAGED, "moonshotai/Kimi-K2-Instruct"])
@pytest.mark.parametrize("part", [case[1] for case in IMAGES], ids=[case[0] for case in IMAGES])
def test_image_for_a_text_model(part: dict[str, Any], model: str) -> None:
    """An image is refused where the service would answer with a guess, with the position and the model."""
    with pytest.raises(
        InvalidRequestError,
        match=f"{model}' reads only text, but message 1 has a content part, number 2, of type",
    ):
        sent("u", Message("user", [TEXT, {**TEXT, "text": ""}, part]), model=model)
