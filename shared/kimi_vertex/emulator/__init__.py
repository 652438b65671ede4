"""A local stand-in for Kimi on Vertex AI: real sockets, no account, deterministic answers.

Meant for tests, demos and CI. Every reply says that it comes from an emulator. It imports neither
framework and no HTTP client, and nothing outside this package imports it.
"""

from __future__ import annotations

from kimi_vertex.emulator._chat import ChatRequest, PastCall, PastMessage, Tool
from kimi_vertex.emulator._emulator import Emulator
from kimi_vertex.emulator.brain import respond
from kimi_vertex.emulator.conditions import Faults, Latency, LatencyProfile, Quota
from kimi_vertex.emulator.matching import Brain, Match, Rule, TextMatch
from kimi_vertex.emulator.rules import OnBreach, Rules
from kimi_vertex.emulator.script import (
    CHUNKINGS,
    DIALECTS,
    FAULTS,
    Answer,
    Call,
    Chunking,
    Dialect,
    Fault,
    FaultKind,
    Part,
    Raw,
    Recorded,
    Turn,
)
from kimi_vertex.emulator.scripts import Script

__all__ = [
    "CHUNKINGS",
    "DIALECTS",
    "FAULTS",
    "Answer",
    "Brain",
    "Call",
    "ChatRequest",
    "Chunking",
    "Dialect",
    "Emulator",
    "Fault",
    "FaultKind",
    "Faults",
    "Latency",
    "LatencyProfile",
    "Match",
    "OnBreach",
    "Part",
    "PastCall",
    "PastMessage",
    "Quota",
    "Raw",
    "Recorded",
    "Rule",
    "Rules",
    "Script",
    "TextMatch",
    "Tool",
    "Turn",
    "respond",
]
