"""The calls of one turn, and which of them are the same: a server may send a call twice, or structure one that it leaks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kimi_vertex._json import canonical
from kimi_vertex._tools import NUMBERED, DeclaredTools

from .arguments import ArgumentStream

__all__ = ["Call", "Twins"]


@dataclass(slots=True, eq=False)
class Call:
    """One call, as far as it has come."""

    key: int | None
    server_id: str
    arguments: ArgumentStream
    doubtful: bool = False
    """Whether it may only repeat a complete call's name, so that it counts only with arguments."""
    twin: Call | None = None
    """Another call of the same native id, which this one may complete."""
    unfit: bool = False
    """Whether it is whole, but without what its tool needs."""
    written: str = ""
    """The name as the server wrote it."""
    bare: bool = False
    """Whether its notation has no ids."""
    pieces: int = 0
    """How many the arguments came in."""
    id: str = ""
    name: str = ""
    index: int = -1
    started: bool = False
    held: bool = False
    """Whether its arguments are given out at the end, because they may be repaired."""
    given: str = ""
    """At the end: the arguments that the caller has."""
    tail: str = ""
    """At the end: those that are still owed."""
    error: str | None = None

    def differs_from(self, twin: Call) -> bool:
        """Whether two calls of one native id are two: a server may count anew."""
        one, other = self.arguments, twin.arguments
        whole = one.complete and other.complete and not (one.empty or other.empty)
        return whole and canonical(one.text) != canonical(other.text)

    def absorbs(self, twin: Call) -> bool:
        """Whether two closed calls of one native id are one now: the whole one, or the longer one."""
        text, longer = twin.arguments.text, len(twin.arguments.text) > len(self.arguments.text)
        if self.error is None:
            return twin.error is not None or canonical(self.arguments.text) == canonical(text)
        if (twin.error is None or longer) and text.startswith(self.given):
            self.arguments, self.error, self.tail = twin.arguments, twin.error, text[len(self.given) :]
            return True
        return twin.error is not None


class Twins:
    """Tells the leaked calls that a server also structured, and those that leaked twice, from the others."""

    def __init__(self, calls: Sequence[Call], leaked: Sequence[str], tools: DeclaredTools) -> None:
        """Take the structured calls, closed, and the ids of the leaked ones."""
        self._tools = tools
        self._by_id: dict[str, Call] = {}
        self._whole: set[tuple[str, str, str]] = set()
        self._places: Counter[tuple[str, str]] = Counter()
        self._absorbed: dict[tuple[str, str], set[str]] = {}
        self._texts: dict[str, list[str]] = {}
        natives = set(map(_number, leaked))
        for call in calls:
            key = (call.name, canonical(call.arguments.text))
            identity = _number(call.server_id) if tools.is_native(call.server_id) else ""
            if identity:
                self._by_id.setdefault(identity, call)
                self._whole.add((identity, *key))
            self._places[key] += 1
            self._absorbed.setdefault(key, set()).update({identity} & natives - {""})
            self._texts.setdefault(call.name, []).append(call.arguments.text)
        for texts in self._texts.values():
            texts.sort()

    def hold(self, leak: Call) -> bool:
        """Whether a leaked call, closed, is one that is known already; it is known from now on."""
        key = (leak.name, canonical(leak.arguments.text))
        identity = _number(leak.written)
        if identity:
            first = self._by_id.setdefault(identity, leak)
            if (identity, *key) in self._whole or (first is not leak and first.absorbs(leak)):
                return True
        known = identity or leak.written
        absorbed = self._absorbed.get(key, set())
        if known in absorbed or len(absorbed) < self._places[key]:
            absorbed.add(known)
            return True
        if leak.error is not None and self._begins_one(leak):
            return True
        if identity:
            self._whole.add((identity, *key))
        return False

    def _begins_one(self, leak: Call) -> bool:
        """Whether unreadable arguments are the beginning of a structured call's."""
        begun = leak.arguments.text.strip()
        named = leak.name in self._tools.schemas
        for texts in [self._texts.get(leak.name, [])] if named else self._texts.values():
            at = bisect_left(texts, begun)
            if at < len(texts) and texts[at].startswith(begun):
                return True
        return False


def _number(identity: str) -> str:
    """What a native id says, however it is spelled; empty for others."""
    return identity.removeprefix("functions.") if NUMBERED.match(identity) else ""
