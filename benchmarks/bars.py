"""What large jobs lose, waste and use under quotas and pools, over real sockets: `python -m benchmarks.bars`."""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from kimi_vertex import Completion, KimiVertexClient
from kimi_vertex_emulator import ChatRequest, Emulator, Exchange, Quota, Turn

__all__ = ["BARS", "Bar", "Outcome", "measure", "table"]

_START: Final = 5.0
"""Seconds whose refusals are the start's, and counted apart."""
_KEY: Final = re.compile(r"row (\d+)")


@dataclass(frozen=True, slots=True)
class Bar:
    """A job, the service that it runs against, and what it has to reach."""

    name: str
    quota: Quota
    per_second: float
    """What the service takes."""
    rows: int
    concurrency: int = 128
    latency: float = 0.2
    processes: int = 1
    change: tuple[float, Quota] | None = None
    """The quota from so many seconds on."""
    used: float | None = 0.9
    wasted: float = 0.02


_SLIDING: Final = Quota(requests=400, window=5.0)
BARS: Final = (
    Bar("sliding window", _SLIDING, 80, 4000),
    Bar("fixed window", Quota(requests=400, window=5.0, kind="fixed"), 80, 4000),
    Bar("token bucket", Quota(requests=400, window=5.0, kind="bucket"), 80, 4000),
    Bar("small quota", Quota(requests=200, window=5.0), 40, 2000, concurrency=32),
    Bar("two processes", _SLIDING, 80, 4000, processes=2, used=0.85, wasted=0.03),
    Bar("prompt tokens", Quota(tokens=6000, window=5.0), 80, 4000, used=None),
    Bar("pool of 16", Quota(cap=16), 80, 4000, used=0.85),
    Bar("queue of 16", Quota(slots=16), 80, 2000, used=0.85),
    Bar("answers of 5 s", _SLIDING, 80, 4000, concurrency=800, latency=5.0),
    Bar(
        "quota × ¼ after 15 s",
        _SLIDING,
        80,
        2400,
        change=(15.0, Quota(requests=100, window=5.0)),
        used=None,
        wasted=0.03,
    ),
    Bar(
        "quota × 4 after 15 s",
        _SLIDING,
        80,
        8000,
        change=(15.0, Quota(requests=1600, window=5.0)),
        used=None,
        wasted=0.03,
    ),
)


@dataclass(slots=True)
class Outcome:
    """What the emulator counted."""

    bar: Bar
    answered: Counter[str] = field(default_factory=Counter)
    refused: list[float] = field(default_factory=list)
    requests: int = 0
    began: float = 0.0
    ended: float = 0.0

    @property
    def lost(self) -> int:
        return self.bar.rows - len(self.answered)

    @property
    def again(self) -> int:
        return sum(self.answered.values()) - len(self.answered)

    @property
    def at_start(self) -> int:
        return sum(at < _START for at in self.refused)

    @property
    def wasted(self) -> float:
        return (len(self.refused) - self.at_start) / max(1, self.requests)

    @property
    def used(self) -> float:
        return len(self.answered) / ((self.ended - self.began - self.bar.latency) * self.bar.per_second)

    @property
    def met(self) -> bool:
        enough = self.bar.used is None or self.used >= self.bar.used
        spared = self.wasted <= self.bar.wasted and self.at_start <= 128 * self.bar.processes
        return enough and spared and not self.lost and not self.again

    def count(self, exchange: Exchange) -> None:
        """Take an exchange into account."""
        if not exchange.chat:
            return
        now = time.monotonic()
        self.began = self.began or exchange.began
        self.requests += 1
        if exchange.status == 200 and (key := _KEY.search(str(exchange.messages[-1]["content"]))):
            self.answered[key[1]] += 1
            self.ended = now
        elif exchange.status == 429:
            self.refused.append(now - self.began)


def measure(bar: Bar) -> Outcome:
    """Run the job in processes of its own."""
    outcome = Outcome(bar)

    def answer(_: ChatRequest) -> Turn:
        return Turn(text="x", delay=bar.latency)

    with Emulator(brain=answer, quota=bar.quota, journal_limit=100) as emulator:
        emulator.watch(outcome.count)
        each = bar.rows // bar.processes
        workers = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.bars",
                    "--worker",
                    emulator.base_url,
                    str(at),
                    str(each),
                    str(bar.concurrency),
                ]
            )
            for at in range(0, bar.rows, each)
        ]
        begun, changed = time.monotonic(), bar.change is None
        while any(worker.poll() is None for worker in workers):
            time.sleep(0.05)
            if bar.change is not None and not changed and time.monotonic() - begun >= bar.change[0]:
                emulator.quota, changed = bar.change[1], True
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as Markdown."""
    head = "| Bars | lost | bought twice | refused at the start | wasted after it | used | goals |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for one in outcomes:
        used = "" if one.bar.used is None else f"{one.used:.2f}"
        goal = f"≤ {one.bar.wasted:.0%}" + ("" if one.bar.used is None else f", ≥ {one.bar.used:.2f}")
        met = "met" if one.met else "**not met**"
        figures = (
            one.bar.name,
            one.lost,
            one.again,
            one.at_start,
            f"{one.wasted:.1%}",
            used,
            f"{goal}: {met}",
        )
        lines.append(f"| {' | '.join(map(str, figures))} |")
    return "\n".join(lines)


async def _work(base_url: str, first: int, rows: int, concurrency: int) -> int:
    failed = 0
    async with KimiVertexClient(base_url=base_url) as client:
        todo = (
            (number, f"Give the message of row {number} a label.") for number in range(first, first + rows)
        )
        async for _, answer in client.acomplete_many(todo, concurrency=concurrency):
            failed += not isinstance(answer, Completion)
    return min(failed, 1)


def main() -> int:
    """Measure the bars that are asked for; the status is 1 if one is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bars", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="BAR", help=f"default: all of {', '.join(bar.name for bar in BARS)}"
    )
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        base_url, *numbers = arguments.worker
        return asyncio.run(_work(base_url, *map(int, numbers)))
    outcomes = [measure(bar) for bar in BARS if not arguments.names or bar.name in arguments.names]
    print(table(outcomes))
    return int(not all(outcome.met for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
