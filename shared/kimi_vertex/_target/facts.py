"""What has been learned of a target: each fact with its reason, its time and its end. Pure; never pickled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NoReturn, TypeAlias

__all__ = ["RELEARN", "Fact", "FactName", "TargetFacts"]

FactName: TypeAlias = Literal[
    "dedicated_dns",
    "fixes_sampling",
    "loses_closing_tag",
    "model",
    "refused_switch",
    "refuses_forced_choice",
    "route",
    "server",
    "strips_markers",
    "thinking_field",
]
"""`dedicated_dns`: the endpoint's own host name, `None` if it has none. `fixes_sampling`: whether values such as the
temperature are refused. `loses_closing_tag`: whether the server drops the tag between thinking and answer in streams.
`model`: the one that a server of the user's lists, `None` if that cannot be told. `refused_switch`: the
field, of the two that switch thinking off, that the server does not take. `refuses_forced_choice`: whether the
model cannot be made to call a tool. `route`: the method and the version of the API that answer, where they are not the
usual ones. `server`: its kind. `strips_markers`: whether it takes the tokens out of
Kimi K3's markup. `thinking_field`: the one field in which the server writes and reads thinking."""

RELEARN: Final = timedelta(days=1)
"""For how long a refusal is believed: a server may be replaced by a newer one under the same address."""
logger: Final = logging.getLogger("kimi_vertex.facts")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a server taught its clients."""

    value: Any
    how: str
    """What taught it, in words."""
    since: datetime
    until: datetime | None = None
    """When it has to be learned again; `None` if it holds for as long as the target is in use."""


class TargetFacts(Mapping[str, Fact]):
    """What the clients of one target and one set of credentials have learned, in this process.

    As a mapping it shows the facts that hold now, by name; those about one model are named `NAME[MODEL]`.
    """

    def __init__(self, place: str, now: Callable[[], datetime]) -> None:
        """Begin without any. The place is the target in words, for the log."""
        self._place = place
        self._now = now
        self._facts: dict[str, Fact] = {}

    def learn(
        self,
        name: FactName,
        value: Any,
        how: str,
        *,
        model: str | None = None,
        lasts: timedelta | None = None,
    ) -> None:
        """Remember a fact; a newer one replaces it."""
        now = self._now()
        self._facts[_key(name, model)] = Fact(value, how, now, now + lasts if lasts is not None else None)
        logger.debug("Learned of %s: %s is %r (%s).", self._place, _key(name, model), value, how)

    def value(self, name: FactName, default: Any = None, *, model: str | None = None) -> Any:
        """What is known now, or the default."""
        fact = self._known(_key(name, model))
        return default if fact is None else fact.value

    def knows(self, name: FactName, *, model: str | None = None) -> bool:
        """Whether there is such a fact now."""
        return self._known(_key(name, model)) is not None

    def _known(self, key: str) -> Fact | None:
        fact = self._facts.get(key)
        expired = fact is not None and fact.until is not None and fact.until <= self._now()
        return None if expired else fact

    def __getitem__(self, key: str) -> Fact:
        fact = self._known(key)
        if fact is None:
            raise KeyError(key)
        return fact

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in list(self._facts) if self._known(key) is not None])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<TargetFacts {dict(self)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("facts about a target are not pickled: another process learns its own")


def _key(name: str, model: str | None) -> str:
    return name if model is None else f"{name}[{model}]"
