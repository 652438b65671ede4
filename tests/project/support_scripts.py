"""Runs scripts that load the same slow frameworks; see run_forked.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RUNNER = Path(__file__).with_name("run_forked.py")


@dataclass(frozen=True)
class Start:
    """How to start a script."""

    path: str
    folder: str
    environment: Mapping[str, str]
    arguments: Sequence[str] = field(default_factory=list)
    input: str = ""
    hidden: Sequence[str] = field(default_factory=list)
    """Modules that it must not find."""


@dataclass(frozen=True)
class End:
    """How a script ended, and what it wrote."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Step:
    """Scripts that may share what is loaded."""

    load: Sequence[str]
    """The modules to load before the scripts start, once for all of them."""
    scripts: Sequence[Start]
    hidden: Sequence[str] = field(default_factory=list)
    """Modules that must not be found while that loads."""


def run_scripts(steps: Sequence[Step], *, options: Sequence[str] = ()) -> list[list[End]]:
    """Run the scripts of each step, a few at once, each in a process of its own.

    Args:
        steps: What to load and to run. A script runs as if alone but for what its step and those before it have loaded.
        options: Options of the interpreter.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "KIMI_", "LANGSMITH_"))}
    done = subprocess.run(
        [sys.executable, *options, str(RUNNER)],
        env={**kept, "PYTHONIOENCODING": "utf-8"},
        input=json.dumps([asdict(step) for step in steps]),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=230,
    )
    assert done.returncode == 0, done.stderr
    return [[End(**end) for end in ends] for ends in json.loads(done.stdout)]
