"""Puts a conversation into the order and the ids that Kimi's templates need, on copies only.

In an assistant's call the id is the only place where Kimi's template prints the tool's name, so ids go out as
`functions.NAME:N` whatever the framework calls them; results follow their calls, in the order of the calls.
See https://github.com/MoonshotAI/Kimi-K2/blob/main/docs/tool_call_guidance.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ._arguments import is_object, normalise_arguments
from ._toolcalls import History
from .errors import InvalidRequestError
from .messages import Message, ToolCall

__all__ = ["Ordered", "order"]

_NATIVE: Final = re.compile(r"functions\.(?P<name>.+):(?P<number>[0-9]{1,9})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ordered:
    """A conversation as it is sent."""

    messages: list[tuple[int, Message]]
    """The messages, each with its position in the caller's conversation."""
    history: History
    """What an answer's new calls must not collide with: the caller's ids, and those on the wire."""


def order(messages: Sequence[Message]) -> Ordered:
    """Give every call its native id, and every result its call's id and place.

    Results go to the end of the assistant turn that they follow, before a user's message that came between them.
    Calls without a result stay as they are: a run that broke off must not make the conversation unusable.

    Raises:
        InvalidRequestError: A result belongs to no call before it.
    """
    ids = _Ids(messages)
    calls = _Calls()
    ordered: list[tuple[int, Message]] = []
    results: list[tuple[int, int, Message]] = []
    others: list[tuple[int, Message]] = []
    for position, message in enumerate(messages):
        if message.role == "tool":
            call = calls.answered_by(message, position)
            results.append((call.number, position, _result(message, call)))
        elif message.role == "assistant":
            if results or others:
                _close_turn(ordered, results, others)
            ordered.append(
                (position, _assistant(message, position, ids, calls) if message.tool_calls else message)
            )
        else:
            others.append((position, message))
    _close_turn(ordered, results, others)
    return Ordered(ordered, ids.history())


def _close_turn(
    ordered: list[tuple[int, Message]],
    results: list[tuple[int, int, Message]],
    others: list[tuple[int, Message]],
) -> None:
    if len(results) > 1:
        results.sort(key=lambda result: result[:2])
    ordered += [(position, message) for _, position, message in results]
    ordered += others
    results.clear()
    others.clear()


def _result(message: Message, call: _Call) -> Message:
    if message.tool_call_id == call.wire_id and message.name == call.name:
        return message
    return Message("tool", message.content, tool_call_id=call.wire_id, name=call.name)


def _assistant(message: Message, position: int, ids: _Ids, calls: _Calls) -> Message:
    given = message.tool_calls
    sent: list[ToolCall] = []
    same = True
    for index, call in enumerate(given):
        wire_id, arguments = ids.on_wire((position, index), call), _sendable(call.arguments)
        if wire_id == call.id and arguments is call.arguments:
            sent.append(call)
        else:
            same = False
            sent.append(ToolCall(wire_id, call.name, arguments))
    calls.add_turn(given, sent)
    return message if same else Message("assistant", message.content, message.thinking, tuple(sent))


class _Ids:
    """Decides under which id each call goes out."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._seen: set[str] = set()
        self._kept: dict[tuple[int, int], int] = {}
        self._taken: set[str] = set()
        self._next = 0
        calling = [
            (position, message.tool_calls) for position, message in enumerate(messages) if message.tool_calls
        ]
        for position, calls in calling:
            for index, call in enumerate(calls):
                self._seen.add(call.id)
                match = _NATIVE.fullmatch(call.id)
                if match and match["name"] == call.name and call.id not in self._taken:
                    self._taken.add(call.id)
                    self._kept[position, index] = int(match["number"])

    def on_wire(self, place: tuple[int, int], call: ToolCall) -> str:
        """The call's own id if that is native, true to the name and the first of its kind; else the next native one.

        Kimi counts calls over the conversation, so numbers only grow.
        """
        number = self._kept.get(place)
        if number is not None:
            self._next = max(self._next, number) + 1
            return call.id
        number = self._next
        while (identity := f"functions.{call.name}:{number}") in self._taken:
            number += 1
        self._next = number + 1
        self._taken.add(identity)
        return identity

    def history(self) -> History:
        """All ids in use, once every call has been asked for."""
        return History(frozenset((self._seen | self._taken) - {""}), self._next)


class _Call:
    __slots__ = ("answered", "name", "number", "wire_id")

    def __init__(self, number: int, sent: ToolCall) -> None:
        self.number = number
        self.wire_id = sent.id
        self.name = sent.name
        self.answered = False


class _Calls:
    """Finds the call that a result answers, in constant time."""

    def __init__(self) -> None:
        self._count = 0
        # Open calls by the caller's id, and all of them: the last is the first call of the latest turn.
        self._open: dict[str, list[_Call]] = {}
        self._waiting: list[_Call] = []
        self._latest: dict[str, _Call] = {}
        self._on_wire: dict[str, _Call] = {}

    def add_turn(self, given: Sequence[ToolCall], sent: Sequence[ToolCall]) -> None:
        self._count += len(sent)
        number = self._count
        # From the last to the first, which is then the next to be answered; of equal ids, the last is the latest.
        latest: dict[str, _Call] = {}
        for asked, written in zip(reversed(given), reversed(sent), strict=True):
            number -= 1
            call = _Call(number, written)
            self._open.setdefault(asked.id, []).append(call)
            self._waiting.append(call)
            self._on_wire[call.wire_id] = call
            latest.setdefault(asked.id, call)
        self._latest.update(latest)

    def answered_by(self, result: Message, position: int) -> _Call:
        """The call that a result answers.

        Of several with its id, the first of the latest turn that is still open, because ids may be used again;
        without an id, the first open one of the latest turn; for a second result of a call, that call.
        """
        identity = result.tool_call_id
        candidates = self._open.get(identity, []) if identity else self._waiting
        while candidates:
            call = candidates.pop()
            if not call.answered:
                call.answered = True
                return call
        found = (self._latest.get(identity) or self._on_wire.get(identity)) if identity else None
        if found is None:
            _refuse_orphan(identity, position)
        found.answered = True
        return found


def _refuse_orphan(identity: str | None, position: int) -> NoReturn:
    what = f"the result of the tool call {identity!r}" if identity else "a tool's result without an id"
    raise InvalidRequestError(
        f"Message {position} is {what}, but no assistant message before it makes that call. Send the assistant "
        "message with its tool calls too; trimming a history must keep calls and results together."
    )


def _sendable(arguments: str) -> str:
    """Arguments as servers accept them: JSON text of an object.

    A server that parses the history answers 400 to every later request if one call in it is damaged, so text
    that cannot be repaired travels inside an object, where the model still sees it.
    """
    if is_object(arguments):
        return arguments
    normal = normalise_arguments(arguments)
    if normal is not None:
        return normal
    return json.dumps({"invalid_arguments": arguments}, ensure_ascii=False)
