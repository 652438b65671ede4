"""A process with one client, or with more: reads probes as JSON lines, answers samples as JSON lines."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace
from statistics import median, quantiles
from typing import Any

from benchmarks.clients import load
from benchmarks.clients.base import Case, Client, Sink
from benchmarks.limits import raise_file_limit
from benchmarks.probes import Probe, Sample
from benchmarks.scenarios import STAMP, Scenario, conversation

_WARM_UP = 8
_SHORT = 2_000
_MOST_REPEATS = 50


class Worker:
    """Carries out probes with one client, on the process's event loop."""

    def __init__(self, client: Client, runner: asyncio.Runner) -> None:
        self._client = client
        self._run = runner.run
        self._warm: set[Probe] = set()

    def measure(self, probe: Probe) -> Sample:
        """Carry out one probe.

        Raises:
            NotImplementedError: The client cannot do that.
        """
        case = Case(probe.scenario, probe.variant)
        self._warm_up(probe)
        gc.collect()
        if probe.operation in ("stream", "astream"):
            return self._drain(case, probe)
        if probe.operation in ("first", "afirst"):
            return self._first(case, probe)
        if probe.operation in ("lag", "alag"):
            return self._lag(case, probe)
        if probe.operation == "many":
            return self._run(self._many(case, probe))
        if probe.operation == "whole":
            return _repeat(lambda: self._client.whole(case), probe.seconds)
        prepared = self._client.prepare(conversation(probe.count))
        return _repeat(lambda: self._client.send(prepared, case), probe.seconds, scale=1e6 / probe.count)

    def _warm_up(self, probe: Probe) -> None:
        """What happens once in a process (lazy imports, first connection) belongs to no measurement."""
        if replace(probe, seconds=0.0) in self._warm:
            return
        self._warm.add(replace(probe, seconds=0.0))
        case = Case(probe.scenario, probe.variant)
        if probe.operation == "many":
            self._run(self._many(case, replace(probe, count=min(_WARM_UP, probe.count))))
        elif probe.operation == "whole":
            self._client.whole(case)
        elif probe.operation == "send":
            self._client.send(self._client.prepare(conversation(1)), case)
        elif probe.scenario.deltas <= _SHORT:
            self._read(probe, case, _ignore, _ignore)()
        else:
            small = Scenario(thinking=20, text=20)
            self._read(probe, Case(small, probe.variant), _ignore, _ignore)()

    def _read(self, probe: Probe, case: Case, think: Sink, say: Sink) -> Callable[[], None]:
        if not probe.operation.startswith("a"):
            return lambda: self._client.stream(case, think, say)
        return lambda: self._run(self._client.astream(case, think, say))

    def _drain(self, case: Case, probe: Probe) -> Sample:
        thinking: list[str] = []
        text: list[str] = []

        def once() -> None:
            thinking.clear()
            text.clear()
            read()

        read = self._read(probe, case, thinking.append, text.append)
        sample = _repeat(once, probe.seconds, scale=1e6 / case.scenario.deltas)
        return replace(sample, thinking=sum(map(len, thinking)), text=sum(map(len, text)))

    def _first(self, case: Case, probe: Probe) -> Sample:
        seen: list[float] = []
        waits: list[float] = []
        read = self._read(probe, case, _ignore, lambda _: seen.append(time.perf_counter()))
        until = time.perf_counter() + probe.seconds
        while time.perf_counter() < until or len(waits) < 5:
            seen.clear()
            start = time.perf_counter()
            read()
            waits.append((seen[0] - start) * 1e3)
        return Sample({"wall": median(waits)})

    def _lag(self, case: Case, probe: Probe) -> Sample:
        lags: list[float] = []
        self._read(probe, case, _ignore, _lag_into(lags))()
        return Sample({"p50": median(lags) / 1e3, "p99": quantiles(lags, n=100)[98] / 1e3})

    async def _many(self, case: Case, probe: Probe) -> Sample:
        lags: list[float] = []
        say = _lag_into(lags)
        before = time.process_time()
        tasks: list[Coroutine[Any, Any, None]] = [
            self._client.astream(case, _ignore, say) for _ in range(probe.count)
        ]
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        cpu = time.process_time() - before
        errors = sum(isinstance(end, BaseException) for end in ended)
        worst = quantiles(lags, n=100)[98] / 1e6 if len(lags) > 1 else float("nan")
        return Sample({"cpu": cpu * 1e6 / (probe.count * case.scenario.deltas), "p99": worst}, errors=errors)


def _ignore(_: str) -> None:
    pass


def _lag_into(lags: list[float]) -> Sink:
    def say(text: str) -> None:
        # A client may hold back the end of one delta until the next one has come.
        at = text.find(STAMP[0])
        if at >= 0:
            lags.append(time.monotonic_ns() - int(text[at + 1 : at + len(STAMP)]))

    return say


def _repeat(once: Callable[[], object], seconds: float, scale: float = 1e3) -> Sample:
    """Median CPU of one call, in seconds times `scale`."""
    costs: list[float] = []
    until = time.perf_counter() + seconds
    while not costs or (time.perf_counter() < until and len(costs) < _MOST_REPEATS):
        before = time.process_time()
        once()
        costs.append(time.process_time() - before)
    return Sample({"cpu": median(costs) * scale})


def main(origin: str) -> None:
    """Answer probes until the input ends."""
    raise_file_limit()
    # What a library prints must not end up between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    workers: dict[str, Worker] = {}
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            probe = Probe.from_json(json.loads(line))
            try:
                if probe.client not in workers:
                    workers[probe.client] = Worker(load(probe.client, origin), runner)
                    if len(workers) > 1:
                        gc.freeze()  # what one client has loaded is no garbage in a measurement of another
                answer = asdict(workers[probe.client].measure(probe))
            except NotImplementedError:
                answer = {"unable": True}
            except ImportError:
                answer = {"missing": "not installed"}
            except Exception as error:  # noqa: BLE001  # a failing client is a line in the report, not its end
                answer = {"failed": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
