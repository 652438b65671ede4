"""Joins the pieces in which a server sends the tool calls of one turn, and names and numbers the calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kimi_vertex._json import canonical
from kimi_vertex._surrogates import without_surrogates
from kimi_vertex._tools import NUMBERED, DeclaredTools, History
from kimi_vertex.events import FinishReason, ToolCallDelta
from kimi_vertex.options import ToolValidation

from .arguments import ArgumentStream
from .calls import Call, Twins
from .leaked_calls import LeakedCall
from .left_arguments import LeftArguments
from .markers import Markers
from .validation import CheckedArguments, can_validate, check_arguments, check_plainly

__all__ = ["ToolCallAssembler"]


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
        self._numbers: dict[str, int] = {}
        """The first number that may be free for a name: those before it are taken."""
        self._prefix = history.prefix
        self._seen: list[Call] = []
        self._calls: list[Call] = []  # those that the caller knows, in order
        self._by_index: dict[int, Call] = {}
        self._by_id: dict[str, Call] = {}
        self._last: Call | None = None
        self._errors: dict[int, str] = {}
        self.mends = False
        """Whether there may be signs in the arguments, which are taken out."""
        self.repaired: dict[str, list[str]] = {}
        """The places in the arguments that were repaired, by the call's id."""
        self.unfit: set[int] = set()
        """The invalid calls that are whole, and only do not fit their tool's schema, by index."""

    def _arguments(self) -> ArgumentStream:
        return ArgumentStream(mends=self.mends)

    @property
    def any(self) -> bool:
        """Whether the turn holds a call, valid or not."""
        return bool(self._calls)

    @property
    def begun(self) -> bool:
        """Whether a fragment of a call has come."""
        return bool(self._seen)

    def left_behind(self, markers: Markers, *, together: bool = False) -> LeftArguments | None:
        """What reads the content behind the last call, where its arguments may have been left.

        Args:
            markers: The model's special tokens.
            together: Whether the content came with the calls, so that the arguments may be those of another one.
        """
        call = self._last
        if call is None or call.twin is not None or not (call.started or call.server_id):
            return None
        lacking = [one for one in self._seen if one.arguments.empty and self._needs(one)]
        if together and any(one is not call for one in lacking):
            return None
        return LeftArguments(markers, call.arguments, needed=bool(self._needs(call)))

    def _needs(self, call: Call) -> list[str]:
        return self._tools.required(call.name or self._name(call))

    def add_left(self, arguments: str) -> list[ToolCallDelta]:
        """Take arguments of the last call that stood in the content."""
        call = self._last
        if call is None or not arguments.strip():
            return []
        if call.arguments.empty and not arguments.lstrip().startswith("{"):
            call.arguments = self._arguments()  # an empty object only stood for them
        passed = call.arguments.feed(arguments)
        shown = passed and call.started and not call.held
        return [ToolCallDelta(call.index, None, None, passed)] if shown else []

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
        name = without_surrogates(name.strip()) if name and isinstance(name, str) else ""
        identity, index = fragment.get("id"), fragment.get("index")
        identity = "" if identity is None else _identity(identity)
        index = index if type(index) is int else _index(index)
        call = self._new(identity, index) if whole else self._find(identity, index, name, pieces)
        if call is None:
            return
        call.written = call.written or name
        if pieces and not whole:
            call.pieces += 1
        passed = call.arguments.feed(pieces)
        if call.twin is not None and call.differs_from(call.twin):
            call.twin = None
        if call.started:
            if passed and not call.held:
                out.append(ToolCallDelta(call.index, None, None, passed))
        elif call.written and call.twin is None and (call.arguments.is_object or not call.doubtful):
            self._start(call, out)

    def _name(self, call: Call) -> str:
        """The tool that a call names: the one in its native id, of which servers cut off namespaces, or the name's."""
        written, named = call.written, self._tools.named_by(call.server_id)
        if named is not None and (written in named or written not in self._tools.schemas):
            return named
        if written in self._tools.schemas or not self._tools.schemas:
            return written
        return self._tools.resolve(written, "") or written

    def _find(self, identity: str, index: int | None, name: str, pieces: Any) -> Call | None:
        """The call that a fragment belongs to; `None` for the repetition of a complete one.

        A known id decides first, because the index may change inside a call (Gemini's compatibility layer); then a
        new id, because all indices may be 0; then the index; then the last call. Another name means another call, and
        so does a name with an object behind a complete call. An object alone follows the first one in its arguments.
        """
        call = self._by_index.get(index) if index is not None else self._last
        if identity and (call is None or call.server_id != identity):
            call = self._by_id.get(identity) or self._adopt(identity, index, name)
        if call is None or (name and call.written and name != call.written):
            return self._new(identity, index)
        if name and identity and index != call.key and self._tools.is_native(identity):
            return self._new(identity, index)  # not a fragment of that call, but its twin
        self._last = call
        if not call.arguments.complete:
            return call
        same_place = bool(identity) and index == call.key
        if _opens_object(pieces):
            given = call.arguments.text
            if name and same_place and (pieces == given or canonical(pieces) == canonical(given)):
                return None
            return self._new(identity, index) if name or identity not in ("", call.server_id) else call
        return self._new(identity, index, doubtful=True) if name and not same_place else call

    def _adopt(self, identity: str, index: int | None, name: str) -> Call | None:
        """The call at `index`, if a new id can only mean that one: it has no id yet, or is still being written."""
        call = self._by_index.get(index) if index is not None else None
        if call is None or (call.server_id and (name or call.arguments.complete)):
            return None
        call.server_id = call.server_id or identity
        self._by_id[identity] = call
        return call

    def _new(self, identity: str, index: int | None, *, doubtful: bool = False) -> Call:
        twin = self._by_id.get(identity) if self._tools.is_native(identity) else None
        twin = twin and (twin.twin or twin)
        call = Call(index, identity, self._arguments(), doubtful=doubtful, twin=twin)
        if identity:
            self._by_id[identity] = call
        if index is not None:
            self._by_index[index] = call
        self._seen.append(call)
        self._last = call
        return call

    def _start(self, call: Call, out: list[ToolCallDelta]) -> None:
        call.name = call.name or self._name(call)
        call.index = self._first + len(self._calls)
        call.started = True
        call.id = self._unique_id(call.server_id, call.name, "" if call.bare else self._prefix)
        self._calls.append(call)
        call.held = self._validation == "repair" and call.name in self._tools.schemas
        passed = "" if call.held else call.arguments.passed
        out.append(ToolCallDelta(call.index, call.id, call.name, passed))

    def _unique_id(self, identity: str, name: str, prefix: str) -> str:
        """The server's id if the conversation does not have it yet; else the next native one."""
        number = max(self._next_number + len(self._calls), self._numbers.get(name, 0))
        chosen = identity
        while not chosen or chosen in self._taken:
            chosen = f"{prefix}{name or 'unknown'}:{number}"
            number += 1
            self._numbers[name] = number
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
            if not call.started and call.twin is None:
                self._start_nameless(call, out)
        for call in self._seen:
            self._close(call, reason)
        if reason == "length" and self._seen and not self._prefix and self._seen[-1].pieces > 1:
            # vLLM's Rust front end, which alone sends K3's arguments in pieces, closes what the limit has cut.
            last = self._seen[-1]
            last.error = last.error or "the server may have closed it"
        more = [call for call in self._seen if call.twin is not None and not call.twin.absorbs(call)]
        known = Twins(self._calls, [leak.id for leak in leaked], self._tools)
        for leak in leaked:
            call = self._leaked_call(leak)
            self._close(call, reason)
            if (call.written or leak.arguments or leak.error) and not known.hold(call):
                more.append(call)
        for call in self._calls:
            self._judge(call, reason, out)
        for call in more:
            call.tail = call.arguments.text[len(call.arguments.passed) :]
            self._start(call, out)
            self._judge(call, reason, out)
        return out

    def _close(self, call: Call, reason: FinishReason | None) -> None:
        """End a call's arguments. Nothing at all is never taken for the arguments of a tool that needs some."""
        arguments = call.arguments
        call.given = arguments.passed if call.started and not call.held else ""
        call.tail, error = arguments.finish()
        if error is None and arguments.empty:
            needed = self._needs(call)
            if self._breaks_off(call):
                error = "the call breaks off in its name"
            elif not arguments.raw and (needed or reason in ("length", "content_filter")):
                error = "the arguments are missing"
            elif needed:
                call.unfit = reason not in ("length", "content_filter")
                error = f"the arguments lack {', '.join(map(repr, needed))}"
            if error is not None and not arguments.raw:
                call.arguments, call.tail = self._arguments(), ""
        call.error = call.error or error

    def _breaks_off(self, call: Call) -> bool:
        """Whether a call without arguments may be one that was cut in its name or before its number."""
        tools, name = self._tools, call.written
        if name.startswith("functions.") and not NUMBERED.match(name):
            return not tools.is_native(call.server_id)
        return name not in tools.schemas and tools.breaks_off(name)

    def _judge(self, call: Call, reason: FinishReason | None, out: list[ToolCallDelta]) -> None:
        tail = call.arguments.text if call.held else call.tail
        checked = self._checked(call) if call.error is None else None
        if checked is not None:
            tail = checked.arguments if call.held else tail
            if checked.error is not None:
                call.unfit = True
                self._report(call.index, checked.error, None)
            if checked.repaired:
                self.repaired[call.id] = list(checked.repaired)
        if tail:
            out.append(ToolCallDelta(call.index, None, None, tail))
        if call.error is not None:
            self._report(call.index, call.error, reason)
        if call.unfit:
            self.unfit.add(call.index)

    def _checked(self, call: Call) -> CheckedArguments | None:
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
            arguments = call.arguments
            if not arguments.is_object or (arguments.empty and self._tools.required(call.name)):
                continue
            checked = self._checked(call) if arguments.complete else None
            text = arguments.text if call.held else arguments.text[len(arguments.passed) :]
            if checked is not None and checked.error is not None:
                self._report(call.index, checked.error, None)
            elif text:
                text = checked.arguments if call.held and checked is not None else text
                out.append(ToolCallDelta(call.index, None, None, text))
        return out

    def _start_nameless(self, call: Call, out: list[ToolCallDelta]) -> None:
        arguments = call.arguments.text
        if call.doubtful or not (arguments or call.server_id):
            return
        name = self._tools.resolve(call.server_id, arguments)
        call.name = name or ""
        self._start(call, out)
        if not name:
            self._report(call.index, "the call names no tool", None)

    def _leaked_call(self, leak: LeakedCall) -> Call:
        tools, written = self._tools, leak.id
        call = Call(None, "", self._arguments(), written=written, bare=leak.named)
        if leak.named:
            name = None if tools.schemas and written not in tools.schemas else written
            call.name = written
        else:
            name = tools.resolve(written, leak.arguments)
            call.name = name or DeclaredTools().resolve(written, "") or ""
            if tools.is_native(written):
                call.server_id = written if written.startswith("functions.") else f"{self._prefix}{written}"
        call.arguments.feed(leak.arguments)
        call.error = leak.error or ("the call names no declared tool" if name is None else None)
        return call

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
