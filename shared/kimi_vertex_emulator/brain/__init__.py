"""The emulator's brain: small, deterministic, and honest about being no model.

Rules over words, no randomness, no state: the same conversation always gets the same turn.
"""

from __future__ import annotations

from kimi_vertex_emulator.brain._decide import respond

__all__ = ["respond"]
