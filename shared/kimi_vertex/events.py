"""The typed events of one turn: what a stream of Kimi's output is made of.

They are plain values, and know nothing of how a server spells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = [
    "EmptyTurn",
    "Event",
    "Finish",
    "FinishReason",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "Usage",
]

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why the turn ended, in the field's common spelling.

Corrected where the server contradicts itself: a turn that holds tool calls and
was reported as `stop` (or not at all) is `tool_calls`.
"""

EmptyTurn: TypeAlias = Literal["thinking_only", "missing_tool_calls", "nothing"]
"""Why a finished turn gives its reader nothing to act on.

- `thinking_only`: the model thought, then stopped without an answer or a call.
- `missing_tool_calls`: the server said `tool_calls` and sent no call.
- `nothing`: neither thinking, nor text, nor calls.
"""


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the model's thinking.

    `text` is empty at most once in a turn: when the server says explicitly that the model did not think.
    """

    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer that the user sees. It is never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of one tool call.

    `id` and `name` are set on the first delta of a call and `None` afterwards.
    """

    index: int
    """Position of the call in its turn: 0, 1, 2 ... without gaps, in the order of first appearance."""
    id: str | None
    """The server's id, unique in the conversation; `functions.NAME:N` if the server sent no usable one."""
    name: str | None
    """The tool's name."""
    arguments: str
    """The next piece of the arguments' JSON text; the pieces join to one JSON object."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of the whole turn. At most one in a stream, before `Finish`."""

    prompt_tokens: int
    completion_tokens: int
    """Thinking, text and tool calls together: all of them are billed as output."""
    total_tokens: int
    cached_tokens: int | None = None
    """Prompt tokens read from the server's prefix cache; `None` if it did not say."""
    thinking_tokens: int | None = None
    """Tokens spent on thinking; `None` if unknown (Vertex reports 0 although the model thought)."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a turn: exactly one in a complete stream, and the last event."""

    reason: FinishReason
    raw_reason: str | None = None
    """The server's own reason, uncorrected; `None` if it gave no reason."""
    response_id: str | None = None
    model: str | None = None
    """The model's name as the server reports it."""
    invalid_calls: Mapping[int, str] = field(default_factory=dict)
    """The calls that must not be executed, by `ToolCallDelta.index`, and why.

    Their arguments are cut off, cannot be read, or are refused by their tool's schema. The reason is in words for
    the developer, and for the model if the call is sent back.
    """
    unfit_calls: AbstractSet[int] = frozenset()
    """Those of `invalid_calls` that are whole, and only do not fit their tool's schema."""
    replaced: int = 0
    """How many calls, from index 0 on, the model was asked to make again. The calls behind them stand in their place."""
    empty: EmptyTurn | None = None
    refusal: str | None = None
    """The server's explanation, if a safety filter stopped the answer and gave one."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else the service reports: `created`, `system_fingerprint`, `traffic_type` ..."""


Event: TypeAlias = ThinkingDelta | TextDelta | ToolCallDelta | Usage | Finish
"""One event of a turn. Thinking, text and tool calls may interleave, in the order of the wire."""
