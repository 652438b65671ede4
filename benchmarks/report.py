"""The table and the file that a run leaves behind."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.clients import LABELS, OURS
from benchmarks.probes import Probe
from benchmarks.rows import Row, Section
from benchmarks.runner import Outcome

__all__ = ["Line", "figure", "lines", "machine", "render", "write_json"]

_PACKAGES: Final = (
    "kimi-vertex",
    "httpx",
    "httpx-sse",
    "orjson",
    "langchain-core",
    "langchain-openai",
    "langchain-deepseek",
    "llama-index-core",
    "llama-index-llms-openai-like",
)
_VERBS: Final = {
    "stream": "",
    "astream": "async",
    "first": "",
    "afirst": "async",
    "lag": "",
    "alag": "async",
    "whole": "",
    "send": "",
    "many": "",
    "import": "",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table, measured."""

    subject: str
    against: str
    value: float | None = None
    base: float | None = None
    result: float | None = None
    """The median of what the rounds' comparisons gave."""
    spread: tuple[float, float] | None = None
    goal: float | None = None
    problem: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; `None` without goal or result."""
        return None if self.goal is None or self.result is None else self.result <= self.goal


def label(probe: Probe) -> str:
    """What a probe is called in the table."""
    words = [LABELS.get(probe.client, probe.client), _VERBS[probe.operation]]
    if probe.variant:
        words.append({"handler": "+ handler", "orjson": "(orjson)"}.get(probe.variant, probe.variant))
    if probe.scenario.write == "each":
        words.append("(a write per delta)")
    if probe.operation in ("send", "many"):
        words.append(f"x{probe.count}")
    if probe.scenario.deltas >= 1_000:
        words.append(f"{probe.scenario.deltas:,}")
    return " ".join(word for word in words if word)


def lines(section: Section, outcomes: Mapping[Probe, Outcome]) -> list[Line]:
    """The measured rows of a section."""
    return [_line(row, outcomes) for row in section.rows]


def _line(row: Row, outcomes: Mapping[Probe, Outcome]) -> Line:
    subject, against = outcomes[row.subject], outcomes[row.against]
    names = (label(row.subject), label(row.against))
    problem = _loss(row.subject, subject)
    for probe in (row.subject, row.against, *(row.relative_to or ())):
        name, outcome = label(probe), outcomes[probe]
        problem = problem or (outcome.problem and f"{name}: {outcome.problem}")
        errors = sum(sample.errors for sample in outcome.samples)
        problem = problem or (f"{name}: {errors} streams failed" if errors else None)
    if problem:
        return Line(*names, goal=row.goal, problem=problem)
    ours, theirs = subject.figures(row.metric), against.figures(row.metric)
    pairs = list(zip(ours, theirs, strict=True))
    results = [a - b for a, b in pairs] if row.comparison == "excess" else [a / b for a, b in pairs]
    if row.relative_to is not None:
        long, short = (outcomes[probe].figures(row.metric) for probe in row.relative_to)
        results = [result * b / a for result, a, b in zip(results, long, short, strict=True)]
    return Line(
        *names,
        value=median(ours),
        base=median(theirs),
        result=median(results),
        spread=(min(results), max(results)),
        goal=row.goal,
    )


def _loss(probe: Probe, outcome: Outcome) -> str | None:
    """What one of our clients failed to hand on."""
    if probe.client not in OURS or probe.operation not in ("stream", "astream"):
        return None
    expected = {"thinking": 0, "text": 0}
    for kind, text in probe.scenario.pieces():
        expected[kind] += len(text)
    for sample in outcome.samples:
        if sample.thinking != expected["thinking"]:
            return f"{label(probe)}: {expected['thinking'] - sample.thinking} characters of thinking lost"
        if not probe.scenario.calls and sample.text != expected["text"]:
            return f"{label(probe)}: {expected['text'] - sample.text} characters of text lost"
    return None


def machine() -> dict[str, str]:
    """Where and with what a run was made."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores",
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg())
        if hasattr(os, "getloadavg")
        else "unknown",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def render(section: Section, measured: Sequence[Line], rounds: int) -> str:
    """A section as plain text."""
    excess = any(row.comparison == "excess" for row in section.rows)
    table = [_cells(line, excess=excess) for line in measured]
    widths = [max(len(cells[column]) for cells in table) for column in (0, 2)]
    meaning = f"{section.unit}; {'more than' if excess else 'times'} what stands beside it; {rounds} rounds"
    out = [section.title, f"  ({meaning})"]
    for line, cells in zip(measured, table, strict=True):
        name, value, against, base, result, spread, goal, verdict = cells
        start = f"  {name:<{widths[0]}}  {value:>8}   {against:<{widths[1]}}"
        if line.problem:
            out.append(f"{start}  {line.problem}")
        else:
            end = f"{base:>8}   {result:>7}  {spread:<18}{goal:<11} {verdict}"
            out.append(f"{start}  {end}".rstrip())
    return "\n".join(out)


def _cells(line: Line, *, excess: bool) -> tuple[str, ...]:
    def form(number: float) -> str:
        return f"{number:+.0f}" if excess else f"{number:.2f}"

    if line.result is None or line.spread is None:
        return (line.subject, "-", line.against, "-", "-", "", "", "")
    goal = "" if line.goal is None else f"goal {form(line.goal)}"
    verdict = {True: "met", False: "NOT MET", None: ""}[line.met]
    low, high = line.spread
    return (
        line.subject,
        figure(line.value),
        line.against,
        figure(line.base),
        form(line.result),
        f"({form(low)} to {form(high)})",
        goal,
        verdict,
    )


def figure(value: float | None) -> str:
    """A figure with as many digits as mean something."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write_json(
    path: Path, where: Mapping[str, str], found: Mapping[Probe, Outcome], table: Mapping[str, list[Line]]
) -> None:
    """Leave every figure of every round behind."""
    document: dict[str, Any] = {
        **where,
        "command": sys.argv[1:],
        "rows": {
            name: [{**{f: getattr(line, f) for f in line.__slots__}, "met": line.met} for line in measured]
            for name, measured in table.items()
        },
        "samples": [
            {
                "probe": probe.to_json(),
                "problem": outcome.problem,
                "rounds": [sample.figures for sample in outcome.samples],
            }
            for probe, outcome in found.items()
        ],
    }
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
