"""What `complete_many` and `kimi-vertex batch` cost over many rows: `python -m benchmarks.jobs`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from kimi_vertex import KimiVertexClient
from kimi_vertex_emulator import ChatRequest, Emulator

__all__ = ["cpu", "memory", "start"]

_CONCURRENCY: Final = 64


def _spent(*command: str) -> tuple[float, float]:
    """CPU seconds and megabytes at the most of a process that has to end well."""
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}.")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _answer(_: ChatRequest) -> str:
    return "A short answer."


def _worker(way: str, base_url: str, rows: int) -> tuple[float, float]:
    return _spent("-m", "benchmarks.jobs", "--worker", way, base_url, str(rows))


def _batch(folder: Path, base_url: str, rows: int) -> tuple[float, float]:
    source = folder / f"{rows}.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps({'messages': _prompt(number)})}\n" for number in range(rows))
    where = ("--base-url", base_url, "--concurrency", str(_CONCURRENCY))
    return _spent("-m", "kimi_vertex", "batch", str(source), "-o", str(folder / f"{rows}.out.jsonl"), *where)


def _prompt(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Give the message of row {number} a label."}]


def cpu(rows: int = 4000) -> tuple[float, float]:
    """CPU milliseconds of a row beyond what a process of few rows needs: by `asyncio.gather`, and by the command."""
    few = rows // 10
    with Emulator(brain=_answer, journal_limit=10) as emulator, tempfile.TemporaryDirectory() as folder:
        gathered = [_worker("gather", emulator.base_url, number)[0] for number in (few, rows)]
        batched = [_batch(Path(folder), emulator.base_url, number)[0] for number in (few, rows)]
    least, most = ((long - short) * 1000 / (rows - few) for short, long in (gathered, batched))
    return least, most


def memory(rows: int = 100_000) -> tuple[float, float]:
    """Megabytes that `acomplete_many` needs at the most: for a tenth of the rows, and for all."""
    with Emulator(brain=_answer, journal_limit=10) as emulator:
        few, many = (_worker("many", emulator.base_url, number)[1] for number in (rows // 10, rows))
    return few, many


def start(rows: int = 1_000_000) -> float:
    """CPU seconds until the command knows that all of its rows are done."""
    from kimi_vertex_cli._lines import Lines, Output

    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name, "in.jsonl"), Path(name, "out.jsonl")
        with source.open("w", encoding="utf-8") as file:
            file.writelines(
                f'{{"custom_id": "row-{number}", "body": {{"messages": []}}}}\n' for number in range(rows)
            )
        lines = Lines(source)
        with out.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(lines.mark(number + 1))[:-1]}, }}\n" for number in range(rows))
        begun = time.process_time()
        with Output(out) as answers:
            lines = Lines(source)
            lines.settle(answers, "")
        assert lines.done == rows, "each row is marked as done"
        return time.process_time() - begun


async def _work(way: str, base_url: str, rows: int) -> None:
    prompts = ((number, _prompt(number)) for number in range(rows))
    async with KimiVertexClient(base_url=base_url) as client:
        if way == "many":
            async for _ in client.acomplete_many(prompts, concurrency=_CONCURRENCY):
                pass
            return
        places = asyncio.Semaphore(_CONCURRENCY)

        async def one(number: int) -> str:
            async with places:
                return (await client.acomplete(_prompt(number))).text

        await asyncio.gather(*map(one, range(rows)))


def main() -> int:
    """Print the figures, and 1 as the status if a goal is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    worker = parser.parse_args().worker
    if worker:
        asyncio.run(_work(worker[0], worker[1], int(worker[2])))
        return 0
    least, batch = cpu()
    few, many = memory()
    seconds = start()
    print(f"CPU of a row: {least:.2f} ms by gather, {batch:.2f} ms by the command: {batch / least:.2f} (1.5)")
    print(f"memory of acomplete_many: {few:.0f} MB for 10,000 rows, {many:.0f} MB for 100,000 (10 more)")
    print(f"the command's start over 1,000,000 rows that are done: {seconds:.1f} s of CPU (5)")
    return int(batch > 1.5 * least or many > few + 10 or seconds > 5)


if __name__ == "__main__":
    raise SystemExit(main())
