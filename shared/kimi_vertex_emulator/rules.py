"""Which rules an emulator enforces beyond those of strict mode. A value; what breaks them is found elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from kimi_vertex_emulator.script import known

__all__ = ["OnBreach", "Rules"]

OnBreach: TypeAlias = Literal["accept", "degrade", "error"]
"""What a breach leads to.

`accept`: nothing. `degrade`: what open engines do: the model loses the thread, it thinks and stops without an
answer or a call (https://github.com/MoonshotAI/Kimi-K2/issues/128). `error`: a 400.
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that differ between deployments of Kimi; by default none of them holds.

    Strict mode has rules of its own, which hold everywhere: thinking in every tool turn, results only for calls,
    known roles, no image for a text model, readable arguments, a model as `publisher/model`.

    Example: `Emulator(rules=Rules(foreign_ids="degrade", context_window=262_144))`.

    Raises:
        ValueError: `duplicate_ids` or `foreign_ids` is no `OnBreach`.
    """

    duplicate_ids: OnBreach = "accept"
    """Two calls of the history share an id."""
    foreign_ids: OnBreach = "accept"
    """A call of the history has an id that is not `functions.NAME:N` with its own name."""
    unanswered_calls: OnBreach = "accept"
    """A call of the history has no result before the next user or assistant message."""
    temperature: bool = False
    """Refuse any temperature but 1, as Moonshot does from K2.5 on."""
    schema_dialect: bool = False
    """Refuse tool schemas outside Moonshot's flavour: `type` everywhere, no `oneOf`, `allOf`, `const`, `pattern`,
    `format`, `$schema` (https://github.com/MoonshotAI/walle)."""
    context_window: int | None = None
    """Refuse prompts whose estimated tokens, together with `max_tokens`, exceed it. `None`: no limit."""
    max_payload: int | None = None
    """Refuse bodies of more bytes: 10,000,000 on dedicated endpoints, 1,500,000 on shared ones. `None`: no limit."""
    project: str | None = None
    """Refuse calls for any other project with Google's 403. `None`: any project will do."""
    models: Collection[str] | None = None
    """The models of the managed endpoint; calls for any other get Google's 404. `None`: any."""
    retired_models: Collection[str] = ()
    """Models that the managed endpoint had: they get the same 404, which does not say that they are retired."""
    expiring_tokens: bool = False
    """Refuse bearers that this emulator issued once their lifetime is over, with Google's 401."""

    def __post_init__(self) -> None:
        for name in ("duplicate_ids", "foreign_ids", "unanswered_calls"):
            known(getattr(self, name), get_args(OnBreach), name)
