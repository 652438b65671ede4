"""Runs every Python snippet of the README and the docs against the emulator.

A comment on a line before the fence changes how a snippet runs:
`<!-- snippet: continues -->` runs it after the snippet before it, in the same namespace;
`<!-- snippet: skip=REASON -->` leaves it out, for those that need a Google account;
`<!-- file: PATH -->` makes the block, whatever its language, a file of a project whose tests pytest runs.
"""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from kimi_vertex_emulator import Emulator

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_SKIPPED = 2
# Answers to prompts of LlamaIndex's own components, which the emulator's brain does not read.
ANSWERS = {
    "relevant sub-questions": """```json
{"items": [{"sub_question": "When does the ferry leave?", "tool_name": "ferries"},
{"sub_question": "Who built the lighthouse?", "tool_name": "buildings"}]}
```""",
    "either YES or NO": "YES",
}
PLUGIN = ["-p", "kimi_vertex_emulator.pytest_plugin"]
_FILE = re.compile(r"^<!-- file: (?P<path>\S+) -->\n+^```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SNIPPET = re.compile(
    r"(?:^<!-- snippet: (?P<option>[^\n]*?) -->\n+)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass
class Snippet:
    """One runnable piece of a document: a block and the blocks that continue it."""

    path: Path
    line: int
    blocks: list[tuple[int, str]] = field(default_factory=list)
    skip: str | None = None

    @property
    def id(self) -> str:
        """Where to find it."""
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def code(self) -> str:
        """The code with each line where the document has it, so that a traceback names the document's line."""
        lines: list[str] = []
        for line, code in self.blocks:
            lines += [""] * (line - len(lines)) + code.splitlines()
        return "\n".join(lines)


def snippets_of(path: Path) -> Iterator[Snippet]:
    """The snippets of one document, in order."""
    text = path.read_text(encoding="utf-8")
    # A block that is a file keeps its lines, so that those of the others stay where they are.
    text = _FILE.sub(lambda found: "\n" * found[0].count("\n"), text)
    current: Snippet | None = None
    for match in _SNIPPET.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        option = match["option"] or ""
        if option == "continues":
            assert current is not None, f"{path.name}:{line} continues nothing"
            current.blocks.append((line, match["code"]))
            continue
        if current is not None:
            yield current
        assert not option or option.startswith("skip="), f"{path.name}:{line} unknown option {option!r}"
        skip = option.removeprefix("skip=") if option else None
        current = Snippet(path, line, [(line, match["code"])], skip)
    if current is not None:
        yield current


def files_of(path: Path) -> dict[str, str]:
    """The files that a document shows, by their paths."""
    return {match["path"]: match["text"] for match in _FILE.finditer(path.read_text(encoding="utf-8"))}


PROJECTS = [pytest.param(path, id=path.name) for path in DOCUMENTS if files_of(path)]
SNIPPETS = [snippet for path in DOCUMENTS for snippet in snippets_of(path)]
RUNNABLE = [pytest.param(snippet, id=snippet.id) for snippet in SNIPPETS if snippet.skip is None]


@pytest.fixture
def own_loop() -> Iterator[None]:
    """A current event loop that is closed at the end: LlamaIndex's synchronous wrappers leave the one they find open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)
    gc.collect()  # what a snippet leaves behind warns here, not in a later test


# LlamaIndex's agents use what pydantic and its workflow engine have deprecated; its memory has no `close`.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.* was deleted before being closed:ResourceWarning:aiosqlite")
@pytest.mark.parametrize("snippet", RUNNABLE)
def test_snippet_runs(
    snippet: Snippet,
    emulator: Emulator,
    own_loop: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What the document shows works as it stands, and prints something where it says print."""
    for prompt, answer in ANSWERS.items():
        emulator.on(prompt).always(answer)
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet.code, str(snippet.path), "exec"), {"__name__": "__main__"})
    assert ("print(" not in snippet.code) or capsys.readouterr().out.strip()


@pytest.mark.parametrize("document", PROJECTS)
def test_the_project_that_a_document_shows_passes(document: Path, tmp_path: Path) -> None:
    """Written down as they stand, its files are a project whose every test passes, by the plugin's entry point alone."""
    files = files_of(document)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    plugin = [] if any(e.name == "kimi_vertex" for e in entry_points(group="pytest11")) else PLUGIN
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio", *plugin]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)
    tests = sum(len(re.findall(r"^def test_", text, re.MULTILINE)) for text in files.values())
    assert f"{tests} passed" in done.stdout.splitlines()[-1], done.stdout + done.stderr


def test_a_test_in_a_document_is_run() -> None:
    """A function `test_...` that is not in a file would only be defined."""
    assert [
        snippet.id for snippet in SNIPPETS if re.search(r"^(async )?def test_", snippet.code, re.MULTILINE)
    ] == []


def test_every_python_block_is_seen() -> None:
    """No fence hides a snippet from this runner: indented, or with words after `python`."""
    fences = sum(
        len(re.findall(r"^\s*```py", p.read_text(encoding="utf-8"), re.MULTILINE)) for p in DOCUMENTS
    )
    files = sum(name.endswith(".py") for path in DOCUMENTS for name in files_of(path))
    assert fences == files + sum(len(snippet.blocks) for snippet in SNIPPETS)


def test_few_snippets_are_skipped() -> None:
    """A snippet is skipped with a reason, and that is rare."""
    skipped = [snippet for snippet in SNIPPETS if snippet.skip is not None]
    assert [snippet.id for snippet in skipped if not snippet.skip] == []
    assert len(skipped) <= MAX_SKIPPED


def test_readme_shows_both_frameworks() -> None:
    """The README has a runnable snippet for LangChain and one for LlamaIndex."""
    shown = "\n".join(
        snippet.code for snippet in SNIPPETS if snippet.path.name == "README.md" and not snippet.skip
    )
    assert "from langchain_kimi_vertex import ChatKimiVertex" in shown
    assert "from llama_index_kimi_vertex import KimiVertex" in shown
