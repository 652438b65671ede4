"""The tool that compares with the engines' parsers, where no engine is installed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from .__main__ import compare, ours
from .differences import DIFFERENCES
from .engines import Engine, Family, Reading
from .turns import write

_ROOT = Path(__file__).parents[2]


def test_skipped_without_engines() -> None:
    """Without an engine, the tool says what is missing, and does not fail."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.oracles", "--runs", "5"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "vLLM: not installed, or older than Kimi K3; skipped",
        "SGLang: not installed, or older than Kimi K3; skipped",
    ]


def test_documented() -> None:
    """Each intended difference is a row of the table in the documentation."""
    table = (
        (_ROOT / "docs" / "compatibility.md")
        .read_text(encoding="utf-8")
        .partition("## How K3's markup is read")[2]
    )
    rows = {line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")}
    assert {difference.name for difference in DIFFERENCES} <= rows


def test_other_text_is_not_intended() -> None:
    """An engine that reads another text into whole outputs without calls is reported, for each of them."""

    def read(family: Family, raw: str, chance: random.Random) -> Reading:
        reading = ours(outputs[raw], chance)
        return Reading(reading.thinking, f"not {reading.text}", reading.calls)

    plain = {seed: write(seed) for seed in range(60)}
    outputs = {made.raw: made for made in plain.values() if not made.damage and "argument" not in made.raw}
    seeds = [seed for seed, made in plain.items() if made.raw in outputs]
    counts: dict[str, Counter[str]] = {}
    found = [line for seed in seeds for line in compare(seed, [Engine("other", read)], counts)]
    assert len(found) == len(seeds) > 0


def test_same_reading() -> None:
    """An engine that reads as we do differs nowhere, however damaged the output is."""
    counts: dict[str, Counter[str]] = {}
    judges = [Engine("same", lambda family, raw, chance: ours(write(seed), chance))]
    for seed in range(30):
        assert compare(seed, judges, counts) == []
    assert {reason for count in counts.values() for reason in count} <= {
        "the same",
        "not read by the engine: its markup shows",
    }
