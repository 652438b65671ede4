"""Finds the order and the ids that Kimi's templates need for a conversation, which stays as it is.

In an assistant's call the id is the only place where K2's template prints the tool's name, so ids go out as
`functions.NAME:N` whatever the framework calls them, to K3 as `NAME:N`; results follow their calls, in the order of the
calls.
See https://github.com/MoonshotAI/Kimi-K2/blob/main/docs/tool_call_guidance.md.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, NoReturn, TypeAlias

from kimi_vertex._json import is_object, normalize_arguments
from kimi_vertex._text import shown
from kimi_vertex._tools import History
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message, ToolCall

__all__ = ["NOT_EXECUTED", "Entry", "Order", "order"]

_PREFIX: Final = "functions."
_LONGEST_NUMBER: Final = 9
_BEFORE_RESULTS: Final = -1
_BEHIND_RESULTS: Final = sys.maxsize
NOT_EXECUTED: Final = "Not executed: the conversation went on without a result of this call."
"""What stands for the result of a call that has none."""

Entry: TypeAlias = tuple[int, Message, Sequence[ToolCall]]
"""A message with its position in the caller's conversation, and as they are sent the calls that it makes, or the one
that it answers."""


@dataclass(frozen=True, slots=True)
class Order:
    """A conversation as it is sent."""

    entries: list[Entry]
    history: History
    """What an answer's new calls must not collide with: the caller's ids, and those on the wire."""


_Turn: TypeAlias = list[tuple[int, Entry]]
"""What an assistant's message begins, each behind the rank by which it stands: results by the number of their call."""
_NumberedCall: TypeAlias = tuple[int, ToolCall, _Turn]
"""A call as it is sent, behind its number in the conversation and before the turn that made it."""


def order(messages: Sequence[Message], prefix: str = _PREFIX) -> Order:
    """Give every call its native id, and every result its call's id and place.

    Results stand behind the assistant turn that made their calls, before a user's message that came between them.
    A call without a result gets one that says so: strict servers refuse the conversation otherwise, and other models
    lose the thread.

    Raises:
        InvalidRequestError: A result belongs to no call before it.
    """
    ids = _Ids(messages, prefix)
    calls = _Calls()
    turn: _Turn = []
    turns = [turn]
    for position, message in enumerate(messages):
        if message.role == "assistant":
            sent = [_sent(call, ids) for call in message.tool_calls] if message.tool_calls else ()
            turn = [(_BEFORE_RESULTS, (position, message, sent))]
            turns.append(turn)
            calls.add_turn(message.tool_calls, sent, turn)
        elif message.role == "tool":
            number, answered, asking = calls.answered_by(message, position)
            asking.append((number, (position, message, (answered,))))
        else:
            turn.append((_BEHIND_RESULTS, (position, message, ())))
    for number, call, asking in calls.unanswered():
        position = asking[0][1][0]
        asking.append((number, (position, Message("tool", NOT_EXECUTED, tool_call_id=call.id), (call,))))
    for turn in turns:
        turn.sort(key=itemgetter(0))
    return Order([entry for turn in turns for _, entry in turn], ids.history())


def _sent(call: ToolCall, ids: _Ids) -> ToolCall:
    identity, arguments = ids.on_wire(call), _sendable(call.arguments)
    if identity == call.id and arguments is call.arguments:
        return call
    return ToolCall(identity, call.name, arguments)


class _Ids:
    """Chooses the id that each call is sent with."""

    def __init__(self, messages: Sequence[Message], prefix: str) -> None:
        self._prefix = prefix
        self._seen: set[str] = set()
        self._taken: set[str] = set()
        self._next = 0
        kept: list[int | None] = []
        for message in messages:
            for call in message.tool_calls:
                self._seen.add(call.id)
                number = None if call.id in self._taken else _native_number(call, prefix)
                if number is not None:
                    self._taken.add(call.id)
                kept.append(number)
        self._kept = iter(kept)

    def on_wire(self, call: ToolCall) -> str:
        """The call's own id if that is native, true to the name and the first of its kind; else the next native one.

        Has to be asked for each call of the conversation in turn. Kimi counts calls over the conversation, so numbers
        only grow.
        """
        number = next(self._kept)
        if number is not None:
            self._next = max(self._next, number) + 1
            return call.id
        number = self._next
        while (identity := f"{self._prefix}{call.name}:{number}") in self._taken:
            number += 1
        self._next = number + 1
        self._taken.add(identity)
        return identity

    def history(self) -> History:
        """All ids in use, once every call has been asked for."""
        return History(frozenset((self._seen | self._taken) - {""}), self._next, self._prefix)


def _native_number(call: ToolCall, prefix: str) -> int | None:
    """The number in an id of the form that Kimi gives to calls of this tool; `None` if the id has another form.

    Where the template prints no ids, those of the other form may stay: K3 goes on with a conversation of K2's.
    """
    start, _, number = call.id.rpartition(":")
    native = start == prefix + call.name or (not prefix and start == _PREFIX + call.name)
    if not (native and number.isascii() and number.isdecimal()):
        return None
    return int(number) if len(number) <= _LONGEST_NUMBER else None


class _Calls:
    """Finds the call that a result answers, and its number in the conversation."""

    def __init__(self) -> None:
        self._made: list[_NumberedCall] = []
        self._open: dict[str | None, deque[_NumberedCall]] = {}
        """The calls of each of the caller's ids, and under `None` all of them: the latest turn's first, in its order.
        Some may have been answered in the meantime."""
        self._answered: set[int] = set()
        self._latest: dict[str, _NumberedCall] = {}
        """The latest call of each of the caller's ids, open or not."""
        self._on_wire: dict[str, _NumberedCall] = {}

    def add_turn(self, asked: Sequence[ToolCall], sent: Sequence[ToolCall], turn: _Turn) -> None:
        """Take the calls of a turn, as the caller has them and as they are sent."""
        numbered = [(number, call, turn) for number, call in enumerate(sent, len(self._made))]
        self._made += numbered
        for call, made in zip(asked, numbered, strict=True):
            self._latest[call.id] = self._on_wire[made[1].id] = made
        for call, made in zip(reversed(asked), reversed(numbered), strict=True):
            for key in (call.id, None):
                self._open.setdefault(key, deque()).appendleft(made)

    def unanswered(self) -> Iterator[_NumberedCall]:
        """The calls that have no result."""
        return (made for made in self._made if made[0] not in self._answered)

    def answered_by(self, result: Message, position: int) -> _NumberedCall:
        """The call that a result answers, as it is sent, with its number and its turn.

        Of several with its id, the first of the latest turn that is still open, because ids may be used again;
        without an id, the first open one of the latest turn; for a second result of a call, that call.
        """
        identity = result.tool_call_id or None
        candidates = self._open.get(identity)
        while candidates:
            numbered = candidates.popleft()
            if numbered[0] not in self._answered:
                self._answered.add(numbered[0])
                return numbered
        found = (self._latest.get(identity) or self._on_wire.get(identity)) if identity else None
        if found is None:
            _refuse_orphan(identity, position)
        self._answered.add(found[0])
        return found


def _refuse_orphan(identity: str | None, position: int) -> NoReturn:
    what = f"the result of the tool call {shown(identity)}" if identity else "a tool's result without an id"
    raise InvalidRequestError(
        f"Message {position} is {what}, without that call: send the assistant message with its tool calls, too. "
        "Trimming a history must keep calls and results together."
    )


def _sendable(arguments: str) -> str:
    """Arguments as servers accept them: JSON text of an object.

    A server that parses the history answers 400 to every later request if one call in it is damaged, so text
    that cannot be repaired travels inside an object, where the model still sees it.
    """
    if is_object(arguments):
        return arguments
    normal = normalize_arguments(arguments)
    if normal is not None:
        return normal
    return json.dumps({"invalid_arguments": arguments}, ensure_ascii=False)
