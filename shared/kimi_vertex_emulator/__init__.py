"""A local stand-in for Kimi on Vertex AI: real sockets, no account, deterministic answers.

Meant for tests, demos and CI. Every reply says that it comes from an emulator. It imports neither framework, an HTTP
client only to record, and nothing outside this package imports it.

The names below load when they are first asked for: pytest imports this package, for its plugin, in every run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kimi_vertex_emulator._chat import ChatRequest, PastMessage, Tool
    from kimi_vertex_emulator._emulator import Emulator
    from kimi_vertex_emulator._journal import Ending, Exchange
    from kimi_vertex_emulator._requests import Recorded
    from kimi_vertex_emulator.answers import (
        CHUNKINGS,
        DIALECTS,
        FAULTS,
        Answer,
        Call,
        Chunking,
        Dialect,
        Fault,
        Part,
        Raw,
        Turn,
    )
    from kimi_vertex_emulator.brain import respond
    from kimi_vertex_emulator.cassette import Cassette, Interaction
    from kimi_vertex_emulator.deployments import Deployment, Refusal
    from kimi_vertex_emulator.quota import Quota
    from kimi_vertex_emulator.record import Recorder
    from kimi_vertex_emulator.rules import OnBreach, Rules
    from kimi_vertex_emulator.script import Brain, Conditions, Match, Rule, Script, TextMatch

__all__ = [
    "CHUNKINGS",
    "DIALECTS",
    "FAULTS",
    "Answer",
    "Brain",
    "Call",
    "Cassette",
    "ChatRequest",
    "Chunking",
    "Conditions",
    "Deployment",
    "Dialect",
    "Emulator",
    "Ending",
    "Exchange",
    "Fault",
    "Interaction",
    "Match",
    "OnBreach",
    "Part",
    "PastMessage",
    "Quota",
    "Raw",
    "Recorded",
    "Recorder",
    "Refusal",
    "Rule",
    "Rules",
    "Script",
    "TextMatch",
    "Tool",
    "Turn",
    "respond",
]

_HOMES = (
    "_emulator _chat _journal _requests answers brain cassette deployments quota record rules script".split()
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        homes = [import_module(f"{__name__}.{home}") for home in _HOMES]
    except ModuleNotFoundError as error:
        if error.name != "h11":
            raise
        raise ImportError('The emulator needs its extra: pip install "kimi-vertex[testing]"') from error
    globals().update(
        {public: getattr(home, public) for home in homes for public in home.__all__ if public in __all__}
    )
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
