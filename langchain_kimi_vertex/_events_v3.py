"""The core's events as LangChain's streaming protocol v3 (content-block events).

A block of thinking or text is finished the moment another kind begins; tool calls stay open until the turn
ends, because only its end tells which of them may be executed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from kimi_vertex import Event, Finish, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from langchain_kimi_vertex._chunks import finish_metadata, usage_metadata
from langchain_kimi_vertex._keys import PROVIDER, THINKING_KEY

if TYPE_CHECKING:
    from langchain_protocol.protocol import MessagesData

__all__ = ["ProtocolEvents"]


class _Block:
    __slots__ = ("index", "kind", "parts")

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        self.index = index
        self.parts: list[str] = []


class _Call(_Block):
    __slots__ = ("id", "name")

    def __init__(self, index: int, delta: ToolCallDelta) -> None:
        super().__init__("tool_call_chunk", index)
        self.id = delta.id
        self.name = delta.name


class ProtocolEvents:
    """Turns the events of one turn into protocol events; `message_finish` gives the last one."""

    __slots__ = ("_calls", "_finish", "_next", "_open", "_requested_model", "_started", "_thinking", "_usage")

    def __init__(self, requested_model: str | None) -> None:
        self._requested_model = requested_model
        self._started = False
        self._next = 0
        self._open: _Block | None = None
        self._calls: list[_Call] = []
        self._thinking: list[str] | None = None
        self._usage: Usage | None = None
        self._finish: Finish | None = None

    def add(self, event: Event) -> list[MessagesData]:
        """The protocol events for one event of the core, in order."""
        out: list[dict[str, Any]] = []
        if not self._started:
            self._started = True
            out.append(self._message_start())
        if isinstance(event, ThinkingDelta):
            if self._thinking is None:
                self._thinking = []
            self._thinking.append(event.text)
            if event.text:
                self._write("reasoning", event.text, out)
        elif isinstance(event, TextDelta):
            self._write("text", event.text, out)
        elif isinstance(event, ToolCallDelta):
            self._call(event, out)
        elif isinstance(event, Usage):
            self._usage = event
        else:
            self._end(event, out)
        return cast("list[MessagesData]", out)

    def _message_start(self) -> dict[str, Any]:
        metadata = {"provider": PROVIDER}
        if self._requested_model:
            metadata["model"] = self._requested_model
        # An empty id leaves the run's id in place.
        return {"event": "message-start", "role": "ai", "id": "", "metadata": metadata}

    def _index(self) -> int:
        index = self._next
        self._next += 1
        return index

    def _write(self, kind: str, text: str, out: list[dict[str, Any]]) -> None:
        block = self._open
        if block is None or block.kind != kind:
            self._close(out)
            block = self._open = _Block(kind, self._index())
            out.append(_start(block.index, {"type": kind, kind: ""}))
        block.parts.append(text)
        out.append(_delta(block.index, {"type": f"{kind}-delta", kind: text}))

    def _close(self, out: list[dict[str, Any]]) -> None:
        block, self._open = self._open, None
        if block is not None:
            out.append(_finish(block.index, {"type": block.kind, block.kind: "".join(block.parts)}))

    def _call(self, event: ToolCallDelta, out: list[dict[str, Any]]) -> None:
        self._close(out)
        if event.index == len(self._calls):
            call = _Call(self._index(), event)
            self._calls.append(call)
            start = {"type": call.kind, "id": call.id, "name": call.name, "args": "", "index": event.index}
            out.append(_start(call.index, start))
        call = self._calls[event.index]
        if event.arguments:
            call.parts.append(event.arguments)
            out.append(_delta(call.index, {"type": "tool-call-delta", "args": event.arguments}))

    def _end(self, finish: Finish, out: list[dict[str, Any]]) -> None:
        self._close(out)
        for position, call in enumerate(self._calls):
            out.append(_finish(call.index, _finished_call(call, finish.invalid_calls.get(position))))
        if finish.refusal or finish.reason == "content_filter":
            index = self._index()
            block = {"type": "refusal", "refusal": finish.refusal or ""}
            out += (_start(index, {**block, "refusal": ""}), _finish(index, block))
        self._finish = finish

    def message_finish(self) -> MessagesData:
        """The last event, once all of the core's events were added."""
        finish = self._finish
        assert finish is not None, "a stream of the core ends with Finish or an error"
        message: dict[str, Any] = {
            "event": "message-finish",
            "metadata": finish_metadata(finish, self._requested_model, [call.id for call in self._calls]),
        }
        usage = usage_metadata(self._usage)
        if usage is not None:
            message["usage"] = usage
        extra: dict[str, Any] = {}
        if self._thinking is not None:
            extra[THINKING_KEY] = "".join(self._thinking)
        if finish.refusal:
            extra["refusal"] = finish.refusal
        if extra:
            message["additional_kwargs"] = extra
        return cast("MessagesData", message)


def _finished_call(call: _Call, error: str | None) -> dict[str, Any]:
    arguments = "".join(call.parts)
    named = {"id": call.id, "name": call.name}
    if error is not None:
        return {"type": "invalid_tool_call", **named, "args": arguments, "error": error}
    return {"type": "tool_call", **named, "args": json.loads(arguments or "{}", strict=False)}


def _start(index: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-start", "index": index, "content": content}


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-delta", "index": index, "delta": delta}


def _finish(index: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"event": "content-block-finish", "index": index, "content": content}
