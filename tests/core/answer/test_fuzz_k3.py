"""A short form of the fuzzer for Kimi K3's turns, and for mixtures with K2's."""

from __future__ import annotations

import pytest

from .fuzz_k3 import one_run


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_turns(start: int) -> None:
    """Turns in any shape are read as they were meant, whole and in any cut; what breaks off is not executed."""
    for seed in range(start, start + 50):
        one_run(seed)
