"""Asks the model again for tool calls that cannot be executed: what it is told, and how the answers are joined.

A decoder that keeps calls back until they are judged. What may be shown at once, thinking and text, is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from kimi_vertex.completion import Accumulator, Completion
from kimi_vertex.events import Event, Finish, TextDelta, ThinkingDelta, Usage
from kimi_vertex.messages import Message, ToolCall

from .decoder import Decoder

__all__ = ["ReaskingDecoder", "Rejected"]

_NAMELESS: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Rejected:
    """The answers of this call that the model was asked to correct."""

    left: int
    """How often it may be asked again."""
    asked: int = 0
    """How often it was."""
    shown: tuple[Event, ...] = ()
    """What the caller has been given of them."""
    usage: Usage | None = None
    """What they cost together."""
    last: Completion | None = None
    """The last of them, which is all that there is if the next one cannot be had."""


@dataclass(slots=True)
class _Given:
    """Events that were given out, and the answer that they make."""

    events: list[Event] = field(default_factory=list)
    accumulator: Accumulator = field(default_factory=Accumulator)

    def add(self, events: list[Event]) -> list[Event]:
        self.events += events
        for event in events:
            self.accumulator.add(event)
        return events


class ReaskingDecoder(Decoder):
    """Reads one answer of several.

    The caller sees one turn: thinking and text of all answers, because a stream has shown them as they came, and
    the calls of the last.
    """

    def __init__(self, earlier: Rejected, **options: Any) -> None:
        """Start an answer.

        Args:
            earlier: The answers before it.
            **options: Those of `Decoder`.
        """
        super().__init__(validation="reask", **options)
        self._earlier = earlier
        self._given = _Given()
        self._given.add(list(earlier.shown))
        self._held: list[Event] = []

    @property
    def completion(self) -> Completion:
        """What the caller has been given so far; the whole answer after `finish`."""
        return self._given.accumulator.completion()

    def feed(self, data: str) -> list[Event]:
        """Take the data of one server-sent event. See `Decoder.feed`."""
        return self._pass(super().feed(data))

    def feed_body(self, body: Any, source: bytes | None = None) -> list[Event]:
        """Take a whole, decoded answer. See `Decoder.feed_body`."""
        return self._pass(super().feed_body(body, source))

    def flush(self) -> list[Event]:
        """The answer broke off: return all that was held back."""
        return self._pass(super().flush()) + self._release()

    def finish(self, *, promote: bool = False) -> list[Event]:
        """The answer is whole. See `Decoder.finish`; if `correction` is set, the calls and the end are not given out."""
        passed = self._pass(super().finish(promote=promote))
        own = self._accumulator.completion()
        if self._earlier.left and own.finish_reason not in ("length", "content_filter"):
            self.correction = _correction(own)
        return passed if self.correction else passed + self._release()

    def rejected(self) -> Rejected:
        """This answer and those before it, for the next one."""
        earlier, own, given = self._earlier, self._accumulator.completion(), self.completion
        return Rejected(
            left=earlier.left - 1,
            asked=earlier.asked + 1,
            shown=tuple(self._given.events),
            usage=_sum(earlier.usage, own.usage),
            last=replace(own, thinking=given.thinking, text=given.text),
        )

    def _pass(self, events: list[Event]) -> list[Event]:
        passed: list[Event] = []
        for event in events:
            (passed if isinstance(event, ThinkingDelta | TextDelta) else self._held).append(event)
        return self._given.add(passed)

    def _release(self) -> list[Event]:
        """What was held, with the counts of all answers."""
        usage, asked = self._earlier.usage, self._earlier.asked
        released: list[Event] = []
        for event in self._held:
            if isinstance(event, Usage):
                usage = _sum(usage, event)
            elif isinstance(event, Finish):
                released += [usage] if usage is not None else []
                metadata = {**event.metadata, "reasked": asked} if asked else event.metadata
                released.append(replace(event, metadata=metadata))
            else:
                released.append(event)
        self._held = []
        return self._given.add(released)


def _correction(answer: Completion) -> tuple[Message, ...]:
    """The answer as the model's turn, and for each of its calls why it was not executed; empty if all are valid."""
    if not answer.invalid_tool_calls:
        return ()
    turn = answer.to_message()
    named = tuple(ToolCall(call.id, call.name or _NAMELESS, call.arguments) for call in turn.tool_calls)
    reasons = {call.id: call.error for call in answer.invalid_tool_calls}
    results = tuple(
        Message("tool", _result(reasons.get(call.id)), tool_call_id=call.id, name=call.name) for call in named
    )
    return (replace(turn, tool_calls=named), *results)


def _result(reason: str | None) -> str:
    if reason is None:
        return "Not executed, because another call of this turn is invalid. Make this call again, too."
    return f"Not executed: {reason}. Make the call again, with arguments that are valid for the tool."


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    """Two counts added; what only one of them knows counts as it is."""
    if one is None or other is None:
        return one or other
    return Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.total_tokens + other.total_tokens,
        _plus(one.cached_tokens, other.cached_tokens),
        _plus(one.thinking_tokens, other.thinking_tokens),
    )


def _plus(one: int | None, other: int | None) -> int | None:
    return one if other is None else other + (one or 0)
