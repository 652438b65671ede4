"""Runs scripts that load the same slow frameworks, each loaded once for the whole suite; see run_forked.py."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
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
    strict: bool = True
    """Whether a warning is an error in it; otherwise it is what it is in any Python."""


@dataclass(frozen=True)
class End:
    """How a script ended, and what it wrote."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Step:
    """What is loaded before scripts start, once for all that begin with the same steps."""

    modules: Sequence[str]
    """With `module:function`, that function is called, too."""
    hidden: Sequence[str] = field(default_factory=list)
    """Modules that must not be found while these load."""


@cache
def _server() -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "KIMI_", "LANGSMITH_"))}
    server = subprocess.Popen(
        [sys.executable, "-W", "error", str(RUNNER)],
        env={**kept, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    atexit.register(server.communicate)
    return server


def run_jobs(jobs: Sequence[tuple[Sequence[Step], Sequence[Start]]]) -> list[list[End]]:
    """Run scripts, each in a process of its own, for each job those that may share what its steps load.

    A script runs as if alone but for what the steps have loaded. Jobs run at once, and of each job a few scripts.
    """
    if not hasattr(os, "fork"):
        return [[_run_alone(script) for script in scripts] for _, scripts in jobs]
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    request = [
        {"steps": [asdict(step) for step in steps], "scripts": [asdict(script) for script in scripts]}
        for steps, scripts in jobs
    ]
    try:
        server.stdin.write(f"{json.dumps(request)}\n")
        server.stdin.flush()
        return [[End(**end) for end in ends] for ends in json.loads(server.stdout.readline())]
    except BaseException:  # its next answer would be to this request
        server.kill()
        _server.cache_clear()
        raise


def run_scripts(steps: Sequence[Step], scripts: Sequence[Start]) -> list[End]:
    """Run the scripts of one job."""
    [ends] = run_jobs([(steps, scripts)])
    return ends


def _run_alone(script: Start) -> End:
    """Run a script where a process cannot be forked; there it finds all that is installed."""
    done = subprocess.run(
        [sys.executable, *(["-W", "error"] if script.strict else []), script.path, *script.arguments],
        cwd=script.folder,
        env={**os.environ, **script.environment},
        input=script.input,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return End(done.returncode, done.stdout, done.stderr)
