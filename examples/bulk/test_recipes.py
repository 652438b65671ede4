"""The recipes of docs/bulk.md on their real engines, with a worker killed: every row once in the output.

Skipped where an engine is not installed; `make recipes` installs them all.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from kimi_vertex_emulator import ChatRequest, Emulator, Quota, Turn

RECIPES = Path(__file__).parent
ROWS = 200


def answer(chat: ChatRequest) -> Turn:
    return Turn(text=f"label of {chat.prompt_text.partition('row ')[2].partition(':')[0]}", delay=0.05)


def descendants(parent: int) -> list[tuple[int, str]]:
    """Every process below one, with its command line."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, new = set[int](), {parent}
    while new:
        found |= new
        new = {one for one, above in parents.items() if above in new} - found
    return [(one, words(one)) for one in found - {parent}]


def words(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def keys(out: Path) -> Counter[str]:
    # What a killed run of Beam's has not committed lies in folders of its own.
    committed = [
        path for path in out.rglob("*.json*") if path.name[0] != "." and "beam-temp" not in str(path)
    ]
    files = [out] if out.is_file() else committed
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert all(line["label"] == f"label of {line['key']}" for line in lines)
    return Counter(line["key"] for line in lines)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("recipe", "engine", "worker", "more"),
    [
        ("langchain_batch", "langgraph", None, ()),
        ("langchain_batch", "langgraph", None, ("--graph",)),
        ("llama_index_pipeline", "llama_index", None, ()),
        ("ray_data", "ray", "ray::MapWorker", ()),
        ("spark_map", "pyspark", "pyspark.daemon", ()),
        ("beam_inference", "apache_beam", None, ()),
    ],
    ids=["LangChain", "LangGraph", "LlamaIndex", "Ray Data", "Spark", "Beam"],
)
def test_a_killed_worker_loses_and_doubles_nothing(
    recipe: str, engine: str, worker: str | None, more: tuple[str, ...], tmp_path: Path
) -> None:
    """200 rows under a quota, a worker (or, where there is none, the process) killed in the middle, and a second run."""
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    source, out = tmp_path / "in.jsonl", tmp_path / "out"
    rows = [{"key": f"k{number:03}", "text": "Where is my parcel?"} for number in range(ROWS)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Emulator(brain=answer, quota=Quota(requests=40, window=1.0), journal_limit=10) as emulator:
        answered: list[int] = []
        emulator.watch(lambda exchange: answered.append(1) if exchange.status == 200 else None)
        environment = {
            **os.environ,
            "KIMI_VERTEX_BASE_URL": emulator.base_url,
            "PYSPARK_PYTHON": sys.executable,
        }
        command = [sys.executable, str(RECIPES / f"{recipe}.py"), str(source), str(out), *more]
        process = subprocess.Popen(command, env=environment)
        while len(answered) < ROWS * 0.6 and process.poll() is None:
            time.sleep(0.02)
        victims = [one for one, line in descendants(process.pid) if worker and worker in line] or [
            process.pid
        ]
        os.kill(max(victims), signal.SIGKILL)
        if worker is None:
            process.wait()
        else:
            assert process.wait() == 0
        subprocess.run(command, env=environment, check=True)
    assert keys(out) == Counter(row["key"] for row in rows)
    assert len(answered) < 2 * ROWS
