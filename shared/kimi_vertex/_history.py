"""Puts a conversation into the order and the ids that Kimi's templates need, on copies only.

In an assistant's call the id is the only place where Kimi's template prints the tool's name, so ids go out as
`functions.NAME:N` whatever the framework calls them; a result follows its call, in the order of the calls.
See https://github.com/MoonshotAI/Kimi-K2/blob/main/docs/tool_call_guidance.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, get_args

from ._arguments import normalise_arguments
from ._wire import thinking_text
from .errors import InvalidRequestError
from .messages import Message, MessageLike, Role, ToolCall

__all__ = ["order", "read_messages"]

_ROLES: Final = frozenset(get_args(Role))
_NATIVE: Final = re.compile(r"functions\.(?P<name>.+):\d+")


def read_messages(messages: Iterable[MessageLike] | str) -> list[Message]:
    """Take the caller's conversation in any accepted form.

    Raises:
        InvalidRequestError: It is empty, or a message has a role or shape that cannot be sent.
    """
    if isinstance(messages, str):
        messages = [messages]
    read = [_read(message, position) for position, message in enumerate(messages)]
    if not read:
        raise InvalidRequestError("There are no messages to send. Pass at least one user message.")
    return read


def _read(message: MessageLike, position: int) -> Message:
    if isinstance(message, Message):
        read = message
    elif isinstance(message, str):
        read = Message("user", message)
    elif isinstance(message, Mapping):
        read = _from_dict(message, position)
    else:
        raise InvalidRequestError(
            f"Message {position} is a {type(message).__name__}; expected kimi_vertex.Message, a dict, or a str."
        )
    if read.role not in _ROLES:
        raise InvalidRequestError(
            f"Message {position} has the role {read.role!r}; Kimi knows {', '.join(sorted(_ROLES))}."
        )
    return read


def _from_dict(message: Mapping[str, Any], position: int) -> Message:
    role = message.get("role")
    # OpenAI's newer name for the same thing; Kimi's template knows only `system`.
    role = "system" if role == "developer" else role
    calls = message.get("tool_calls") or ()
    try:
        read_calls = tuple(_call_from_dict(call) for call in calls)
    except (TypeError, KeyError) as error:
        raise InvalidRequestError(
            f"Message {position} has a tool call without {error}; expected "
            '{"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}.'
        ) from None
    thinking = message.get("thinking")
    return Message(
        role=role if isinstance(role, str) else repr(role),  # type: ignore[arg-type]  # judged by the caller
        content=message.get("content"),
        thinking=thinking if isinstance(thinking, str) else thinking_text(message),
        tool_calls=read_calls,
        tool_call_id=message.get("tool_call_id"),
        name=message.get("name"),
    )


def _call_from_dict(call: Mapping[str, Any]) -> ToolCall:
    function = call["function"]
    return ToolCall(str(call.get("id") or ""), function["name"], function.get("arguments") or "")


class _Open:
    """A call that waits for its result."""

    __slots__ = ("answered", "original", "position", "wire")

    def __init__(self, original: str, wire: ToolCall, position: int) -> None:
        self.original = original
        self.wire = wire
        self.position = position
        self.answered = False


def order(messages: Sequence[Message]) -> list[Message]:
    """Give every call its native id, and every result its call's id and place.

    Raises:
        InvalidRequestError: A result belongs to no call before it.
    """
    native = _native_ids(messages)
    taken = set(native.values())
    ordered: list[Message] = []
    calls: list[_Open] = []
    count = 0
    results: list[tuple[int, Message]] = []
    for position, message in enumerate(messages):
        if message.role == "tool":
            call = _match(message, calls, position)
            results.append((call.position, _result(message, call.wire)))
            continue
        ordered += _in_call_order(results)
        sent = message
        if message.tool_calls:
            renamed: list[ToolCall] = []
            for index, call_ in enumerate(message.tool_calls):
                wire_id = native.get((position, index)) or _next_id(call_.name, count, taken)
                wire = ToolCall(wire_id, call_.name, _sendable(call_.arguments))
                calls.append(_Open(call_.id, wire, count))
                renamed.append(wire)
                count += 1
            sent = replace(message, tool_calls=tuple(renamed))
        ordered.append(sent)
    ordered += _in_call_order(results)
    return ordered


def _native_ids(messages: Sequence[Message]) -> dict[tuple[int, int], str]:
    """The ids that can go out as they are: native in form, true to the name, and the first of their kind."""
    kept: dict[tuple[int, int], str] = {}
    seen: set[str] = set()
    for position, message in enumerate(messages):
        for index, call in enumerate(message.tool_calls):
            match = _NATIVE.fullmatch(call.id)
            if match and match["name"] == call.name and call.id not in seen:
                seen.add(call.id)
                kept[position, index] = call.id
    return kept


def _next_id(name: str, number: int, taken: set[str]) -> str:
    while (identity := f"functions.{name}:{number}") in taken:
        number += 1
    taken.add(identity)
    return identity


def _match(message: Message, calls: Sequence[_Open], position: int) -> _Open:
    """The call that a result answers: the first open one with its id; without an id, the first open one."""
    identity = message.tool_call_id
    if identity:
        for call in calls:
            if not call.answered and call.original == identity:
                call.answered = True
                return call
        for call in reversed(calls):
            if identity in (call.original, call.wire.id):
                return call
    else:
        for call in calls:
            if not call.answered:
                call.answered = True
                return call
    raise InvalidRequestError(
        f"Message {position} is the result of the tool call {identity!r}, but no assistant message before it "
        "makes that call. Send the assistant message with its tool calls too; trimming a history must keep "
        "calls and results together."
    )


def _in_call_order(results: list[tuple[int, Message]]) -> list[Message]:
    done = [message for _, message in sorted(results, key=lambda result: result[0])]
    results.clear()
    return done


def _result(message: Message, call: ToolCall) -> Message:
    return replace(message, tool_call_id=call.id, name=call.name)


def _sendable(arguments: Any) -> str:
    """Arguments as servers accept them: JSON text of an object.

    A server that parses the history answers 400 to every later request if one call in it is damaged, so text
    that cannot be repaired travels inside an object, where the model still sees it.
    """
    if not isinstance(arguments, str):
        return json.dumps(arguments, ensure_ascii=False)
    normal = normalise_arguments(arguments)
    return json.dumps({"invalid_arguments": arguments}, ensure_ascii=False) if normal is None else normal
