"""What is measured: plain values that the runner orders, the worker carries out and the report names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from benchmarks.scenarios import Scenario

__all__ = ["Operation", "Probe", "Sample"]

Operation: TypeAlias = Literal[
    "stream", "astream", "first", "afirst", "lag", "alag", "whole", "send", "many", "import"
]


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to measure, once in each round.

    Operations and the figures that they give:

    - `stream`, `astream`: `cpu`, microseconds of CPU per delta while a stream is drained.
    - `first`, `afirst`: `wall`, milliseconds from the call to the first piece of the answer.
    - `lag`, `alag`: `p50` and `p99`, microseconds from the server's write to the user.
    - `whole`: `cpu`, milliseconds of CPU of one call.
    - `send`: `cpu`, microseconds of CPU per turn of a conversation of `count` turns, sent with one call.
    - `many`: `cpu`, microseconds per delta, and `p99`, the lag in milliseconds, of `count` streams on one loop.
    - `import`: `cpu`, milliseconds of CPU of a fresh interpreter that imports `client`.
    """

    client: str
    operation: Operation
    scenario: Scenario = field(default_factory=Scenario)
    variant: str = ""
    count: int = 1
    """Streams at a time for `many`, turns of the conversation for `send`."""
    seconds: float = 0.1
    """Repeat for so long within one round."""

    def to_json(self) -> dict[str, Any]:
        """For the worker's input and the report's file."""
        return {**asdict(self), "scenario": self.scenario.name}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Probe:
        """The inverse of `to_json`."""
        return cls(**{**value, "scenario": Scenario.parse(value["scenario"])})


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of a probe gave."""

    figures: dict[str, float]
    thinking: int = -1
    """Characters of thinking that the client handed on in a stream; -1 where it was not counted."""
    text: int = -1
    errors: int = 0
