"""What a server does not take, or takes only if asked in its way: learned once, and heeded by every later request."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kimi_vertex._request.body import Payload, without_fixed_sampling, without_forced_choice, without_switch
from kimi_vertex._target.facts import RELEARN, FactName, TargetFacts
from kimi_vertex.errors import APIStatusError

__all__ = ["concede", "heed"]

logger = logging.getLogger("kimi_vertex")

# "tool_choice 'required' is incompatible with thinking enabled" (Moonshot).
_FORCED: Final = re.compile(
    r"tool_choice.{0,80}(?:incompatible|not (?:supported|allowed|compatible)|unsupported|invalid|thinking)",
    re.IGNORECASE | re.DOTALL,
)
# "invalid temperature: only 1 is allowed for this model", "... cannot be modified" (Moonshot).
_FIXED: Final = re.compile(
    r"\b(?:temperature|top_p|n|(?:presence|frequency)_penalty)\b.{0,40}(?:only .{0,20}is allowed|cannot be modified)",
    re.IGNORECASE | re.DOTALL,
)
# "Extra inputs are not permitted" (pydantic), "Unrecognized request argument supplied: ..." (OpenAI's words).
_UNKNOWN: Final = re.compile(
    r"unknown|unrecogni[sz]ed|unexpected|unsupported|not (?:permitted|supported|allowed)", re.IGNORECASE
)
_SWITCH: Final = re.compile(r"\bchat_template_kwargs\b|\bthinking\b")


def _switch(text: str) -> str | None:
    """The field, of the two that switch thinking off, that a server says it does not know."""
    found = _SWITCH.search(text) if _UNKNOWN.search(text) else None
    return None if found is None else found.group()


def _field(text: str) -> str | None:
    """The one field of thinking, where a server says "duplicate field `reasoning`" (vLLM)."""
    return "reasoning" if "duplicate field" in text and "reasoning" in text else None


class _Lesson(NamedTuple):
    """What a refusal teaches."""

    read: Callable[[str], Any]
    """Reads the fact out of the error's text; `None` if it says nothing of it."""
    news: str = ""
    """For the log; `{fields}` are those that the request goes on without."""


_LESSONS: Final[Mapping[FactName, _Lesson]] = {
    "refuses_forced_choice": _Lesson(
        lambda text: _FORCED.search(text) and True,
        "The server refuses a forced tool_choice while the model thinks; from now on it is sent as 'auto' with an "
        "instruction to call the tool",
    ),
    "fixes_sampling": _Lesson(
        lambda text: _FIXED.search(text) and True,
        "The server fixes {fields} for this model; left out from now on",
    ),
    "refused_switch": _Lesson(_switch),
    "thinking_field": _Lesson(_field),
}
_CHANGES: Final[Mapping[FactName, Callable[[Payload, Any], Payload]]] = {
    "refuses_forced_choice": lambda payload, _: without_forced_choice(payload),
    "fixes_sampling": lambda payload, _: without_fixed_sampling(payload),
    "refused_switch": without_switch,
    "thinking_field": Payload.with_thinking_field,
    "strips_markers": lambda payload, _: payload.with_markers(),
    "loses_closing_tag": lambda payload, _: payload.with_counts(),
}
"""What a fact makes of a request."""


def heed(payload: Payload, facts: TargetFacts) -> Payload:
    """The request as its server is known to take it."""
    for name, change in _CHANGES.items():
        value = facts.value(name, model=payload.model)
        if value is not None:
            payload = change(payload, value)
    return payload


def concede(payload: Payload, facts: TargetFacts, error: APIStatusError, place: str) -> Payload | None:
    """The request without what the server refuses, which is learned; `None` if it cannot do without."""
    if error.status_code not in (400, 422):
        return None
    for name, lesson in _LESSONS.items():
        value = lesson.read(error.message)
        changed = payload if value is None else _CHANGES[name](payload, value)
        if changed.body != payload.body:
            if lesson.news and not facts.knows(name, model=payload.model):
                fields = ", ".join(sorted(payload.body.keys() - changed.body.keys()))
                logger.warning("%s (%s).", lesson.news.format(fields=fields), place)
            facts.learn(name, value, error.message, model=payload.model, lasts=RELEARN)
            return changed
    return None
