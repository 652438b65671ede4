"""Runs every Python snippet of the README and the docs, and compares what it prints with what the page shows.

A snippet sees only the packages that its page tells the reader to install. Its output follows in a `text` block, where
`...` stands for what differs from run to run; `make docs-output ARGS=PAGE` writes it. A comment on the line before the
fence changes how a snippet runs:
`<!-- snippet: continues -->` runs it after the snippet before it, in the same namespace;
`<!-- snippet: skip=REASON -->` leaves it out, for those that need a Google account;
`<!-- file: PATH -->` makes the block, whatever its language, a file of a project whose tests pytest runs.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ..support_installed import hidden_modules, run_pytest
from .support_pages import (
    DOCUMENTS,
    ROOT,
    Result,
    Snippet,
    agrees,
    files_of,
    plain,
    requirements_of,
    run_pages,
    snippets_of,
)

MAX_SKIPPED = 2
PLUGIN = ["-p", "kimi_vertex_emulator.pytest_plugin"]
PROJECTS = [pytest.param(path, id=path.name) for path in DOCUMENTS if files_of(path)]
SNIPPETS = [snippet for path in DOCUMENTS for snippet in snippets_of(path)]
RUNNABLE = [snippet for snippet in SNIPPETS if snippet.skip is None]


@cache
def results() -> dict[str, list[Result]]:
    """What each snippet did; those of a page run together, because starting Python for each would take minutes."""
    pages: dict[Path, list[Snippet]] = {}
    for snippet in RUNNABLE:
        pages.setdefault(snippet.path, []).append(snippet)
    ran = run_pages(pages)
    return {s.id: done for path in pages for s, done in zip(pages[path], ran[path], strict=True)}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("snippet", [pytest.param(snippet, id=snippet.id) for snippet in RUNNABLE])
def test_snippet_prints_what_the_page_shows(snippet: Snippet) -> None:
    """With the page's packages alone, the code works as it stands, and its output is the one below it."""
    for block, result in zip(snippet.blocks, results()[snippet.id], strict=True):
        assert not result["error"], result["error"]
        shown, printed = block.output or "", result["output"]
        assert agrees(shown, printed), (
            f"line {block.line} prints\n{plain(printed)}\nand the page shows\n{shown}"
        )


@pytest.mark.parametrize("path", sorted({snippet.path for snippet in RUNNABLE}), ids=lambda path: path.name)
def test_page_says_what_to_install(path: Path) -> None:
    """A page with snippets has a `pip install` for what they need."""
    assert requirements_of(path)


def test_a_package_that_a_page_does_not_name_is_hidden() -> None:
    """With one framework installed, the other one cannot be imported, nor can what only tests need."""
    hidden = hidden_modules(["kimi-vertex[langchain]"])
    assert {"llama_index.core", "h11_of_nobody", "rich", "pytest"} - set(hidden) == {"h11_of_nobody"}
    assert not {"langchain_core", "httpx", "orjson", "kimi_vertex"} & set(hidden)


def test_dots_stand_for_what_differs() -> None:
    """`...` covers the rest of a line, and alone on a line any number of lines; everything else has to be equal."""
    assert agrees("a ... s\n...\nend", "a 0.1 s\nx\ny\n\033[2mend\033[0m  \n")
    assert agrees("first\n...", "first\nsecond\nthird")
    assert not agrees("a\nend", "a\nb\nend")
    assert not agrees("", "printed")
    assert not agrees("shown", "")


@pytest.mark.parametrize("document", PROJECTS)
def test_the_project_that_a_document_shows_passes(document: Path, tmp_path: Path) -> None:
    """Written down as they stand, its files are a project whose every test passes, by the plugin's entry point alone."""
    files = files_of(document)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    plugin = [] if any(e.name == "kimi_vertex" for e in entry_points(group="pytest11")) else PLUGIN
    end = run_pytest(str(tmp_path), ["-q", "-W", "error", "-p", "no:asyncio", *plugin])
    tests = sum(len(re.findall(r"^def test_", text, re.MULTILINE)) for text in files.values())
    assert f"{tests} passed" in end.out.splitlines()[-1], end.out + end.err


def test_a_test_in_a_document_is_run() -> None:
    """A function `test_...` that is not in a file would only be defined."""
    tests = re.compile(r"^(async )?def test_", re.MULTILINE)
    assert [s.id for s in SNIPPETS if any(tests.search(block.code) for block in s.blocks)] == []


def test_every_python_block_is_seen() -> None:
    """No fence hides a snippet from this runner, for example with words after `python`."""
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
    shown = "\n".join(block.code for s in RUNNABLE if s.path == ROOT / "README.md" for block in s.blocks)
    assert "from langchain_kimi_vertex import ChatKimiVertex" in shown
    assert "from llama_index_kimi_vertex import KimiVertex" in shown
