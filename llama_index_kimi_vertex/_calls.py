"""One tool call in the forms that LlamaIndex knows: a block, a plain mirror, a selection."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ToolCallBlock

from kimi_vertex import ToolCall

from ._partial import parse_object, parse_prefix

__all__ = ["call_block", "call_dict", "read_arguments"]


def call_block(call: ToolCall) -> ToolCallBlock:
    """The call as a block of a message."""
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments)


def call_dict(call: ToolCall) -> dict[str, Any]:
    """The call in OpenAI's form, as plain JSON values."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def read_arguments(text: str) -> dict[str, Any]:
    """The arguments as far as they are certain; nothing raises."""
    value = parse_object(text)
    return parse_prefix(text) if value is None else value
