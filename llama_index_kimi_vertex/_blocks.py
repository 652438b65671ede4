"""An assistant's turn as a message: blocks come as Thinking, one Text, ToolCalls.

What LlamaIndex's own code and chat stores still read in `additional_kwargs` is mirrored there as plain JSON values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from kimi_vertex import ToolCall

__all__ = ["assistant_message", "call_block", "call_dict"]


def assistant_message(
    thinking: str | None, text: str, calls: Sequence[ToolCall], *, thinking_tokens: int | None = None
) -> ChatMessage:
    """Make the message.

    Args:
        thinking: `None` if the model has said nothing of its thinking, `""` if it said that there is none.
        text: What the user sees.
        calls: The calls that can be executed, or may yet become so.
        thinking_tokens: What the service counted.
    """
    blocks: list[ContentBlock] = []
    kwargs: dict[str, Any] = {}
    if thinking is not None:
        kwargs["reasoning_content"] = thinking
    if thinking:
        blocks.append(ThinkingBlock(content=thinking, num_tokens=thinking_tokens))
    if text or not calls:
        blocks.append(TextBlock(text=text))
    if calls:
        blocks.extend(call_block(call) for call in calls)
        kwargs["tool_calls"] = [call_dict(call) for call in calls]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=kwargs)


def call_block(call: ToolCall) -> ToolCallBlock:
    """The call as a block."""
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments)


def call_dict(call: ToolCall) -> dict[str, Any]:
    """The call in OpenAI's form."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
