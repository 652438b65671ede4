"""`python -m benchmarks.conformance.suites`: run other mocks' client suites against the emulator, as a Markdown table.

The suites come from clones that the caller made; nothing of them is kept here. They expect a server where their own
mock would listen, and get the emulator there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.conformance.table import insert
from kimi_vertex_emulator import DIALECTS, Dialect, Emulator

__all__ = ["SUITES", "Outcome", "Suite", "document", "run"]

MARKER: Final = "<!-- python -m benchmarks.conformance.suites -->"
_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a suite's tests."""

    passed: int
    failed: tuple[str, ...]
    """Names of the tests that failed; those that were left out are not among them."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite of another project and how it is run."""

    repository: str
    client: str
    """Which client talks in it."""
    port: int
    """Where its server is expected."""
    command: Callable[[Path], Sequence[str]]
    """The command, run in the clone, that writes its outcome to a JUnit file."""
    environment: Callable[[Path], Mapping[str, str]] = lambda _: {}
    """What it needs in its environment, given a folder for files."""


def _pytest(report: Path) -> Sequence[str]:
    options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    return [sys.executable, "-m", "pytest", "tests/test_vllm", *options]


def _vitest(report: Path) -> Sequence[str]:
    tests = "src/__tests__/drift/openai-chat.drift.ts"
    options = ["--config", "vitest.config.drift.ts", "--reporter=junit", f"--outputFile={report}"]
    # The others of this file ask aimock itself.
    return ["npx", "--no-install", "vitest", "run", *options, "-t", "Completions drift", tests]


def _redirected(folder: Path) -> Mapping[str, str]:
    """Node with `fetch` bent: what the suite asks of OpenAI's API, the emulator answers."""
    script = folder / "redirect.mjs"
    script.write_text(
        "const real = globalThis.fetch;\n"
        "globalThis.fetch = (url, options) =>\n"
        '  real(String(url).replace("https://api.openai.com", "http://127.0.0.1:8000"), options);\n',
        encoding="utf-8",
    )
    return {"NODE_OPTIONS": f"--import {script}", "OPENAI_API_KEY": "none"}


SUITES: Final[Mapping[str, Suite]] = {
    "openmockllm": Suite("etalab-ia/OpenMockLLM", "openai SDK, sync and async", 8000, _pytest),
    "aimock": Suite(
        "CopilotKit/aimock", "fetch, compared with the openai SDK's types", 8000, _vitest, _redirected
    ),
}


def run(suite: Suite, clone: Path, dialect: Dialect) -> Outcome:
    """Run a suite against an emulator that speaks a dialect.

    Raises:
        RuntimeError: The suite left no report; the text is what it printed.
    """
    with tempfile.TemporaryDirectory() as folder, Emulator(port=suite.port, dialect=dialect):
        report = Path(folder, "report.xml")
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **suite.environment(Path(folder))}
        done = subprocess.run(
            suite.command(report),
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        if not report.exists():
            raise RuntimeError(f"{suite.repository} left no report:\n{done.stdout}{done.stderr}")
        return _read(report)


def _read(report: Path) -> Outcome:
    cases = list(ET.parse(report).iter("testcase"))
    tried = [case for case in cases if case.find("skipped") is None]
    failed = [case for case in tried if case.find("failure") is not None or case.find("error") is not None]
    return Outcome(len(tried) - len(failed), tuple(sorted(str(case.get("name")) for case in failed)))


def document(suite: Suite, commit: str, outcomes: Mapping[Dialect, Outcome]) -> str:
    """The rows of a suite in Markdown, dialects with the same outcome in one."""
    groups: dict[Outcome, list[str]] = {}
    for dialect, outcome in outcomes.items():
        groups.setdefault(outcome, []).append(dialect)
    link = f"[{suite.repository}](https://github.com/{suite.repository}) at {commit}"
    return "".join(
        f"| {link} | {suite.client} | {_names(dialects, outcomes)} | {outcome.passed} "
        f"| {', '.join(f'`{name}`' for name in outcome.failed) or 'none'} |\n"
        for outcome, dialects in groups.items()
    )


def _names(dialects: Sequence[str], outcomes: Mapping[Dialect, Outcome]) -> str:
    if len(dialects) == len(outcomes) > 1:
        return "every dialect"
    if len(dialects) > len(outcomes) / 2:
        others = [f"`{name}`" for name in outcomes if name not in dialects]
        return f"every dialect but {', '.join(others)}"
    return ", ".join(f"`{name}`" for name in dialects)


def _commit(clone: Path) -> str:
    command = ["git", "-C", str(clone), "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conformance.suites",
        description="Runs other mocks' client suites against the emulator, from clones that you made.",
        epilog=f"Suites: {', '.join(f'{n} ({s.repository})' for n, s in SUITES.items())}. What each needs "
        "is in docs/compatibility.md.",
    )
    parser.add_argument("clones", nargs="+", metavar="NAME=CLONE", help="a suite and where its clone is")
    parser.add_argument("--dialects", default=",".join(DIALECTS), help="which of them (default: all)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into a page too")
    arguments = parser.parse_args()
    dialects: list[Dialect] = [name for name in DIALECTS if name in arguments.dialects.split(",")]
    text = f"Run on {datetime.now(UTC).date().isoformat()}.\n\n"
    text += "| suite | client | dialect | passed | failed |\n| --- | --- | --- | --- | --- |\n"
    for given in arguments.clones:
        name, _, clone = given.partition("=")
        if name not in SUITES:
            parser.error(f"no suite is named {name!r}; there are {', '.join(SUITES)}")
        path = Path(clone).resolve()
        outcomes: dict[Dialect, Outcome] = {one: run(SUITES[name], path, one) for one in dialects}
        text += document(SUITES[name], _commit(path), outcomes)
    print(text, end="")
    if arguments.write:
        insert(arguments.write, text, MARKER)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
