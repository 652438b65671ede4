"""LangChain's messages as the core's `Message` values.

Reads every form in which LangChain's own and other providers' messages carry text, thinking, tool calls and media.
How thinking, ids and images are then sent, or refused, is the core's business.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from kimi_vertex import InvalidRequestError, Message, ToolCall, find_thinking
from kimi_vertex.messages import Role
from langchain_kimi_vertex._invalid import original_arguments
from langchain_kimi_vertex._keys import REPLACED_CALLS_KEY
from langchain_kimi_vertex._tools import added_tools

__all__ = ["to_core_messages"]

_logger = logging.getLogger(__name__)

_Part = dict[str, Any]

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
}
_SAID: Final = frozenset(
    "text text-plain output_text input_text refusal image image_url input_image image_generation_call video video_url "
    "audio input_audio media file input_file document search_result resource resource_link".split()
)
"""The types of an assistant's blocks that are sent; what else its provider put there only that can read."""
_NAMELESS: Final = "unknown"
"""The name of a call that came without one; Kimi's servers refuse an empty one."""
_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode
_CALL_TYPES: Final = frozenset({"tool_call", "tool_use", "function_call"})


def to_core_messages(
    messages: Sequence[BaseMessage], tools: Mapping[str, dict[str, Any]] | None = None
) -> list[Message]:
    """Convert a conversation.

    Args:
        tools: The tools that a message may add by name, in OpenAI's form.

    Raises:
        InvalidRequestError: A message's type or role is unknown, or it holds content that no Kimi server takes.
    """
    converted: list[Message] = []
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    for position, message in enumerate(messages):
        plain = _plain(message, answered)
        if plain is None:
            converted += _convert(message, position, tools or {}, answered)
        else:
            converted.append(plain)
    return converted


def _plain(message: BaseMessage, answered: AbstractSet[str]) -> Message | None:
    """A message whose content is a text, as most are; `None` for any other.

    Asks for the exact type: to pydantic's classes, `isinstance` is a slow question.
    """
    content, kind = message.content, type(message)
    if type(content) is not str:
        return None
    if kind is HumanMessage:
        return Message("user", content)
    if kind is ToolMessage:
        result = cast(ToolMessage, message)
        return Message("tool", content, None, (), result.tool_call_id, result.name)
    if isinstance(message, AIMessage):
        return Message("assistant", content, _own_thinking(message), tuple(_own_calls(message, answered)))
    return None


def _convert(
    message: BaseMessage, position: int, tools: Mapping[str, dict[str, Any]], answered: AbstractSet[str]
) -> Iterator[Message]:
    if isinstance(message, AIMessage):
        yield _assistant(message, answered)
    elif isinstance(message, HumanMessage):
        yield from _user(message)
    elif isinstance(message, SystemMessage):
        yield from _system(message, tools)
    elif isinstance(message, ToolMessage):
        yield Message("tool", _content(message.content), tool_call_id=message.tool_call_id, name=message.name)
    elif isinstance(message, FunctionMessage):
        yield Message("tool", _content(message.content), tool_call_id=message.name, name=message.name)
    elif isinstance(message, ChatMessage):
        role = _ROLES.get(message.role)
        if role is None:
            raise InvalidRequestError(
                f"Message {position} is a ChatMessage with the role {message.role!r}, which Kimi does not know; "
                f"use one of {', '.join(_ROLES)}, or a ToolMessage for a tool's result."
            )
        yield Message(role, _content(message.content))
    else:
        raise InvalidRequestError(
            f"Message {position} is of type {type(message).__name__}, which cannot be sent to Kimi; use SystemMessage, "
            "HumanMessage, AIMessage or ToolMessage."
        )


def _blocks(content: str | Sequence[str | Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The blocks of any content, strings included, out of their `non_standard` wrapping."""
    if isinstance(content, str):
        yield {"type": "text", "text": content}
        return
    for block in content:
        if isinstance(block, str):
            yield {"type": "text", "text": block}
        elif block.get("type") == "non_standard" and isinstance(block.get("value"), Mapping):
            yield block["value"]
        elif "type" not in block and "text" in block:
            yield {"type": "text", "text": block["text"]}
        else:
            yield block


def _content(content: str | Sequence[str | Mapping[str, Any]]) -> str | list[_Part]:
    """Content as the core takes it: it reads blocks of any origin, and says which it cannot send."""
    return content if isinstance(content, str) else [dict(block) for block in _blocks(content)]


def _system(message: SystemMessage, tools: Mapping[str, dict[str, Any]]) -> Iterator[Message]:
    """A system's message; the tools that it adds come first, in a message of their own."""
    if isinstance(message.content, str):
        yield Message("system", message.content)
        return
    added: list[dict[str, Any]] = []
    parts: list[_Part] = []
    changes = False
    for block in _blocks(message.content):
        found = added_tools(block, tools)
        changes = changes or found is not None
        if found is None:
            parts.append(dict(block))
        else:
            added += [tool for tool in found if tool not in added]
    if added:
        yield Message("system", tools=added)
    if parts or not changes:
        yield Message("system", parts)


def _user(message: HumanMessage) -> Iterator[Message]:
    """A user's message; results of tools that Anthropic's form puts inside it come first, as Kimi wants them."""
    parts: list[_Part] = []
    results = 0
    for block in _blocks(message.content):
        if block.get("type") == "tool_result":
            results += 1
            yield Message(
                role="tool",
                content=_content(block.get("content") or ""),
                tool_call_id=str(block.get("tool_use_id") or ""),
            )
        else:
            parts.append(dict(block))
    if parts or not results:
        yield Message(role="user", content=parts)


def _assistant(message: AIMessage, answered: AbstractSet[str]) -> Message:
    parts: list[_Part] = []
    thoughts: list[str] = []
    calls = _own_calls(message, answered)
    known = {call.id for call in calls}
    for block in _blocks(message.content):
        kind = block.get("type")
        if kind in _SAID:
            parts.append(dict(block))
        elif kind in ("reasoning", "thinking", "reasoning_content"):
            thought = _thought(block)
            if thought is not None:
                thoughts.append(thought)
        elif kind in _CALL_TYPES:
            call = _call(block)
            if call.id not in known:
                known.add(call.id)
                calls.append(call)
        elif kind not in ("tool_call_chunk", "invalid_tool_call"):
            # Encrypted thinking, server-side tools and the like: state that only the other provider can read.
            _logger.debug("left out a block of type %r from an assistant message", kind)
    thinking = _own_thinking(message)
    if thinking is None and thoughts:
        thinking = "".join(thoughts)
    return Message("assistant", parts, thinking, tuple(calls))


def _own_thinking(message: AIMessage) -> str | None:
    """The thinking that stands beside the content, by the names that other integrations and servers give it."""
    extras = message.additional_kwargs
    if not extras:
        return None
    thinking, item = find_thinking(extras), extras.get("reasoning")
    if thinking is None and isinstance(item, Mapping):
        # OpenAI's Responses, in the first form that LangChain gave them, are an item with a summary.
        return _thought(item)
    return thinking


def _own_calls(message: AIMessage, answered: AbstractSet[str]) -> list[ToolCall]:
    """The calls of a message, but for those that the model has replaced, unless an agent loop has answered them."""
    calls = [
        ToolCall(call.get("id") or "", call["name"], _to_json(call["args"])) for call in message.tool_calls
    ]
    replaced = message.response_metadata.get(REPLACED_CALLS_KEY) or ()
    for call in message.invalid_tool_calls:
        if call.get("id") not in replaced or call.get("id") in answered:
            arguments = original_arguments(call.get("args") or "")
            calls.append(ToolCall(call.get("id") or "", call.get("name") or _NAMELESS, arguments))
    old = message.additional_kwargs.get("function_call")
    if not calls and isinstance(old, Mapping) and isinstance(name := old.get("name"), str):
        # OpenAI's first form of a call. A FunctionMessage answers it by the name.
        calls.append(ToolCall(name, name, str(old.get("arguments") or "")))
    return calls


def _thought(block: Mapping[str, Any]) -> str | None:
    """The readable thinking of a block; `None` if there is none, for instance where it is encrypted."""
    for key in ("reasoning", "thinking", "text"):
        if isinstance(block.get(key), str):
            return str(block[key])
    nested = block.get("reasoning_content")
    if isinstance(nested, Mapping) and isinstance(nested.get("text"), str):
        return str(nested["text"])
    summary = block.get("summary")
    texts = (
        [str(s.get("text") or "") for s in summary if isinstance(s, Mapping)]
        if isinstance(summary, list)
        else []
    )
    return "\n\n".join(texts) or None


def _call(block: Mapping[str, Any]) -> ToolCall:
    """A tool call that only a content block holds: LangChain's, Anthropic's or OpenAI's form."""
    arguments = block.get("args", block.get("input", block.get("arguments")))
    text = arguments if isinstance(arguments, str) else _to_json(arguments or {})
    return ToolCall(str(block.get("call_id") or block.get("id") or ""), str(block.get("name") or ""), text)
