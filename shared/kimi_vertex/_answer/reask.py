"""Asks the model again for calls that cannot be executed: when, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from kimi_vertex.completion import Accumulator, Completion
from kimi_vertex.events import Usage
from kimi_vertex.messages import Message, ToolCall

__all__ = ["Rejected", "correction", "reject", "sum_usage"]

_NAMELESS: Final = "unknown"
_OTHER_IS_INVALID: Final = "another call of this turn is invalid"


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer whose calls the model was asked to make again. The next answer goes on behind it."""

    answer: Completion
    """The answer with its calls judged: all that there is if the next one cannot be had."""
    accumulator: Accumulator
    """What the caller has been given of it."""
    invalid_calls: Mapping[int, str]
    """Why none of its calls must be executed, by index: the valid ones will be made again, too."""


def reject(accumulator: Accumulator) -> Rejected | None:
    """Decide about a whole answer; `None` if it stands.

    It is rejected if one of its calls is invalid, unless it was cut off: the next one would be, too.
    """
    answer = accumulator.completion()
    if not answer.invalid_tool_calls or answer.finish_reason in ("length", "content_filter"):
        return None
    errors = accumulator.invalid_calls
    count = len(answer.tool_calls) + len(answer.invalid_tool_calls)
    reasons = {
        index: errors.get(index, f"not executed, because {_OTHER_IS_INVALID}") for index in range(count)
    }
    return Rejected(answer, accumulator, reasons)


def correction(answer: Completion) -> tuple[Message, ...]:
    """What the model is told: its own turn, and for each call why it was not executed."""
    turn = answer.to_message()
    calls = tuple(ToolCall(call.id, call.name or _NAMELESS, call.arguments) for call in turn.tool_calls)
    reasons = {call.id: call.error for call in answer.invalid_tool_calls}
    results = tuple(
        Message("tool", _result(reasons.get(call.id)), tool_call_id=call.id, name=call.name) for call in calls
    )
    return (replace(turn, tool_calls=calls), *results)


def _result(reason: str | None) -> str:
    if reason is None:
        return f"Not executed, because {_OTHER_IS_INVALID}. Make this call again, too."
    return f"Not executed: {reason}. Make the call again, with arguments that are valid for the tool."


def sum_usage(one: Usage | None, other: Usage | None) -> Usage | None:
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
