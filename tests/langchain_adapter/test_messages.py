"""What is read from LangChain's messages, whichever model or version wrote them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from kimi_vertex import InvalidRequestError, Message, ToolCall
from langchain_kimi_vertex._errors import langchain_errors
from langchain_kimi_vertex._messages import to_core_messages

_CALL = {"name": "f", "args": {"x": "é"}, "id": "functions.f:0", "type": "tool_call"}


def _one(message: BaseMessage) -> Message:
    (converted,) = to_core_messages([message])
    return converted


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SystemMessage("s"), Message("system", "s")),
        (HumanMessage("u", name="ann"), Message("user", "u")),
        (ChatMessage(content="d", role="developer"), Message("system", "d")),
        (ChatMessage(content="a", role="assistant"), Message("assistant", "a")),
        (ToolMessage("r", tool_call_id="1", name="f"), Message("tool", "r", tool_call_id="1", name="f")),
        (
            ToolMessage("r", tool_call_id="1", status="error", artifact=object()),
            Message("tool", "r", tool_call_id="1"),
        ),
        (AIMessageChunk(content="a"), Message("assistant", "a")),
    ],
)
def test_roles(message: BaseMessage, expected: Message) -> None:
    """Each of LangChain's message types has its role."""
    assert _one(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        FunctionMessage(content="r", name="f"),
        RemoveMessage(id="1"),
        ChatMessage(content="x", role="narrator"),
    ],
)
def test_unknown_roles_are_refused(message: BaseMessage) -> None:
    """A message that no role fits is an error, not a guess."""
    with pytest.raises(InvalidRequestError):
        to_core_messages([message])


@pytest.mark.parametrize(
    ("content", "kwargs", "thinking"),
    [
        ("a", {"reasoning_content": "t"}, "t"),
        ("a", {"reasoning_content": ""}, ""),
        ("a", {}, None),
        ([{"type": "reasoning", "reasoning": "t"}, {"type": "text", "text": "a"}], {}, "t"),
        ([{"type": "reasoning", "reasoning": "t"}, "a", {"type": "reasoning", "reasoning": "u"}], {}, "tu"),
        ([{"type": "thinking", "thinking": "t", "signature": "x"}, {"type": "text", "text": "a"}], {}, "t"),
        ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}, "a"], {}, "t"),
        ([{"type": "reasoning", "encrypted_content": "x", "summary": []}, "a"], {}, None),
        ([{"type": "reasoning_content", "reasoning_content": {"text": "t"}}, "a"], {}, "t"),
        ([{"type": "redacted_thinking", "data": "x"}, "a"], {}, None),
        ([{"type": "reasoning", "reasoning": "block"}, "a"], {"reasoning_content": "kwarg"}, "kwarg"),
        ([{"type": "non_standard", "value": {"type": "thinking", "thinking": "t"}}, "a"], {}, "t"),
    ],
)
def test_thinking_is_found(content: Any, kwargs: dict[str, Any], thinking: str | None) -> None:
    """Thinking is read from `additional_kwargs`, else from blocks in every known form; it is never text."""
    assert _one(AIMessage(content, additional_kwargs=kwargs)) == Message("assistant", "a", thinking=thinking)


def test_tool_calls() -> None:
    """Calls keep their ids, and arguments are JSON with its letters as they are."""
    message = _one(AIMessage("", tool_calls=[_CALL]))
    assert message.tool_calls == (ToolCall("functions.f:0", "f", '{"x": "é"}'),)


def test_invalid_tool_calls_are_sent_back() -> None:
    """An unreadable call keeps its raw text, so that the model sees what it wrote."""
    invalid = {"name": "f", "args": '{"x', "id": "i", "error": "cut", "type": "invalid_tool_call"}
    message = _one(AIMessage("", tool_calls=[_CALL], invalid_tool_calls=[invalid]))
    assert message.tool_calls[1] == ToolCall("i", "f", '{"x')


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {"x": "é"}},
        {"type": "tool_call", "id": "functions.f:0", "name": "f", "args": {"x": "é"}},
        {
            "type": "function_call",
            "call_id": "functions.f:0",
            "id": "fc",
            "name": "f",
            "arguments": '{"x": "é"}',
        },
    ],
)
@pytest.mark.parametrize("field", [[], [_CALL]])
def test_calls_in_content_count_once(block: dict[str, Any], field: list[Any]) -> None:
    """A call that stands in the content is read from there only if `tool_calls` does not have it."""
    message = _one(AIMessage(["a", block], tool_calls=field))
    assert message == Message("assistant", "a", tool_calls=(ToolCall("functions.f:0", "f", '{"x": "é"}'),))


def test_anthropic_tool_results_precede_the_text() -> None:
    """Results inside a user's message become tool messages before what the user says."""
    content: list[Any] = [
        {"type": "text", "text": "and?"},
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "1"}]},
        {"type": "tool_result", "tool_use_id": "b", "content": "2"},
    ]
    assert to_core_messages([HumanMessage(content)]) == [
        Message("tool", "1", tool_call_id="a"),
        Message("tool", "2", tool_call_id="b"),
        Message("user", "and?"),
    ]


_DATA_URL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "image", "base64": "AA==", "mime_type": "image/png"}, _DATA_URL),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            _DATA_URL,
        ),
        ({"type": "image_url", "image_url": "data:image/png;base64,AA=="}, _DATA_URL),
        (
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        ),
        (
            {"type": "image", "url": "https://x/y.png"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        ),
    ],
)
def test_images(block: dict[str, Any], part: dict[str, Any]) -> None:
    """Images in LangChain's, OpenAI's and Anthropic's form become the server's form."""
    message = HumanMessage([{"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}}, block])
    assert _one(message).content == [{"type": "text", "text": "see"}, part]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "base64": "AA==", "mime_type": "audio/wav"},
        {"type": "file", "file_id": "f1"},
        {"type": "image", "file_id": "f1"},
        {"type": "image_url", "image_url": {}},
        {"type": "mystery"},
    ],
)
def test_unsupported_content_is_refused(block: dict[str, Any]) -> None:
    """What cannot be sent raises; it does not disappear."""
    with pytest.raises(ModelInvalidRequestError), langchain_errors():
        to_core_messages([HumanMessage(["see", block])])


def test_text_blocks_join_to_a_string() -> None:
    """Content that is text only is sent as one string."""
    message = HumanMessage(
        ["a", {"type": "text", "text": "b"}, {"type": "text-plain", "text": "c"}, {"text": "d"}]
    )
    assert _one(message).content == "abcd"
