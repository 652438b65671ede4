"""The core's events as LangChain's streaming protocol v3 (content-block events).

A block of thinking or text is finished the moment another kind begins; tool calls stay open until the turn
ends, because only its end tells which of them may be executed.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from kimi_vertex import (
    Completion,
    Event,
    Finish,
    InvalidToolCall,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
)
from langchain_kimi_vertex._chunks import (
    arguments_of,
    finish_fields,
    finish_metadata,
    is_for_its_tool,
    message_extras,
    usage_metadata,
)
from langchain_kimi_vertex._keys import PROVIDER

if TYPE_CHECKING:
    from langchain_protocol.protocol import MessagesData

__all__ = ["ProtocolEvents"]


class ProtocolEvents:
    """Turns the events of one turn into protocol events."""

    __slots__ = ("_calls", "_invalid", "_next", "_open", "_requested_model", "_started", "_text")

    def __init__(self, requested_model: str | None) -> None:
        self._requested_model = requested_model
        self._started = False
        self._next = 0
        self._open: tuple[int, str] | None = None
        """Index and kind of the block of thinking or text that is being written."""
        self._text: list[str] = []
        self._calls: list[int] = []
        """The blocks' indices of the calls, by the calls' positions."""
        self._invalid: Container[int] = ()

    def add(self, event: Event) -> Sequence[MessagesData]:
        """The protocol events for a delta; usage and the end are for `finish`."""
        out = self._begin()
        if isinstance(event, ThinkingDelta):
            if event.text:
                self._write("reasoning", event.text, out)
        elif isinstance(event, TextDelta):
            self._write("text", event.text, out)
        elif isinstance(event, ToolCallDelta):
            self._call(event, out)
        elif isinstance(event, Finish):
            self._invalid = event.invalid_calls
            self._close(out)
        return _typed(out)

    def finish(self, completion: Completion) -> Sequence[MessagesData]:
        """The ends of the calls and of the message."""
        out: list[dict[str, Any]] = []
        good: Iterator[ToolCall | InvalidToolCall] = iter(completion.tool_calls)
        bad: Iterator[ToolCall | InvalidToolCall] = iter(completion.invalid_tool_calls)
        for position, index in enumerate(self._calls):
            call = next(bad if position in self._invalid else good)
            block = {"id": call.id, "name": call.name}
            if isinstance(call, InvalidToolCall) and not is_for_its_tool(call, completion):
                invalid = {"type": "invalid_tool_call", "args": call.arguments, "error": call.error}
                out.append(_finish(index, {**invalid, **block}))
            else:
                out.append(_finish(index, {"type": "tool_call", **block, "args": arguments_of(call)}))
        if completion.refusal or completion.finish_reason == "content_filter":
            index = self._index()
            out.append(_start(index, {"type": "refusal", "refusal": ""}))
            out.append(_finish(index, {"type": "refusal", "refusal": completion.refusal or ""}))
        message: dict[str, Any] = {
            "event": "message-finish",
            **finish_fields(completion),
            "metadata": finish_metadata(completion, self._requested_model),
        }
        usage, extras = usage_metadata(completion.usage), message_extras(completion)
        if usage is not None:
            message["usage"] = usage
        if extras:
            message["additional_kwargs"] = extras
        return _typed([*out, message])

    def _begin(self) -> list[dict[str, Any]]:
        """The events that come before an event of the core: the first one, before the first."""
        if self._started:
            return []
        self._started = True
        metadata = {"provider": PROVIDER}
        if self._requested_model:
            metadata["model"] = self._requested_model
        # An empty id leaves the run's id in place.
        return [{"event": "message-start", "role": "ai", "id": "", "metadata": metadata}]

    def _index(self) -> int:
        index = self._next
        self._next += 1
        return index

    def _write(self, kind: str, text: str, out: list[dict[str, Any]]) -> None:
        if self._open is None or self._open[1] != kind:
            self._close(out)
            self._open = self._index(), kind
            out.append(_start(self._open[0], {"type": kind, kind: ""}))
        self._text.append(text)
        out.append(_delta(self._open[0], {"type": f"{kind}-delta", kind: text}))

    def _close(self, out: list[dict[str, Any]]) -> None:
        if self._open is not None:
            index, kind = self._open
            out.append(_finish(index, {"type": kind, kind: "".join(self._text)}))
            self._open = None
            self._text = []

    def _call(self, delta: ToolCallDelta, out: list[dict[str, Any]]) -> None:
        self._close(out)
        if delta.index == len(self._calls):
            index = self._index()
            self._calls.append(index)
            named = {"id": delta.id, "name": delta.name, "args": "", "index": delta.index}
            out.append(_start(index, {"type": "tool_call_chunk", **named}))
        if delta.arguments:
            piece = {"type": "tool-call-delta", "args": delta.arguments}
            out.append(_delta(self._calls[delta.index], piece))


def _start(index: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-start", "index": index, "content": content}


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-delta", "index": index, "delta": delta}


def _finish(index: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-finish", "index": index, "content": content}


def _typed(events: list[dict[str, Any]]) -> Sequence[MessagesData]:
    return cast("list[MessagesData]", events)
