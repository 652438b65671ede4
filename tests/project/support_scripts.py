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


def run_scripts(
    starts: Sequence[Start], *, load: Sequence[str], hidden: Sequence[str] = (), options: Sequence[str] = ()
) -> list[End]:
    """Run scripts, a few at once, each in a process of its own that has the modules loaded.

    Args:
        starts: The scripts. Each runs as if alone but for what is loaded.
        load: What to load once for all of them.
        hidden: Modules that must not be found while that loads.
        options: Options of the interpreter.
    """
    job = {"load": load, "hidden": hidden, "scripts": [asdict(start) for start in starts]}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "KIMI_", "LANGSMITH_"))}
    done = subprocess.run(
        [sys.executable, *options, str(RUNNER)],
        env={**kept, "PYTHONIOENCODING": "utf-8"},
        input=json.dumps(job),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=230,
    )
    assert done.returncode == 0, done.stderr
    return [End(**end) for end in json.loads(done.stdout)]
