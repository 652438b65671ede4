"""Finds the order and the ids that Kimi's templates need for a conversation, which stays as it is.

In an assistant's call the id is the only place where Kimi's template prints the tool's name, so ids go out as
`functions.NAME:N` whatever the framework calls them; results follow their calls, in the order of the calls.
See https://github.com/MoonshotAI/Kimi-K2/blob/main/docs/tool_call_guidance.md.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from kimi_vertex._json import is_object, normalize_arguments
from kimi_vertex._tools import History
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message, ToolCall

__all__ = ["Ordered", "Placed", "order"]

_PREFIX: Final = "functions."
_LONGEST_NUMBER: Final = 9
_BEHIND_RESULTS: Final = sys.maxsize

Placed: TypeAlias = tuple[int, Message, Sequence[ToolCall]]
"""A message with its position in the caller's conversation, and the calls that it makes, or the one that it answers,
as they are sent."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A conversation as it is sent."""

    messages: list[Placed]
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
    ordered: list[Placed] = []
    # Of what follows the last assistant's message: where it begins, and each message's rank, by which it stands.
    start, ranks, last = 0, list[int](), 0
    for position, message in enumerate(messages):
        sent: Sequence[ToolCall] = ()
        if message.role == "assistant":
            if message.tool_calls:
                sent = [_sent(call, ids) for call in message.tool_calls]
                calls.add_turn(message.tool_calls, sent)
            ordered.append((position, message, sent))
            start, ranks, last = len(ordered), [], 0
            continue
        if message.role == "tool":
            rank, answered = calls.answered_by(message, position)
            sent = (answered,)
        else:
            rank = _BEHIND_RESULTS
        if rank >= last:
            last = rank
            ranks.append(rank)
            ordered.append((position, message, sent))
        else:
            place = bisect_right(ranks, rank)
            ranks.insert(place, rank)
            ordered.insert(start + place, (position, message, sent))
    return Ordered(ordered, ids.history())


def _sent(call: ToolCall, ids: _Ids) -> ToolCall:
    identity, arguments = ids.on_wire(call), _sendable(call.arguments)
    if identity == call.id and arguments is call.arguments:
        return call
    return ToolCall(identity, call.name, arguments)


class _Ids:
    """Decides under which id each call goes out."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._seen: set[str] = set()
        self._taken: set[str] = set()
        self._next = 0
        kept: list[int | None] = []
        for message in messages:
            for call in message.tool_calls:
                self._seen.add(call.id)
                number = None if call.id in self._taken else _native_number(call)
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
        while (identity := f"{_PREFIX}{call.name}:{number}") in self._taken:
            number += 1
        self._next = number + 1
        self._taken.add(identity)
        return identity

    def history(self) -> History:
        """All ids in use, once every call has been asked for."""
        return History(frozenset((self._seen | self._taken) - {""}), self._next)


def _native_number(call: ToolCall) -> int | None:
    """The number in an id of the form that Kimi gives to calls of this tool; `None` if the id has another form."""
    start, _, number = call.id.rpartition(":")
    if start != _PREFIX + call.name or not (number.isascii() and number.isdecimal()):
        return None
    return int(number) if len(number) <= _LONGEST_NUMBER else None


class _Turn:
    """The calls of one assistant's turn."""

    __slots__ = ("asked", "next", "number", "sent")

    def __init__(self, number: int, asked: Sequence[ToolCall], sent: Sequence[ToolCall]) -> None:
        self.number = number
        """The first call's, counted over the conversation."""
        self.asked = asked
        self.sent = sent
        self.next = 0
        """How many calls have been answered in their turn; past the end once the turn is searched by ids."""


class _Call:
    __slots__ = ("answered", "number", "sent")

    def __init__(self, number: int, sent: ToolCall, *, answered: bool) -> None:
        self.number = number
        self.sent = sent
        self.answered = answered


class _Calls:
    """Finds the call that a result answers, each in constant time but for the first one that is searched by its id.

    Nearly always that is the next one of the latest turn, and no index is made.
    """

    def __init__(self) -> None:
        self._count = 0
        self._latest = _Turn(0, (), ())
        self._unsearched: list[_Turn] = []
        self._waiting: list[_Call] = []
        """The open calls. The last one is the first of the latest turn, and so on; answered ones may be among them."""
        self._open: dict[str, list[_Call]] = {}
        """The same by the caller's ids."""
        self._known: dict[str, _Call] = {}
        """The latest call of each of the caller's ids, open or not."""
        self._on_wire: dict[str, _Call] = {}
        """The call of each id on the wire."""

    def add_turn(self, asked: Sequence[ToolCall], sent: Sequence[ToolCall]) -> None:
        """Take the calls of a turn, as the caller has them and as they are sent."""
        self._latest = _Turn(self._count, asked, sent)
        self._unsearched.append(self._latest)
        self._count += len(asked)

    def answered_by(self, result: Message, position: int) -> tuple[int, ToolCall]:
        """The call that a result answers, as it is sent, and its number.

        Of several with its id, the first of the latest turn that is still open, because ids may be used again;
        without an id, the first open one of the latest turn; for a second result of a call, that call.
        """
        turn, place = self._latest, self._latest.next
        if place < len(turn.asked) and turn.asked[place].id == result.tool_call_id:
            turn.next = place + 1
            return turn.number + place, turn.sent[place]
        call = self._search(result.tool_call_id, position)
        return call.number, call.sent

    def _search(self, identity: str | None, position: int) -> _Call:
        for turn in self._unsearched:
            self._index(turn)
        self._unsearched.clear()
        candidates = self._open.get(identity, []) if identity else self._waiting
        while candidates:
            call = candidates.pop()
            if not call.answered:
                call.answered = True
                return call
        found = (self._known.get(identity) or self._on_wire.get(identity)) if identity else None
        if found is None:
            _refuse_orphan(identity, position)
        found.answered = True
        return found

    def _index(self, turn: _Turn) -> None:
        made: list[_Call] = []
        for place, (asked, sent) in enumerate(zip(turn.asked, turn.sent, strict=True)):
            call = _Call(turn.number + place, sent, answered=place < turn.next)
            self._known[asked.id] = self._on_wire[sent.id] = call
            made.append(call)
        # From the last to the first, which is then the next to be answered.
        made.reverse()
        self._waiting += made
        for asked, call in zip(reversed(turn.asked), made, strict=True):
            self._open.setdefault(asked.id, []).append(call)
        turn.next = len(turn.asked)


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
    normal = normalize_arguments(arguments)
    if normal is not None:
        return normal
    return json.dumps({"invalid_arguments": arguments}, ensure_ascii=False)
