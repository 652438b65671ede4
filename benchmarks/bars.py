"""What large jobs lose, waste and use under quotas and pools, over real sockets: `python -m benchmarks.bars`."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks import pages
from benchmarks.report import machine
from kimi_vertex import Completion, KimiVertexClient, Pace, RateLimitError
from kimi_vertex_emulator import ChatRequest, Emulator, Exchange, Quota, Turn
from tests.core.exchange.support_servers import START, Pool, Queue, Sliding, run

__all__ = ["BARS", "Bar", "Outcome", "everything", "measure", "table", "write"]

_PAGE: Final = Path(__file__).parents[1] / "docs" / "bulk.md"
_MARKER: Final = "<!-- python -m benchmarks.bars --write -->"
_START: Final = 5.0
"""Seconds whose refusals are the start's, and counted apart."""
_KEY: Final = re.compile(r"row (\d+)")
_WINDOWS: Final = 3
"""Windows after which a change is followed; so many are looked at then."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A job, the service that it runs against, and what it has to reach."""

    name: str
    quota: Quota
    per_second: float
    """What the service takes; after the change, if there is one."""
    rows: int
    concurrency: int = 128
    latency: float = 0.2
    processes: int = 1
    via: Literal["core", "langchain", "llama_index"] = "core"
    change: Quota | None = None
    """The quota from `_CHANGE` on."""
    used: float | None = 0.9
    """With a change: of the new quota, from three windows after it on."""
    wasted: float = 0.02


_CHANGE: Final = 15.0
"""Seconds after the first request."""
_SLIDING: Final = Quota(requests=400, window=5.0)
_SMALL: Final = Quota(requests=200, window=5.0)
BARS: Final = (
    Bar("sliding window", _SLIDING, 80, 4000),
    Bar("fixed window", Quota(requests=400, window=5.0, kind="fixed"), 80, 4000),
    Bar("token bucket", Quota(requests=400, window=5.0, kind="bucket"), 80, 4000),
    Bar("small quota", _SMALL, 40, 2000, concurrency=32),
    Bar("LangChain's abatch", _SMALL, 40, 2000, via="langchain"),
    Bar("LlamaIndex's run_jobs", _SMALL, 40, 2000, via="llama_index"),
    Bar("two processes", _SLIDING, 80, 4000, processes=2, used=0.85, wasted=0.03),
    Bar("prompt tokens", Quota(tokens=6000, window=5.0), 80, 4000, used=None),
    Bar("pool of 16", Quota(cap=16), 80, 4000, used=0.85),
    Bar("queue of 16", Quota(slots=16), 80, 2000, used=0.85),
    Bar("answers of 5 s", _SLIDING, 80, 4000, concurrency=800, latency=5.0),
    Bar("quota × ¼", _SLIDING, 20, 2400, change=Quota(requests=100, window=5.0), used=0.75, wasted=0.03),
    Bar(
        "quota × 4",
        _SLIDING,
        320,
        12_000,
        concurrency=256,
        change=Quota(requests=1600, window=5.0),
        used=0.75,
        wasted=0.03,
    ),
)


@dataclass(slots=True)
class Outcome:
    """What the emulator counted."""

    bar: Bar
    answered: Counter[str] = field(default_factory=Counter)
    answers: list[float] = field(default_factory=list)
    """When, since the first request; as of the refusals."""
    refused: list[float] = field(default_factory=list)
    taken: float = 0.0
    """Seconds that requests which were answered had their places, all together."""
    requests: int = 0
    began: float = 0.0

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
        bar, last = self.bar, max(self.answers, default=math.inf)
        if bar.quota.cap is not None:
            return self.taken / (last * bar.quota.cap)
        if bar.change is None:
            return len(self.answered) / ((last - bar.latency) * bar.per_second)
        begin = _CHANGE + _WINDOWS * bar.quota.window
        seconds = min(_WINDOWS * bar.quota.window, last - begin)
        found = sum(begin <= at < begin + seconds for at in self.answers)
        return found / (seconds * bar.per_second) if seconds > 0 else 0.0

    @property
    def by_answers(self) -> float | None:
        """Of a pool: the answers, as a part of what its places could give if each took no longer than it has to."""
        cap = self.bar.quota.cap
        most = None if cap is None else cap * max(self.answers, default=math.inf) / self.bar.latency
        return None if most is None else len(self.answered) / most

    @property
    def met(self) -> bool:
        enough = self.bar.used is None or min(self.used, self.by_answers or 1.0) >= self.bar.used
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
            self.answers.append(now - self.began)
            self.taken += now - exchange.began
        elif exchange.status == 429:
            self.refused.append(now - self.began)


def measure(bar: Bar) -> Outcome:
    """Run the job in processes of its own.

    Raises:
        RuntimeError: One of them failed.
    """
    outcome = Outcome(bar)

    def answer(_: ChatRequest) -> Turn:
        return Turn(text="x", delay=bar.latency)

    with Emulator(brain=answer, quota=bar.quota, journal_limit=100) as emulator:
        emulator.watch(outcome.count)
        each = bar.rows // bar.processes
        command = [sys.executable, "-m", "benchmarks.bars", "--worker", bar.via, emulator.base_url]
        workers = [
            subprocess.Popen([*command, *map(str, (at, each, bar.concurrency))])
            for at in range(0, bar.rows, each)
        ]
        changed = bar.change is None
        while any(worker.poll() is None for worker in workers):
            time.sleep(0.05)
            if not changed and outcome.began and time.monotonic() - outcome.began >= _CHANGE:
                emulator.quota, changed = bar.change, True
    if any(worker.returncode for worker in workers):
        raise RuntimeError(f"A process of the job {bar.name!r} failed; what it said stands above.")
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as Markdown."""
    head = "| Bars | lost | bought twice | refused at the start | wasted after it | used | goals |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for one in outcomes:
        used = "" if one.bar.used is None else f"{one.used:.2f}"
        if one.by_answers is not None:
            used += f" of the time, {one.by_answers:.2f} of the answers"
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


def _by_the_clock() -> str:
    """What takes longer than a job over sockets should, and what one request does, as Markdown."""
    with Emulator() as emulator, KimiVertexClient(base_url=emulator.base_url) as client:
        share = min(_turn(client) for _ in range(5)) / min(_request(client) for _ in range(5))
    long = run(Sliding(400), 16_000, seconds=20.0, concurrency=3200)
    used = len(long.answered) / ((long.answered[-1] - 20) * 80)

    queue = run(Queue(16), 2000, concurrency=2000, patience=5.0)
    late, kept = sum(at >= 7.5 for at in queue.late), 2000 * 0.2 / 16 / queue.answered[-1]

    class Dry(Pool):
        def admits(self, now: float, running: int, size: float) -> bool:
            return now - START >= 100

    dry = run(Dry(0), 20, concurrency=20)
    probes = [at for at in dry.refused if at > 0.1]  # the first ones were under way together
    pauses = [after - before for before, after in itertools.pairwise([*probes, dry.answered[0]])]
    with (
        Emulator(quota=Quota(requests=0)) as emulator,
        KimiVertexClient(base_url=emulator.base_url) as client,
    ):
        begun = time.monotonic()
        with suppress(RateLimitError):
            client.complete("Hi")
        waited, asked = time.monotonic() - begun, len(emulator.chat_requests)
    rows = (
        ("answers of 20 s, simulated", f"{long.at_start} refused at the start, {long.wasted():.1%} wasted, {used:.2f} used", "≤ 128, ≤ 2%, ≥ 0.90", long.at_start <= 128 and long.wasted() <= 0.02 and used >= 0.9),
        ("a queue of 16, 2,000 rows at once, each given up after 5 s, simulated", f"{queue.lost} lost, {len(queue.late)} given up, {late} of them later; {kept:.2f} used", "0 lost, ≤ 2% later, ≥ 0.85", not queue.lost and late <= 40 and kept >= 0.85),
        ("a drought of 100 s, simulated", f"{len(probes)} probes, {min(pauses):.1f} to {max(pauses):.1f} s apart; {len(dry.answered)} of 20 answered", "one at a time, ≤ 15 s", max(pauses) <= 15.3 and len(dry.answered) == 20),
        ("nothing but 429: one request", f"an error after {waited:.0f} s, asked {asked} times", "≤ 120 s", waited <= 121),
        ("never a 429: a turn's CPU", f"{share:.2%} of a request's", "≤ 1%", share <= 0.01),
    )  # fmt: skip
    lines = ["| Bars | | goals |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {found} | {goal}: {'met' if met else '**not met**'} |" for name, found, goal, met in rows
    ]
    return "\n".join(lines)


def everything() -> str:
    """Measure all bars, which takes a quarter of an hour; give them as Markdown."""
    # First: it compares CPU, of which a process needs more once the jobs have filled its memory.
    alone = _by_the_clock()
    return f"{table([measure(bar) for bar in BARS])}\n\n{alone}"


def write(found: str) -> None:
    """Put the figures into the page."""
    where = machine()
    text = f"Measured on {where['date']}: {where['machine']}, {where['python']}."
    pages.write(_PAGE, f"\n{text}\n\n{found}\n\n", _MARKER)


def _turn(client: KimiVertexClient) -> float:
    """CPU seconds of a turn that is given at once."""
    pacer, begun = client._shared.pacer(client.model), time.thread_time()  # noqa: SLF001 - what is measured
    for number in range(2000):
        turn: Any = pacer.turn(float(number), Pace(), 10.0)
        pacer.admitted(turn, float(number))
        pacer.begun(turn, float(number))
        pacer.gone(turn, float(number))
    return (time.thread_time() - begun) / 2000


def _request(client: KimiVertexClient) -> float:
    """CPU seconds of a request."""
    client.complete("Hi")
    begun = time.thread_time()
    for _ in range(50):
        client.complete("Hi")
    return (time.thread_time() - begun) / 50


async def _work(via: str, base_url: str, first: int, rows: int, concurrency: int) -> int:
    prompts = {number: f"Give the message of row {number} a label." for number in range(first, first + rows)}
    if via == "langchain":
        from langchain_kimi_vertex import ChatKimiVertex

        found: list[Any] = await ChatKimiVertex(base_url=base_url).abatch(
            list(prompts.values()), {"max_concurrency": concurrency}, return_exceptions=True
        )
        return sum(isinstance(answer, Exception) for answer in found)
    if via == "llama_index":
        from llama_index.core.async_utils import run_jobs

        from llama_index_kimi_vertex import KimiVertex

        llm = KimiVertex(base_url=base_url)
        return rows - len(
            await run_jobs([llm.acomplete(prompt) for prompt in prompts.values()], workers=concurrency)
        )
    async with KimiVertexClient(base_url=base_url) as client:
        answers: AsyncIterator[tuple[Any, Any]] = client.acomplete_many(
            prompts.items(), concurrency=concurrency
        )
        return sum([not isinstance(answer, Completion) async for _, answer in answers])


def main() -> int:
    """Measure the bars that are asked for; the status is 1 if one is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bars", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="BAR", help=f"default: all of {', '.join(bar.name for bar in BARS)}"
    )
    parser.add_argument("--write", action="store_true", help="put all into docs/bulk.md")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        via, base_url, *numbers = arguments.worker
        return min(1, asyncio.run(_work(via, base_url, *map(int, numbers))))
    if arguments.names:
        print(found := table([measure(bar) for bar in BARS if bar.name in arguments.names]))
    else:
        print(found := everything())
        if arguments.write:
            write(found)
    return int("not met" in found)


if __name__ == "__main__":
    raise SystemExit(main())
