"""Reads the caller's conversation into `Message` values whose every part can be sent.

Judges shapes only, and names the position of what is wrong; `order` sees to order and ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeGuard, cast, get_args

from kimi_vertex._text import shown
from kimi_vertex._wire import find_thinking
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message, MessageLike, Role, ToolCall

from .declared import read_declaration
from .parts import read_parts

__all__ = ["read_messages"]

_ROLES: Final[frozenset[Any]] = frozenset(get_args(Role))
_TEXT_OR_NONE: Final = frozenset({str, type(None)})


def read_messages(messages: Iterable[MessageLike] | str) -> list[Message]:
    """Take the caller's conversation in any accepted form.

    Returns:
        One message for each given one. Content is `None`, a string, or a list of parts in OpenAI's form; ids are
        strings; arguments are text.

    Raises:
        InvalidRequestError: It is empty, or a message has a role or shape that cannot be sent.
    """
    if isinstance(messages, str):
        messages = [messages]
    elif isinstance(messages, Message | Mapping | bytes) or not isinstance(messages, Iterable):
        raise InvalidRequestError(
            f"The conversation is a {type(messages).__name__}; pass a list of messages, or a user's text."
        )
    read = [
        message if _is_ready(message) else _read(message, position)
        for position, message in enumerate(messages)
    ]
    if not read:
        raise InvalidRequestError("There are no messages to send. Pass at least one user message.")
    return read


def _fail(position: int, what: str) -> NoReturn:
    raise InvalidRequestError(f"Message {position} {what}")


def _is_ready(message: MessageLike) -> TypeGuard[Message]:
    """Whether a message can be sent as it is: text in all places. Most can, and this is what they cost."""
    if type(message) is not Message:
        return False
    role: Any = message.role
    return (
        type(role) is str
        and role in _ROLES
        and type(message.content) in _TEXT_OR_NONE
        and type(message.thinking) in _TEXT_OR_NONE
        and type(message.tool_call_id) in _TEXT_OR_NONE
        and not message.tools
        and (not message.tool_calls or (role == "assistant" and _are_ready(message.tool_calls)))
    )


def _are_ready(calls: Any) -> bool:
    if type(calls) is not tuple:
        return False  # a list is the caller's, who may change it
    for call in calls:
        if type(call) is not ToolCall or not call.name:
            return False
        if not (type(call.id) is type(call.name) is type(call.arguments) is str):
            return False
    return True


def _read(message: MessageLike, position: int) -> Message:
    if isinstance(message, str):
        return Message("user", message)
    if not isinstance(message, Message):
        if isinstance(message, Mapping):
            return _read(_from_dict(message, position), position)
        _fail(position, f"is a {type(message).__name__}; expected kimi_vertex.Message, a dict, or a str.")
    role: Any = message.role
    if role == "developer":
        # OpenAI's newer name for the same thing; Kimi's template knows only `system`.
        role = "system"
    if not isinstance(role, str) or role not in _ROLES:
        _fail(position, f"has the role {shown(role)}; Kimi knows {', '.join(sorted(_ROLES))}.")
    if message.thinking is not None and not isinstance(message.thinking, str):
        _fail(position, f"has thinking of type {type(message.thinking).__name__}; expected text.")
    if message.tool_calls and role != "assistant":
        _fail(position, f"has tool calls, but its role is {shown(role)}; only an assistant makes tool calls.")
    if message.tools != ():
        return _declaration(message, role, position)
    content = _content(message.content, position, role)
    calls = _calls(message.tool_calls, position) if message.tool_calls else ()
    identity: Any = message.tool_call_id
    if identity is not None and not isinstance(identity, str):
        identity = str(identity)
    if role is message.role and content is message.content and not calls and identity is message.tool_call_id:
        return message
    return Message(cast(Role, role), content, message.thinking, calls, identity, message.name)


def _declaration(message: Message, role: Any, position: int) -> Message:
    if role != "system":
        _fail(position, f"has tools, but its role is {shown(role)}; only a system message declares tools.")
    if message.content:
        _fail(position, "has tools beside its content; declare them in a system message of their own.")
    return Message("system", tools=read_declaration(message.tools, position))


def _from_dict(message: Mapping[str, Any], position: int) -> Message:
    if message.get("function_call"):
        _fail(position, "has a function_call, which Kimi does not know; write it as tool_calls.")
    return Message(
        role=cast(Role, message.get("role")),
        content=message.get("content"),
        thinking=find_thinking(message),
        tool_calls=message.get("tool_calls") or (),
        tool_call_id=message.get("tool_call_id"),
        name=message.get("name"),
        tools=() if message.get("tools") is None else message["tools"],
    )


def _content(content: Any, position: int, role: str) -> str | list[dict[str, Any]] | None:
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, Mapping | bytes) or not isinstance(content, Sequence):
        if role != "tool":
            _fail(
                position,
                f"({role}) has content of type {type(content).__name__}; expected text or a list of parts.",
            )
        content = [content]
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(content):
        read = read_parts(part, role)
        if not read:
            shown = repr(part.get("type")) if isinstance(part, Mapping) else type(part).__name__
            _fail(
                position,
                f"({role}) has a content part, number {index}, that Kimi cannot be sent: {shown}. Expected "
                '{"type": "text", "text": ...} or {"type": "image_url", "image_url": {"url": ...}}.',
            )
        parts += (each if each["type"] == "text" else {**each, "number": index} for each in read)
    return parts


def _calls(calls: Any, position: int) -> tuple[ToolCall, ...]:
    if type(calls) is list and _are_ready(given := tuple(calls)):
        return given
    if isinstance(calls, Mapping | str | bytes) or not isinstance(calls, Sequence):
        _fail(position, f"has tool_calls of type {type(calls).__name__}; expected a list.")
    return tuple(_call(call, position, index) for index, call in enumerate(calls))


def _call(call: Any, position: int, index: int) -> ToolCall:
    if isinstance(call, ToolCall):
        identity: Any = call.id
        name: Any = call.name
        arguments: Any = call.arguments
    else:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            _fail(
                position,
                f"has a tool call, number {index}, of an unknown form; expected kimi_vertex.ToolCall or "
                '{"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}.',
            )
        identity, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        _fail(position, f"has a tool call, number {index}, without the tool's name.")
    if not isinstance(arguments, str):
        try:
            arguments = (
                "" if arguments is None else json.dumps(arguments, ensure_ascii=False, allow_nan=False)
            )
        except (TypeError, ValueError, RecursionError) as error:
            _fail(position, f"calls {shown(name)} with arguments that cannot be written as JSON: {error}.")
    if isinstance(identity, str) and isinstance(call, ToolCall) and arguments is call.arguments:
        return call
    return ToolCall("" if identity is None else str(identity), name, arguments)
