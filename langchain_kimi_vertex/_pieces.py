"""The chunks of a stream's deltas: thinking, text, and pieces of tool calls.

They are filled from templates; only the last chunk of a stream is made the ordinary way.
"""

from __future__ import annotations

from typing import Final

from langchain_core.messages import AIMessageChunk, InvalidToolCall
from langchain_core.messages.tool import (
    ToolCall,
    invalid_tool_call,
    tool_call,
    tool_call_chunk,
)
from langchain_core.utils.json import parse_partial_json

from kimi_vertex import ToolCallDelta
from langchain_kimi_vertex._fast import Template
from langchain_kimi_vertex._joining import JoiningChunk
from langchain_kimi_vertex._keys import PROVIDER, THINKING_KEY

__all__ = ["call_chunk", "parsed", "text_chunk", "thinking_chunk"]


def _examples() -> tuple[AIMessageChunk, AIMessageChunk, AIMessageChunk]:
    provider = {"model_provider": PROVIDER}
    return (
        AIMessageChunk(content="", response_metadata=provider),
        AIMessageChunk(content="", additional_kwargs={THINKING_KEY: ""}, response_metadata=provider),
        AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(index=0)], response_metadata=provider),
    )


_text, _thinking, _call = _examples()
_TEXT: Final = Template(_text, "content", "response_metadata")
_THINKING: Final = Template(_thinking, "additional_kwargs", "response_metadata")
_CALL: Final = Template(_call, "tool_call_chunks", "tool_calls", "invalid_tool_calls", "response_metadata")
_SILENT_CHUNK: Final = Template(JoiningChunk(message=_thinking), "message")
_TEXT_CHUNK: Final = Template(JoiningChunk(message=_text), "message", "text")
_as_text: Final = type(JoiningChunk(message=_text).text)
"""What LangChain makes of a message's text; a subclass of `str`."""


def text_chunk(text: str) -> JoiningChunk:
    """A piece of the answer."""
    message = _TEXT.fill({"content": text, "response_metadata": {"model_provider": PROVIDER}})
    return _TEXT_CHUNK.fill({"message": message, "text": _as_text(text)})


def thinking_chunk(text: str) -> JoiningChunk:
    """A piece of the thinking."""
    message = _THINKING.fill(
        {"additional_kwargs": {THINKING_KEY: text}, "response_metadata": {"model_provider": PROVIDER}}
    )
    return _SILENT_CHUNK.fill({"message": message})


def call_chunk(delta: ToolCallDelta) -> JoiningChunk:
    """A piece of a tool call, with what LangChain's validator reads into it."""
    calls, invalid = parsed(delta)
    piece = tool_call_chunk(name=delta.name, args=delta.arguments, id=delta.id, index=delta.index)
    message = _CALL.fill(
        {
            "tool_call_chunks": [piece],
            "tool_calls": calls,
            "invalid_tool_calls": invalid,
            "response_metadata": {"model_provider": PROVIDER},
        }
    )
    return _SILENT_CHUNK.fill({"message": message})


def parsed(delta: ToolCallDelta) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """What a piece is as JSON of its own, which is seldom an object: calls and invalid calls."""
    arguments: object = None
    if not delta.arguments:
        arguments = {}
    elif delta.arguments.lstrip().startswith("{"):  # no repair makes an object of anything else
        try:
            arguments = parse_partial_json(delta.arguments)
        except Exception:  # noqa: BLE001  # as LangChain's validator does
            arguments = None
    if isinstance(arguments, dict):
        return [tool_call(name=delta.name or "", args=arguments, id=delta.id)], []
    return [], [invalid_tool_call(name=delta.name, args=delta.arguments, id=delta.id)]
