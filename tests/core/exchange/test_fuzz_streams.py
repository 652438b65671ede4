"""Damaged answers through the whole client; `fuzz_streams.py` makes longer runs."""

from __future__ import annotations

from .fuzz_streams import one_run


def test_damaged_answers() -> None:
    """Whatever becomes of an answer's bytes, there is an answer that holds together or an error that prints."""
    for seed in range(300):
        one_run(seed)
