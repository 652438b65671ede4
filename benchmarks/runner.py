"""Starts the server and a worker for each client, and asks them in turn, round after round."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from benchmarks.probes import Probe, Sample

__all__ = ["Bench", "Outcome", "WorkerFailed"]

_ROOT: Final = Path(__file__).resolve().parent.parent
# The last one would have imports compile everything again.
_HIDDEN: Final = ("GOOGLE_", "KIMI_", "OPENAI_", "LANGSMITH_", "LANGCHAIN_", "PYTHONDONTWRITEBYTECODE")
_LEAST_ROUNDS: Final = 2
_IMPORT: Final = (
    "import time; start = time.process_time(); {code}; print((time.process_time() - start) * 1e3)"
)


class WorkerFailed(Exception):
    """A worker ended, or its output could not be read."""


@dataclass(slots=True)
class Outcome:
    """What all rounds of one probe gave, or why they gave nothing."""

    samples: list[Sample] = field(default_factory=list)
    problem: str | None = None
    """`not installed`, or what failed."""

    def figures(self, metric: str) -> list[float]:
        """One figure, round by round."""
        return [sample.figures[metric] for sample in self.samples]


def _environment() -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(_HIDDEN) and not k.lower().endswith("_proxy")
    }
    path = os.pathsep.join(filter(None, [str(_ROOT), str(_ROOT / "shared"), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, "LANGSMITH_TRACING": "false", "PYTHONUTF8": "1"}


class _Process:
    """A Python process that is talked to in lines."""

    def __init__(self, *arguments: str) -> None:
        self._errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # closed in `close`
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=_ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )

    def ask(self, line: str = "") -> str:
        """Send a line if there is one, and wait for a line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if line:
            try:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                raise WorkerFailed(self._last_words()) from None
        answer = self._process.stdout.readline()
        if not answer:
            raise WorkerFailed(self._last_words())
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"the process ended with status {self._process.wait()}"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


class Bench:
    """A running server and the workers that have been needed so far. Use it in a `with` block."""

    def __init__(
        self,
        *,
        fresh: bool = False,
        together: bool = False,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start nothing yet.

        Args:
            fresh: Start new workers for every round. Otherwise each client keeps its process.
            together: One worker for all clients: each framework is loaded once, and one client's objects are in another's
                memory, so the figures are good for ratios with a margin only.
            progress: Told what is being measured.
        """
        self._fresh, self._together = fresh, together
        self._progress = progress
        self._workers: dict[str, _Process] = {}
        self._server: _Process | None = None
        self._origin = ""

    def __enter__(self) -> Self:
        self._server = _Process("-m", "benchmarks.server")
        self._origin = f"http://127.0.0.1:{int(self._server.ask())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_workers()
        if self._server is not None:
            self._server.close()

    def _end_workers(self) -> None:
        while self._workers:
            self._workers.popitem()[1].close()

    def run(
        self,
        probes: Iterable[Probe],
        rounds: int,
        *,
        until: float = math.inf,
        imports: Mapping[str, str] | None = None,
    ) -> dict[Probe, Outcome]:
        """Measure all probes in each round, in reverse order in every second one.

        Args:
            probes: What to measure; what is compared should stand close together.
            rounds: How often.
            until: When to begin no further round, on the monotonic clock; two are always made, if asked for.
            imports: The statement behind each client of an `import` probe.
        """
        order = list(dict.fromkeys(probes))
        outcomes = {probe: Outcome() for probe in order}
        for number in range(rounds):
            if number >= _LEAST_ROUNDS and time.monotonic() > until:
                break
            self._progress(f"round {number + 1} of {rounds}")
            for probe in order if number % 2 == 0 else reversed(order):
                if outcomes[probe].problem is None:
                    self._measure(probe, outcomes[probe], imports or {})
            if self._fresh:
                self._end_workers()
        return outcomes

    def _measure(self, probe: Probe, outcome: Outcome, imports: Mapping[str, str]) -> None:
        name = "" if self._together else probe.client
        try:
            if probe.operation == "import":
                if not outcome.samples:
                    _import(imports[probe.client])  # compiles what is not compiled yet
                answer: dict[str, Any] = _import(imports[probe.client])
            else:
                if name not in self._workers:
                    self._workers[name] = _Process("-m", "benchmarks.worker", self._origin)
                answer = json.loads(self._workers[name].ask(json.dumps(probe.to_json())))
        except WorkerFailed as failure:
            answer = {"failed": str(failure)}
            dead = self._workers.pop(name, None)
            if dead is not None:
                dead.close()
        if "figures" in answer:
            outcome.samples.append(Sample(**answer))
        else:
            outcome.problem = answer.get("failed") or answer.get("missing") or "cannot do this"


def _import(statement: str) -> dict[str, Any]:
    """CPU of an import in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT.format(code=statement)],
        cwd=_ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        missing = bool(last) and last[0].startswith(("ModuleNotFoundError", "ImportError"))
        return (
            {"missing": "not installed"} if missing else {"failed": last[0] if last else "the import failed"}
        )
    return {"figures": {"cpu": float(done.stdout.split()[-1])}}
