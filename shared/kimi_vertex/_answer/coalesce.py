"""Joins deltas that arrived together. A pure function."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from kimi_vertex.events import Event, TextDelta, ThinkingDelta, ToolCallDelta

__all__ = ["coalesced"]


def coalesced(events: list[Event]) -> list[Event]:
    """Neighbours of one kind as one event: thinking, text, or pieces of the same tool call; never across them."""
    if len(events) < 2:
        return events
    joined: list[Event] = []
    for _, group in groupby(events, _place):
        first, *others = group
        if isinstance(first, ToolCallDelta):
            pieces = [event.arguments for event in others if isinstance(event, ToolCallDelta)]
            joined.append(replace(first, arguments="".join((first.arguments, *pieces))))
        elif isinstance(first, ThinkingDelta | TextDelta):
            texts = [event.text for event in others if isinstance(event, ThinkingDelta | TextDelta)]
            joined.append(type(first)("".join((first.text, *texts))))
        else:
            joined += [first, *others]
    return joined


def _place(event: Event) -> tuple[type[Event], int | None]:
    """Equal for two neighbours that belong together."""
    return type(event), event.index if isinstance(event, ToolCallDelta) else None
