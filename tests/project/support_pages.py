"""The Python snippets of the pages: where they are, what they need, what they print.

`python -m tests.project.support_pages docs/langchain.md` runs a page's snippets and writes what they print below them.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from kimi_vertex_emulator import Emulator, Script

from ..support_installed import hidden_modules, slow_parts, steps_of
from ..support_scripts import Start, run_jobs

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = ROOT / ".ci" / "distributions"
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(path for path in DISTRIBUTIONS.glob("*/*") if path.suffix in {".md", ".mdx"}),
]
# What the distributions that hold dependencies only install.
_INSTEAD = {
    "langchain-kimi-vertex": "kimi-vertex[langchain]",
    "llama-index-llms-kimi-vertex": "kimi-vertex[llama-index]",
}
RUNNER = Path(__file__).with_name("run_snippets.py")
ANSWERS = Path(__file__).with_name("page_answers.yaml")
_FILE = re.compile(r"^<!-- file: (?P<path>\S+) -->\n+^```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SNIPPET = re.compile(
    r"(?:^ *<!-- snippet: (?P<option>[^\n]*?) -->\n+)?"
    r"^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```$"
    r"(?:\n\n(?P=indent)```text\n(?P<output>.*?)^(?P=indent)```$)?",
    re.MULTILINE | re.DOTALL,
)
_SHELL = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Result(TypedDict):
    """What a block did."""

    output: str
    error: str | None


@dataclass(frozen=True)
class Block:
    """One fence with Python in it."""

    line: int
    code: str
    output: str | None
    span: tuple[int, int]
    """Where the output stands in the page, or would stand."""
    indent: str


@dataclass
class Snippet:
    """One runnable piece of a page: a block and the blocks that continue it."""

    path: Path
    line: int
    blocks: list[Block] = field(default_factory=list)
    skip: str | None = None

    @property
    def id(self) -> str:
        """Where to find it."""
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.line}"


def text_of(path: Path) -> str:
    """A page without the blocks that are files; every other line stays where it is."""
    text = path.read_text(encoding="utf-8")
    return _FILE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def files_of(path: Path) -> dict[str, str]:
    """The files that a page shows, by their paths."""
    return {match["path"]: match["text"] for match in _FILE.finditer(path.read_text(encoding="utf-8"))}


def snippets_of(path: Path) -> Iterator[Snippet]:
    """The snippets of one page, in order."""
    text = text_of(path)
    current: Snippet | None = None
    for match in _SNIPPET.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        output = match["output"]
        end = match.end()
        span = (match.start("output"), match.end("output")) if output is not None else (end, end)
        shown = None if output is None else textwrap.dedent(output)
        block = Block(line, textwrap.dedent(match["code"]), shown, span, match["indent"])
        option = match["option"] or ""
        if option == "continues":
            assert current is not None, f"{path.name}:{line} continues nothing"
            current.blocks.append(block)
            continue
        if current is not None:
            yield current
        assert not option or option.startswith("skip="), f"{path.name}:{line} unknown option {option!r}"
        current = Snippet(path, line, [block], option.removeprefix("skip=") if option else None)
    if current is not None:
        yield current


def requirements_of(path: Path) -> list[str]:
    """What the page tells its reader to install: the arguments of each `pip install` in its shell blocks."""
    found: list[str] = []
    for shell in _SHELL.findall(path.read_text(encoding="utf-8")):
        for line in shell.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["pip", "install"]:
                packages = [word for word in words[2:] if not word.startswith("-")]
                found += [
                    _INSTEAD.get(word, re.sub(r"^\.(?=\[|$)", "kimi-vertex", word)) for word in packages
                ]
    return found


def run_pages(pages: Mapping[Path, Sequence[Snippet]]) -> dict[Path, list[list[Result]]]:
    """Run snippets of pages, each page in a process that sees only what the page installs."""
    groups: dict[tuple[str, ...], list[Path]] = {}
    for path in pages:
        groups.setdefault(slow_parts(requirements_of(path)), []).append(path)
    script = Script.from_yaml(ANSWERS)
    with ExitStack() as stack:
        jobs = [
            (steps_of(parts), [_start(path, pages[path], script, stack) for path in paths])
            for parts, paths in groups.items()
        ]
        ends = [end for job in run_jobs(jobs) for end in job]
    ordered = [path for paths in groups.values() for path in paths]
    for path, end in zip(ordered, ends, strict=True):
        assert end.status == 0, f"{path.name}: {end.err}"
    return {path: json.loads(end.out) for path, end in zip(ordered, ends, strict=True)}


def _start(path: Path, snippets: Sequence[Snippet], script: Script, stack: ExitStack) -> Start:
    emulator = stack.enter_context(Emulator(script=script))
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    job: dict[str, Any] = {
        "path": str(path),
        "snippets": [[[block.line, block.code] for block in snippet.blocks] for snippet in snippets],
    }
    environment = {
        "HOME": folder,
        "KIMI_VERTEX_EMULATOR_HOST": emulator.host,
        "KIMI_VERTEX_ENDPOINT": "projects/my-project/locations/us-central1/endpoints/1234567890",
        "NO_GCE_CHECK": "true",
    }
    hidden = hidden_modules(requirements_of(path))
    return Start(str(RUNNER), folder, environment, input=json.dumps(job), hidden=hidden)


def plain(output: str) -> str:
    """Printed text as a page shows it: without styles, and without blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in _STYLE.sub("", output).strip().splitlines())


def agrees(shown: str, printed: str) -> bool:
    """Whether a page's output is what was printed; `...` in the page stands for anything on a line, or for lines."""
    lines = [
        "(?s:.*?)" if line.strip() == "..." else re.escape(line).replace(re.escape("..."), r"[^\n]*")
        for line in plain(shown).splitlines()
    ]
    return re.fullmatch("\n".join(lines), plain(printed)) is not None


def rewrite(path: Path) -> None:
    """Put below each snippet what it prints, where the page does not say so yet."""
    text = path.read_text(encoding="utf-8")
    runnable = [snippet for snippet in snippets_of(path) if snippet.skip is None]
    changes: list[tuple[tuple[int, int], str]] = []
    for snippet, results in zip(runnable, run_pages({path: runnable})[path], strict=True):
        for block, result in zip(snippet.blocks, results, strict=True):
            if result["error"]:
                sys.stderr.write(f"{snippet.id}: {result['error']}\n")
                continue
            if block.output is not None and agrees(block.output, result["output"]):
                continue
            shown = textwrap.indent(plain(result["output"]) + "\n", block.indent)
            fence = f"\n\n{block.indent}```text\n{shown}{block.indent}```"
            if block.output is not None:
                changes.append((block.span, shown))
            elif shown.strip():
                changes.append((block.span, fence))
    for (start, end), new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name).resolve())
