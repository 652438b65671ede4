"""Histories of any integration become the core's messages, and stay as they were."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from kimi_vertex import Completion, InvalidRequestError, Message, ToolCall
from llama_index_kimi_vertex import KimiVertex
from llama_index_kimi_vertex._messages import to_core_messages
from llama_index_kimi_vertex._responses import chat_response


def one(message: ChatMessage) -> Message:
    (converted,) = to_core_messages([message])
    return converted


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (MessageRole.SYSTEM, "system"),
        (MessageRole.DEVELOPER, "system"),
        (MessageRole.USER, "user"),
        (MessageRole.ASSISTANT, "assistant"),
        (MessageRole.CHATBOT, "assistant"),
        (MessageRole.MODEL, "assistant"),
        (MessageRole.TOOL, "tool"),
        (MessageRole.FUNCTION, "tool"),
    ],
)
def test_roles(role: MessageRole, expected: str) -> None:
    """Every role of LlamaIndex has its counterpart."""
    assert one(ChatMessage(role=role, content="x")).role == expected


def test_unknown_role_is_refused() -> None:
    """A role that slipped past validation is refused by name."""
    message = ChatMessage.model_construct(role="oracle", blocks=[], additional_kwargs={})
    with pytest.raises(InvalidRequestError, match="oracle"):
        one(message)


def test_text_blocks_join_as_content_does() -> None:
    """Several text blocks become the string that `ChatMessage.content` shows."""
    message = ChatMessage(blocks=[TextBlock(text="one"), TextBlock(text="two")])
    assert one(message).content == message.content == "one\ntwo"


@pytest.mark.parametrize(
    ("blocks", "kwargs", "thinking"),
    [
        ([ThinkingBlock(content="from the block")], {"reasoning_content": "mirror"}, "from the block"),
        ([TextBlock(text="x")], {"reasoning_content": "mirror"}, "mirror"),
        ([TextBlock(text="x")], {"reasoning_content": ""}, ""),
        ([TextBlock(text="x")], {"reasoning_details": [{"type": "reasoning.text", "text": "t"}]}, "t"),
        ([TextBlock(text="x")], {"thinking": "as Ollama stores it"}, "as Ollama stores it"),
        ([ThinkingBlock(content="a"), ThinkingBlock(content=None), ThinkingBlock(content="b")], {}, "ab"),
        ([TextBlock(text="x")], {}, None),
    ],
)
def test_thinking_sources(blocks: list[Any], kwargs: dict[str, Any], thinking: str | None) -> None:
    """Thinking comes from its blocks, else from the mirror; an explicit nothing stays an explicit nothing."""
    message = ChatMessage(role="assistant", blocks=blocks, additional_kwargs=kwargs)
    assert one(message).thinking == thinking


@pytest.mark.parametrize("arguments", ['{"b": 2,  "a": 1}', {"b": 2, "a": 1}])
def test_tool_call_block(arguments: Any) -> None:
    """Arguments given as text are kept letter by letter, as a dict they become JSON."""
    block = ToolCallBlock(tool_call_id="functions.f:3", tool_name="f", tool_kwargs=arguments)
    (call,) = one(ChatMessage(role="assistant", blocks=[block])).tool_calls
    expected = arguments if isinstance(arguments, str) else '{"b": 2, "a": 1}'
    assert call == ToolCall("functions.f:3", "f", expected)


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        SimpleNamespace(id="c1", function=SimpleNamespace(name="f", arguments='{"a": 1}')),
        {"id": "c1", "name": "f", "input": {"a": 1}},
        {"tool_id": "c1", "tool_name": "f", "tool_kwargs": {"a": 1}},
    ],
    ids=["openai", "sdk", "anthropic", "selection"],
)
def test_calls_beside_the_blocks(entry: Any) -> None:
    """Calls that an older integration left in `additional_kwargs` are read in each of their forms."""
    message = ChatMessage.model_construct(
        role=MessageRole.ASSISTANT, blocks=[], additional_kwargs={"tool_calls": [entry]}
    )
    assert one(message).tool_calls == (ToolCall("c1", "f", '{"a": 1}'),)


def test_arguments_stay_as_the_model_wrote_them() -> None:
    """Finished calls hold an object, and the model gets back its own text, unless the object was changed."""
    text = '{"b":1,  "a": 2.50}'
    message = chat_response(Completion(tool_calls=(ToolCall("c1", "f", text),))).message
    (block,) = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    assert block.tool_kwargs == {"b": 1, "a": 2.5}
    assert one(message).tool_calls == (ToolCall("c1", "f", text),)
    block.tool_kwargs = {"b": 3}
    assert one(message).tool_calls == (ToolCall("c1", "f", '{"b": 3}'),)


def test_blocks_win_over_the_mirror() -> None:
    """A call that stands in a block and in the mirror is one call."""
    message = ChatMessage(
        role="assistant",
        blocks=[ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs="{}")],
        additional_kwargs={"tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]},
    )
    assert len(one(message).tool_calls) == 1


def test_tool_result() -> None:
    """A result's blocks become one string with the id of its call."""
    message = ChatMessage(
        role="tool",
        blocks=[TextBlock(text="18 C"), TextBlock(text="rain")],
        additional_kwargs={"tool_call_id": "functions.f:0"},
    )
    assert one(message) == Message(role="tool", content="18 C\nrain", tool_call_id="functions.f:0")


def test_marks_of_other_integrations_are_read_or_skipped() -> None:
    """Cache points say nothing to Kimi; citable documents and citations are text."""
    message = ChatMessage(
        blocks=[
            CachePoint(cache_control=CacheControl(type="ephemeral")),
            CitableBlock(title="Report", source="r.pdf", content=[TextBlock(text="It rained.")]),
            CitationBlock(
                cited_content=TextBlock(text="cited"), source="s", title="t", additional_location_info={}
            ),
            TextBlock(text="Why?"),
        ]
    )
    assert one(message).content == "Report\nIt rained.\ncited\nWhy?"


def test_citations_of_an_answer_are_not_repeated() -> None:
    """In an assistant's message a citation repeats its source, which was never part of the answer."""
    citation = CitationBlock(
        cited_content=TextBlock(text="cited"), source="s", title="t", additional_location_info={}
    )
    assert (
        one(ChatMessage(role="assistant", blocks=[TextBlock(text="It rained."), citation])).content
        == "It rained."
    )


def test_history_is_not_changed() -> None:
    """Conversion leaves every message equal to what it was."""
    history = [
        ChatMessage("hi"),
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(content="t"),
                ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs={"a": 1}),
            ],
            additional_kwargs={"reasoning_content": "t"},
        ),
    ]
    before = copy.deepcopy(history)
    to_core_messages(history)
    assert history == before


@pytest.mark.parametrize("role", ["user", "system"])
@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (ThinkingBlock(content="t"), "ThinkingBlock"),
        (ToolCallBlock(tool_call_id="c", tool_name="add"), "ToolCallBlock"),
    ],
)
def test_blocks_of_an_answer_elsewhere(llm: KimiVertex, role: str, block: Any, kind: str) -> None:
    """Thinking and calls that an assistant did not make are refused, not dropped."""
    message = ChatMessage(role=role, blocks=[TextBlock(text="x"), block])
    with pytest.raises(InvalidRequestError, match=rf"Message 0 \({role}\).*number 1.*{kind}"):
        llm.chat([message])
