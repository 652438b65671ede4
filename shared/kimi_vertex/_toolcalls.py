"""Puts the tool calls of one turn together from whatever pieces a server sends, and names and numbers them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ._arguments import ArgumentStream, normalise_arguments
from ._leaks import LeakedCall
from .events import FinishReason, InvalidCall, ToolCallDelta

__all__ = ["DeclaredTools", "History", "ToolCallAssembler"]

_NUMBERED: Final = re.compile(r"^(?:functions\.)?(?P<name>.*?)[:.](?P<number>\d+)$", re.DOTALL)
_FOREIGN: Final = re.compile(r"^(?:functions\.)?(?:\d+$|call_|call\d|chatcmpl-|toolu_)")


@dataclass(frozen=True, slots=True)
class History:
    """What earlier turns of the conversation have used up."""

    ids: frozenset[str] = frozenset()
    """The ids of all earlier calls, as the caller knows them."""
    calls: int = 0
    """How many calls there were; Kimi counts on from here."""


@dataclass(frozen=True, slots=True)
class DeclaredTools:
    """The tools of the request: names, and the parameters' JSON schemas."""

    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, tools: Sequence[Mapping[str, Any]] | None) -> DeclaredTools:
        """Read the tools in OpenAI's form."""
        schemas: dict[str, Mapping[str, Any]] = {}
        for tool in tools or ():
            function = tool.get("function")
            if isinstance(function, Mapping) and isinstance(function.get("name"), str):
                parameters = function.get("parameters")
                schemas[function["name"]] = parameters if isinstance(parameters, Mapping) else {}
        return cls(schemas)

    @property
    def names(self) -> frozenset[str]:
        """The tools' names."""
        return frozenset(self.schemas)

    def resolve(self, written: str, arguments: str) -> str | None:
        """Which tool a leaked call means.

        Args:
            written: What stood in the id's place: `functions.NAME:N`, `NAME:N`, `NAMESPACE.NAME:N`, `NAME`, or an
                id that the model copied from elsewhere.
            arguments: The call's arguments; they decide when the id names no tool.

        Returns:
            The name, or `None` if it cannot be told.
        """
        match = _NUMBERED.match(written)
        name = match["name"] if match else written
        short = name.removeprefix("functions.")
        candidates = (written, name, short, short.rpartition(".")[2])
        for candidate in candidates:
            if candidate in self.schemas:
                return candidate
        if not self.schemas:
            return short or None
        return self._by_arguments(arguments) if not short or _FOREIGN.match(written) else None

    def _by_arguments(self, arguments: str) -> str | None:
        try:
            given = json.loads(arguments, strict=False)
        except ValueError:
            return None
        if not isinstance(given, dict):
            return None
        fitting = [
            name
            for name, schema in self.schemas.items()
            if set(schema.get("required") or ()) <= set(given) <= set(schema.get("properties") or ())
        ]
        return fitting[0] if len(fitting) == 1 else None


class _Call:
    __slots__ = ("arguments", "id", "index", "key", "name", "server_id", "started")

    def __init__(self, key: object, server_id: str) -> None:
        self.key = key
        self.server_id = server_id
        self.id = ""
        self.name = ""
        self.index = -1
        self.started = False
        self.arguments = ArgumentStream()


class ToolCallAssembler:
    """Turns a server's fragments into `ToolCallDelta`s: dense indices, one id and name for each call."""

    def __init__(self, tools: DeclaredTools, history: History) -> None:
        self._tools = tools
        self._taken = set(history.ids)
        self._next_number = history.calls
        self._calls: list[_Call] = []
        self._waiting: list[_Call] = []  # seen, but without a name yet
        self._by_index: dict[object, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last: _Call | None = None
        self.errors: list[InvalidCall] = []

    @property
    def any(self) -> bool:
        """Whether the turn holds a call, valid or not."""
        return bool(self._calls)

    def feed(self, fragments: Any) -> list[ToolCallDelta]:
        """Take the `tool_calls` of one streamed delta."""
        out: list[ToolCallDelta] = []
        for fragment in fragments if isinstance(fragments, list) else [fragments]:
            if isinstance(fragment, dict):
                self._fragment(fragment, out, whole=False)
        return out

    def feed_whole(self, calls: Any) -> list[ToolCallDelta]:
        """Take the `tool_calls` of a whole message, where each entry is a call whatever its id and index."""
        out: list[ToolCallDelta] = []
        for entry in calls if isinstance(calls, list) else [calls]:
            if isinstance(entry, dict):
                self._fragment(entry, out, whole=True)
        return out

    def _fragment(self, fragment: dict[str, Any], out: list[ToolCallDelta], *, whole: bool) -> None:
        function = fragment.get("function")
        if not isinstance(function, dict):
            function = {}
        name = function.get("name")
        name = name if isinstance(name, str) else ""
        pieces = function.get("arguments", fragment.get("arguments"))
        identity = fragment.get("id")
        identity = identity if isinstance(identity, str) else ("" if identity is None else str(identity))
        call = self._find(identity, fragment.get("index"), name, pieces, whole=whole)
        if call is None:
            return
        if not call.name and name:
            call.name = self._clean_name(name)
        passed = call.arguments.feed(pieces)
        if not call.started and call.name:
            self._start(call, out)
        elif passed and call.started:
            out.append(ToolCallDelta(call.index, None, None, passed))

    def _clean_name(self, name: str) -> str:
        """Undo the one damage to names that is certain: the native id in the name's place."""
        name = name.strip()
        if name in self._tools.schemas or not self._tools.schemas:
            return name
        return self._tools.resolve(name, "") or name

    def _find(self, identity: str, index: Any, name: str, pieces: Any, *, whole: bool) -> _Call | None:
        """The call that a fragment belongs to; `None` for the repetition of a complete one.

        A known id decides, because an index may flip inside one call (Gemini's compatibility layer); then a new
        id, because all indices may be 0; then the index; then the last call. A complete call is never continued:
        a fragment that opens an object after it is the next call.
        """
        if whole:
            return self._new(identity, index)
        if identity:
            call = self._by_id.get(identity) or self._adopt(identity, index, name)
        elif index is not None:
            call = self._by_index.get(index)
        else:
            call = self._last
            if call is not None and name and call.name and name != call.name:
                call = None
        if call is None:
            return self._new(identity, index)
        self._last = call
        if call.arguments.complete and _opens_object(pieces):
            if (
                identity
                and index == call.key
                and _canonical_pieces(pieces) == _canonical(call.arguments.text)
            ):
                return None
            return self._new(identity, index)
        return call

    def _adopt(self, identity: str, index: Any, name: str) -> _Call | None:
        """The call at `index`, if a new id can only mean that one: it had none, or it is still being written."""
        call = self._by_index.get(index) if index is not None else None
        if call is None or (call.server_id and (name or call.arguments.complete)):
            return None
        call.server_id = call.server_id or identity
        self._by_id[identity] = call
        return call

    def _new(self, identity: str, index: Any) -> _Call:
        call = _Call(index, identity)
        if identity:
            self._by_id[identity] = call
        if isinstance(index, int | str):
            self._by_index[index] = call
        self._waiting.append(call)
        self._last = call
        return call

    def _start(self, call: _Call, out: list[ToolCallDelta]) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
        call.index = len(self._calls)
        call.started = True
        call.id = self._unique_id(call.server_id, call.name)
        self._calls.append(call)
        out.append(ToolCallDelta(call.index, call.id, call.name, call.arguments.passed))

    def _unique_id(self, identity: str, name: str) -> str:
        """The server's id if it is new to the conversation; else the next native one."""
        number = self._next_number + len(self._calls)
        chosen = identity
        if not chosen or chosen in self._taken:
            chosen = f"functions.{name}:{number}"
            while chosen in self._taken:
                number += 1
                chosen = f"functions.{name}:{number}"
        self._taken.add(chosen)
        return chosen

    def finish(self, leaked: Sequence[LeakedCall], reason: FinishReason | None) -> list[ToolCallDelta]:
        """The turn is over: judge every call, and add the leaked ones that have no structured twin.

        Args:
            leaked: Calls found in thinking and text, in order.
            reason: Why the turn ended, `length` or `content_filter` make an unfinished call a cut-off one.

        Returns:
            The deltas that are still owed. `errors` names the calls that must not be executed.
        """
        out: list[ToolCallDelta] = []
        for call in list(self._waiting):
            self._start_nameless(call, out)
        cut = reason in ("length", "content_filter")
        structured: list[tuple[str, str]] = []
        for call in self._calls:
            tail, error = call.arguments.finish()
            if cut and error is None and not call.arguments.raw:
                tail, error = "", "the arguments are missing"
            if tail:
                out.append(ToolCallDelta(call.index, None, None, tail))
            if error is not None:
                self._report(call.index, error, reason)
            structured.append((call.name, _canonical(call.arguments.text)))
        for leak in leaked:
            self._add_leaked(leak, structured, reason, out)
        return out

    def _start_nameless(self, call: _Call, out: list[ToolCallDelta]) -> None:
        arguments = call.arguments.text
        if not arguments and not call.server_id:
            return
        name = self._tools.resolve(call.server_id, arguments)
        call.name = name or ""
        self._start(call, out)
        if not name:
            self._report(call.index, "the call names no tool", None)

    def _add_leaked(
        self,
        leak: LeakedCall,
        structured: list[tuple[str, str]],
        reason: FinishReason | None,
        out: list[ToolCallDelta],
    ) -> None:
        name = self._tools.resolve(leak.id, leak.arguments)
        normal = normalise_arguments(leak.arguments)
        twin = (name or "", _canonical(normal if normal is not None else leak.arguments))
        if twin in structured:
            structured.remove(twin)
            return
        if not leak.id and not leak.arguments:
            return
        native = name is not None and re.fullmatch(rf"functions\.{re.escape(name)}:\d+", leak.id)
        call = _Call(None, leak.id if native else "")
        call.name = name or leak.id
        call.arguments.feed(leak.arguments if normal is None else normal)
        self._start(call, out)
        tail, error = call.arguments.finish()
        if tail:
            out.append(ToolCallDelta(call.index, None, None, tail))
        if name is None:
            self._report(call.index, "the call names no declared tool", None)
        elif error is not None or (reason in ("length", "content_filter") and not leak.arguments):
            self._report(call.index, error or "the arguments are missing", reason)

    def _report(self, index: int, error: str, reason: FinishReason | None) -> None:
        if reason == "length":
            error = f"cut off by the token limit: {error}"
        elif reason == "content_filter":
            error = f"cut off by the content filter: {error}"
        if all(known.index != index for known in self.errors):
            self.errors.append(InvalidCall(index, error))


def _opens_object(pieces: Any) -> bool:
    return isinstance(pieces, dict) or (isinstance(pieces, str) and pieces.lstrip().startswith("{"))


def _canonical_pieces(pieces: Any) -> str:
    return _canonical(pieces if isinstance(pieces, str) else json.dumps(pieces))


def _canonical(arguments: str) -> str:
    """Arguments in a form that can be compared."""
    try:
        return json.dumps(json.loads(arguments, strict=False), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments.strip()
