"""A local stand-in for Kimi on Vertex AI: real sockets, no account, deterministic answers.

Meant for tests, demos and CI. Every reply says that it comes from an emulator. It imports neither
framework and no HTTP client, and nothing outside this package imports it.
"""

from __future__ import annotations

from kimi_vertex.emulator._emulator import Emulator
from kimi_vertex.emulator.script import Answer, Call, Part, Raw, Recorded, Turn

__all__ = ["Answer", "Call", "Emulator", "Part", "Raw", "Recorded", "Turn"]
