"""Estimates of tokens: what counts, in every form of a conversation, and how near they come."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_vertex import (
    InvalidRequestError,
    Message,
    ToolCall,
    estimate_conversation_tokens,
    estimate_tokens,
)

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("four", 1), ("x" * 400, 100), ("你好吗", 2), ("안녕하세요 세계", 5)],
)
def test_text(text: str, tokens: int) -> None:
    """Four letters make a token, three ideographs two; only nothing has none."""
    assert estimate_tokens(text) == tokens


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([], 0),
        ("", 0),
        ("four", 5),
        ([Message("user", "four")], 5),
        ([{"role": "user", "content": "four"}], 5),
        ([{"role": "user", "content": [{"type": "text", "text": "four"}, IMAGE]}], 1029),
        ([Message("assistant", "four", thinking="thoughts")], 7),
        ([{"role": "assistant", "content": "four", "reasoning_content": "thoughts"}], 7),
        ([Message("assistant", None, tool_calls=[ToolCall("1234", "name", "{}{}{}{}")])], 8),
        ([Message("user", "four"), Message("assistant", "")], 9),
    ],
)
def test_conversation(messages: Any, tokens: int) -> None:
    """Each message costs its text, its thinking, its calls, 1,024 for an image, and 4 for its frame."""
    assert estimate_conversation_tokens(messages) == tokens


def test_tools_count() -> None:
    """Tools are part of the prompt."""
    assert estimate_conversation_tokens("four", [TOOL]) > estimate_conversation_tokens("four") + 10


def test_another_counter() -> None:
    """A tokenizer may take the place of the estimate of a text."""
    assert (
        estimate_conversation_tokens([Message("user", "four"), Message("user", "x")], count=lambda text: 42)
        == 92
    )


def test_what_cannot_be_sent_is_refused() -> None:
    """A message that a request would refuse is refused here too, with its position."""
    with pytest.raises(InvalidRequestError, match="Message 1"):
        estimate_conversation_tokens(["four", {"role": "narrator", "content": "x"}])


def test_a_conversation_counts_whole() -> None:
    """Thinking, calls, parts, images and tools add to the estimate, which another count may replace."""
    conversation = [
        Message("user", [{"type": "text", "text": "1234"}, {"type": "image_url", "image_url": {"url": "u"}}]),
        Message("assistant", "12345678", "1234", (ToolCall("i", "f", "{}"),)),
    ]
    assert estimate_conversation_tokens(conversation) == 4 + 1 + 1024 + 4 + 2 + 1 + 1
    assert (
        estimate_conversation_tokens(conversation[1:], [{"type": "function"}], count=len)
        == 22 + 4 + 8 + 4 + 4
    )
