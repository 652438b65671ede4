"""Joins the pieces in which a server sends the tool calls of one turn, and names and numbers the calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kimi_vertex._json import load_json, normalize_arguments
from kimi_vertex._surrogates import without_surrogates
from kimi_vertex._tools import NUMBERED, DeclaredTools, History
from kimi_vertex.events import FinishReason, ToolCallDelta
from kimi_vertex.options import ToolValidation

from .arguments import ArgumentStream
from .leaked_calls import LeakedCall
from .validation import CheckedArguments, can_validate, check_arguments, check_plainly

__all__ = ["ToolCallAssembler"]


class _Call:
    __slots__ = ("arguments", "doubtful", "held", "id", "index", "key", "name", "server_id", "started")

    def __init__(self, key: int | None, server_id: str, *, doubtful: bool = False) -> None:
        self.key = key
        self.server_id = server_id
        self.doubtful = (
            doubtful  # may only repeat a complete call's name, so that it counts only with arguments
        )
        self.id = ""
        self.name = ""
        self.index = -1
        self.started = False
        self.held = False  # its arguments are given out at the end, because they may be repaired
        self.arguments = ArgumentStream()


class ToolCallAssembler:
    """Turns a server's fragments into `ToolCallDelta`s: dense indices, one id and name for each call."""

    def __init__(
        self, tools: DeclaredTools, history: History, *, validation: ToolValidation = "off", first: int = 0
    ) -> None:
        """Start a turn.

        Args:
            tools: The tools that the request declares.
            history: What earlier turns used up.
            validation: Whether calls are judged by their tools' schemas, and repaired.
            first: The index of the first call.
        """
        self._tools = tools
        self._first = first
        self._validation = validation
        self._taken = set(history.ids)
        self._next_number = history.calls
        self._prefix = history.prefix
        self._seen: list[_Call] = []
        self._calls: list[_Call] = []  # those that the caller knows, in order
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last: _Call | None = None
        self._errors: dict[int, str] = {}
        self.repaired: dict[str, list[str]] = {}
        """The places in the arguments that were repaired, by the call's id."""

    @property
    def any(self) -> bool:
        """Whether the turn holds a call, valid or not."""
        return bool(self._calls)

    @property
    def begun(self) -> bool:
        """Whether a fragment of a call has come."""
        return bool(self._seen)

    @property
    def errors(self) -> dict[int, str]:
        """The calls that must not be executed, by index and in order, and why."""
        return dict(sorted(self._errors.items()))

    def feed(self, fragments: Any, *, whole: bool = False) -> list[ToolCallDelta]:
        """Take the `tool_calls` of one streamed delta.

        Args:
            fragments: The field's value.
            whole: Whether it comes from a whole message, in which each entry is a call, whatever its id and index.
        """
        out: list[ToolCallDelta] = []
        for fragment in fragments if isinstance(fragments, list) else [fragments]:
            if isinstance(fragment, dict):
                self._fragment(fragment, out, whole=whole)
        return out

    def _fragment(self, fragment: dict[str, Any], out: list[ToolCallDelta], *, whole: bool) -> None:
        function = fragment.get("function")
        if not isinstance(function, dict):
            function = fragment
        name, pieces = function.get("name"), function.get("arguments", fragment.get("arguments"))
        name = self._clean_name(name) if name and isinstance(name, str) else ""
        identity, index = fragment.get("id"), fragment.get("index")
        identity = "" if identity is None else _identity(identity)
        index = index if type(index) is int else _index(index)
        call = self._new(identity, index) if whole else self._find(identity, index, name, pieces)
        if call is None:
            return
        call.name = call.name or name
        passed = call.arguments.feed(pieces)
        if call.started:
            if passed and not call.held:
                out.append(ToolCallDelta(call.index, None, None, passed))
        elif call.name and (call.arguments.is_object or not call.doubtful):
            self._start(call, out)

    def _clean_name(self, name: str) -> str:
        """Undo the one certain damage to a name: the native id in its place."""
        name = without_surrogates(name.strip())
        if name in self._tools.schemas or not self._tools.schemas:
            return name
        return self._tools.resolve(name, "") or name

    def _find(self, identity: str, index: int | None, name: str, pieces: Any) -> _Call | None:
        """The call that a fragment belongs to; `None` for the repetition of a complete one.

        A known id decides first, because the index may change inside a call (Gemini's compatibility layer); then a
        new id, because all indices may be 0; then the index; then the last call. Another name means another call. A
        complete call is never continued: a fragment that opens an object behind it begins the next call.
        """
        if identity:
            call = self._by_id.get(identity) or self._adopt(identity, index, name)
        else:
            call = self._by_index.get(index) if index is not None else self._last
        if call is None or (name and call.name and name != call.name):
            return self._new(identity, index)
        self._last = call
        if not call.arguments.complete:
            return call
        same_place = bool(identity) and index == call.key
        if _opens_object(pieces):
            given = call.arguments.text
            repeated = same_place and (pieces == given or _canonical(pieces) == _canonical(given))
            return None if repeated else self._new(identity, index)
        return self._new(identity, index, doubtful=True) if name and not same_place else call

    def _adopt(self, identity: str, index: int | None, name: str) -> _Call | None:
        """The call at `index`, if a new id can only mean that one: it has no id yet, or is still being written."""
        call = self._by_index.get(index) if index is not None else None
        if call is None or (call.server_id and (name or call.arguments.complete)):
            return None
        call.server_id = call.server_id or identity
        self._by_id[identity] = call
        return call

    def _new(self, identity: str, index: int | None, *, doubtful: bool = False) -> _Call:
        call = _Call(index, identity, doubtful=doubtful)
        if identity:
            self._by_id[identity] = call
        if index is not None:
            self._by_index[index] = call
        self._seen.append(call)
        self._last = call
        return call

    def _start(self, call: _Call, out: list[ToolCallDelta]) -> None:
        call.index = self._first + len(self._calls)
        call.started = True
        call.id = self._unique_id(call.server_id, call.name)
        self._calls.append(call)
        call.held = self._validation == "repair" and call.name in self._tools.schemas
        passed = call.arguments.text if call.arguments.is_object and not call.held else ""
        out.append(ToolCallDelta(call.index, call.id, call.name, passed))

    def _unique_id(self, identity: str, name: str) -> str:
        """The server's id if the conversation does not have it yet; else the next native one."""
        number = self._next_number + len(self._calls)
        chosen = identity
        while not chosen or chosen in self._taken:
            chosen = f"{self._prefix}{name or 'unknown'}:{number}"
            number += 1
        self._taken.add(chosen)
        return chosen

    def finish(self, leaked: Sequence[LeakedCall], reason: FinishReason | None) -> list[ToolCallDelta]:
        """Judge every call of the finished turn, and add the leaked ones that have no structured twin.

        Args:
            leaked: Calls found in thinking and text, in order.
            reason: Why the turn ended; `length` or `content_filter` make an unfinished call a cut-off one.

        Returns:
            The deltas that are still owed. `errors` names the calls that must not be executed.
        """
        out: list[ToolCallDelta] = []
        for call in self._seen:
            if not call.started:
                self._start_nameless(call, out)
        for call in self._calls:
            self._judge(call, reason, out)
        if not leaked:
            return out
        structured = [(call.name, call.arguments.text) for call in self._calls]
        twins = [(name, _canonical(arguments)) for name, arguments in structured]
        seen: set[tuple[str, str]] = set()
        for leak in leaked:
            name = self._tools.resolve(leak.id, leak.arguments)
            normal = normalize_arguments(leak.arguments)
            twin = (name or "", _canonical(leak.arguments if normal is None else normal))
            same = (leak.id, twin[1])
            if twin in twins:
                twins.remove(twin)
            elif same in seen or (normal is None and _begins_one_of(leak.arguments, name, structured)):
                continue
            elif leak.id or leak.arguments:
                if NUMBERED.match(leak.id):
                    seen.add(same)
                self._add_leaked(leak, name, normal, reason, out)
        return out

    def _judge(self, call: _Call, reason: FinishReason | None, out: list[ToolCallDelta]) -> None:
        tail, error = call.arguments.finish()
        if call.held:
            tail = call.arguments.text
        if error is None and reason in ("length", "content_filter") and not call.arguments.raw:
            tail, error = "", "the arguments are missing"
        checked = self._checked(call) if error is None else None
        if checked is not None:
            tail = checked.arguments if call.held else tail
            if checked.error is not None:
                self._report(call.index, checked.error, None)
            if checked.repaired:
                self.repaired[call.id] = list(checked.repaired)
        if tail:
            out.append(ToolCallDelta(call.index, None, None, tail))
        if error is not None:
            self._report(call.index, error, reason)

    def _checked(self, call: _Call) -> CheckedArguments | None:
        """The verdict of the tool's schema; `None` if the tool is not declared, or calls are not validated."""
        schema = self._tools.schemas.get(call.name) if self._validation != "off" else None
        if schema is None:
            return None
        text = call.arguments.text
        if self._validation == "reask" and not can_validate():
            return CheckedArguments(text, check_plainly(schema, text))
        return check_arguments(schema, text, repair=call.held)

    def flush(self) -> list[ToolCallDelta]:
        """After a break: judge the calls that are whole, and return held arguments unless they are invalid."""
        out: list[ToolCallDelta] = []
        for call in self._calls:
            if not call.arguments.is_object:
                continue
            checked = self._checked(call) if call.arguments.complete else None
            if checked is not None and checked.error is not None:
                self._report(call.index, checked.error, None)
            elif call.held:
                text = call.arguments.text if checked is None else checked.arguments
                out.append(ToolCallDelta(call.index, None, None, text))
        return out

    def _start_nameless(self, call: _Call, out: list[ToolCallDelta]) -> None:
        arguments = call.arguments.text
        if call.doubtful or not (arguments or call.server_id):
            return
        name = self._tools.resolve(call.server_id, arguments)
        call.name = name or ""
        self._start(call, out)
        if not name:
            self._report(call.index, "the call names no tool", None)

    def _add_leaked(
        self,
        leak: LeakedCall,
        name: str | None,
        normal: str | None,
        reason: FinishReason | None,
        out: list[ToolCallDelta],
    ) -> None:
        native = leak.id.startswith("functions.") and NUMBERED.match(leak.id)
        call = _Call(None, leak.id if native else "")
        call.name = name or DeclaredTools().resolve(leak.id, "") or ""
        call.arguments.feed(leak.arguments if normal is None else normal)
        if not leak.arguments.strip():
            call.arguments = (
                ArgumentStream()
            )  # `{}` stands for missing arguments, which may have been cut off
        self._start(call, out)
        if name is None:
            self._report(call.index, "the call names no declared tool", None)
        self._judge(call, reason, out)

    def _report(self, index: int, error: str, reason: FinishReason | None) -> None:
        if reason == "length":
            error = f"cut off by the token limit: {error}"
        elif reason == "content_filter":
            error = f"cut off by the content filter: {error}"
        self._errors.setdefault(index, error)


def _identity(value: Any) -> str:
    if isinstance(value, str):
        return without_surrogates(value)
    return str(value) if type(value) is int else ""


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if type(value) is int else None


def _opens_object(pieces: Any) -> bool:
    return isinstance(pieces, dict) or (isinstance(pieces, str) and pieces.lstrip().startswith("{"))


def _begins_one_of(arguments: str, name: str | None, calls: Sequence[tuple[str, str]]) -> bool:
    """Whether unreadable arguments are the beginning of a structured call's."""
    begun = arguments.strip()
    return any((name is None or name == known) and text.startswith(begun) for known, text in calls)


def _canonical(arguments: Any) -> str:
    """Arguments in a form in which they can be compared."""
    try:
        value = load_json(arguments, strict=False) if isinstance(arguments, str) else arguments
        return json.dumps(value, sort_keys=True)
    except (ValueError, RecursionError):
        return str(arguments).strip()
