"""The finished answer, and the one place where events are joined into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._json import is_object
from .events import (
    EmptyTurn,
    Event,
    Finish,
    FinishReason,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from .messages import Message, ToolCall

__all__ = ["Accumulator", "Completion", "InvalidToolCall", "accumulate"]


@dataclass(frozen=True, slots=True)
class InvalidToolCall:
    """A tool call that arrived damaged or cut off. Never execute it."""

    id: str
    name: str
    arguments: str
    """The raw text, as far as it arrived."""
    error: str
    replaced: bool = False
    """Whether the model was asked to make the call again, so that later calls stand in its place."""
    unfit: bool = False
    """Whether the call is whole, and only does not fit its tool's schema."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One turn of the model, whole; or, inside an error, as much of it as arrived."""

    thinking: str | None = None
    """`None`: the server sent no thinking at all. `""`: it said that the model did not think."""
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls that may be executed: each has arguments that are one complete JSON object."""
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    """`None` only in the partial answer of an error, or of a stream that has not ended."""
    usage: Usage | None = None
    model: str | None = None
    response_id: str | None = None
    empty: EmptyTurn | None = None
    refusal: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_message(self) -> Message:
        """The assistant message to append to the history, thinking included, replaced calls left out."""
        damaged = tuple(
            ToolCall(c.id, c.name, c.arguments) for c in self.invalid_tool_calls if not c.replaced
        )
        return Message(
            role="assistant",
            content=self.text,
            thinking=self.thinking,
            tool_calls=self.tool_calls + damaged,
        )

    def _repr_markdown_(self) -> str:
        """How a notebook shows it: the thinking folded, then the answer and the calls."""
        thought = (self.thinking or "").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        fold = f"<details><summary>thinking</summary>\n\n{thought}\n\n</details>" if thought else ""
        calls = [f"`{call.name} {call.arguments}`" for call in self.tool_calls]
        return "\n\n".join(part for part in (fold, self.text, *calls) if part)


class _Call:
    __slots__ = ("arguments", "id", "name")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.arguments: list[str] = []


class Accumulator:
    """Joins events into a `Completion`, in linear time: pieces are collected and joined once."""

    __slots__ = ("_calls", "_finish", "_invalid", "_replaced", "_text", "_thinking", "_usage")

    def __init__(self) -> None:
        self._thinking: list[str] | None = None
        self._text: list[str] = []
        self._calls: list[_Call] = []
        self._invalid: Mapping[int, str] = {}  # known before `Finish` says so
        self._replaced = 0
        self._usage: Usage | None = None
        self._finish: Finish | None = None

    def add(self, event: Event) -> None:
        """Take the next event of the turn."""
        kind = type(event)
        if kind is ThinkingDelta:
            if self._thinking is None:
                self._thinking = []
            self._thinking.append(event.text)  # type: ignore[union-attr]
        elif kind is TextDelta:
            self._text.append(event.text)  # type: ignore[union-attr]
        elif isinstance(event, ToolCallDelta):
            if event.index == len(self._calls):
                self._calls.append(_Call(event.id or "", event.name or ""))
            if event.arguments:
                self._calls[event.index].arguments.append(event.arguments)
        elif isinstance(event, Usage):
            self._usage = event
        elif isinstance(event, Finish):
            self._finish = event

    def invalidate(self, calls: Mapping[int, str]) -> None:
        """Mark calls that must not be executed, by their index and with the reason, although no `Finish` may come to say so."""
        self._invalid = {**self._invalid, **calls}

    def continued(self, invalid: Mapping[int, str]) -> Accumulator:
        """Begin an answer that follows this one in the same stream, with the calls so far as invalid ones."""
        following = Accumulator()
        following._thinking = None if self._thinking is None else list(self._thinking)
        following._text = list(self._text)
        following._calls = list(self._calls)
        following._replaced = len(self._calls)
        following.invalidate(invalid)
        following._usage = self._usage
        return following

    @property
    def invalid_calls(self) -> Mapping[int, str]:
        """The calls that must not be executed, by index, and why; whole after `Finish`."""
        return self._finish.invalid_calls if self._finish else self._invalid

    @property
    def last(self) -> list[tuple[type[Event], str]]:
        """The last pieces of text and thinking, as far as there are some."""
        pieces = ((TextDelta, self._text), (ThinkingDelta, self._thinking or []))
        return [(kind, texts[-1]) for kind, texts in pieces if texts]

    @property
    def has_thinking(self) -> bool:
        """Whether thinking has come, even if empty."""
        return self._thinking is not None

    def completion(self) -> Completion:
        """The answer so far. Before `Finish`, no unfinished call is executable."""
        finish = self._finish
        errors = self.invalid_calls
        replaced = finish.replaced if finish else self._replaced
        unfit = finish.unfit_calls if finish else ()
        calls: list[ToolCall] = []
        invalid: list[InvalidToolCall] = []
        for index, call in enumerate(self._calls):
            arguments = "".join(call.arguments)
            error = errors.get(index)
            if error is None and finish is None and not is_object(arguments):
                error = "the stream ended before the arguments were complete"
            if error is None:
                calls.append(ToolCall(call.id, call.name, arguments))
            else:
                invalid.append(
                    InvalidToolCall(call.id, call.name, arguments, error, index < replaced, index in unfit)
                )
        return Completion(
            thinking=None if self._thinking is None else "".join(self._thinking),
            text="".join(self._text),
            tool_calls=tuple(calls),
            invalid_tool_calls=tuple(invalid),
            finish_reason=finish.reason if finish else None,
            usage=self._usage,
            model=finish.model if finish else None,
            response_id=finish.response_id if finish else None,
            empty=finish.empty if finish else None,
            refusal=finish.refusal if finish else None,
            metadata=finish.metadata if finish else {},
        )


def accumulate(events: Iterable[Event]) -> Completion:
    """Join a whole stream of events into the answer that `complete()` would have returned."""
    accumulator = Accumulator()
    for event in events:
        accumulator.add(event)
    return accumulator.completion()
