"""Runs the rules against the clients, each probe bounded in time, and writes the table."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.conformance.peers import LABELS, installed, load
from benchmarks.conformance.rules import RULES, Make, Rule, Verdict

__all__ = ["Findings", "bounded", "check", "document", "insert"]

Findings: TypeAlias = Mapping[str, Mapping[str, Verdict] | None]
"""The verdicts by rule of each client; `None` for one that is not installed."""

_SECONDS: Final = 25.0
_MARKER: Final = "<!-- python -m benchmarks.conformance -->"
_MISSING: Final = "not installed"


def check(
    names: Iterable[str], rules: Iterable[str] = RULES, *, progress: Callable[[str], object] = lambda _: None
) -> Findings:
    """Ask every client about every rule, one after the other.

    Args:
        names: Which clients, by their names in `LABELS`.
        rules: Which rules, by their names in `RULES`; default all.
        progress: Called with what is being probed; by default nothing is.
    """
    wanted = list(rules)
    found: dict[str, Mapping[str, Verdict] | None] = {}
    for name in names:
        try:
            make: Make = load(name)
            make("http://127.0.0.1:9").close()
        except ImportError:
            found[name] = None
            continue
        verdicts = {}
        for rule in wanted:
            progress(f"{LABELS[name]}: {rule}")
            verdicts[rule] = bounded(RULES[rule], make)
        found[name] = verdicts
    return found


def bounded(rule: Rule, make: Make, seconds: float = _SECONDS) -> Verdict:
    """The verdict of one probe; a client that does not come back in time, or breaks the probe, does not pass."""
    verdicts: list[Verdict] = []

    def run() -> None:
        try:
            verdicts.append(rule.probe(make))
        except Exception as error:  # noqa: BLE001 - whatever a client raises is a finding
            verdicts.append(Verdict("no", type(error).__name__))

    # A thread cannot be stopped, and one that hangs must not keep the process alive.
    thread = threading.Thread(target=run, name="conformance", daemon=True)
    thread.start()
    thread.join(seconds)
    return verdicts[0] if verdicts else Verdict("no", f"nothing within {seconds:.0f} s")


def document(found: Findings) -> str:
    """The findings in Markdown: when and with what, the table, and the sum for each client."""
    rules = [rule for rule in RULES if any(verdicts and rule in verdicts for verdicts in found.values())]
    lines = [
        _when(found),
        "",
        _row("rule", (LABELS[name] for name in found)),
        _row("---", ("---" for _ in found)),
    ]
    for rule in rules:
        cells = (str(verdicts[rule]) if verdicts else _MISSING for verdicts in found.values())
        lines.append(_row(RULES[rule].title, cells))
    lines.append(_row("**kept**", (_sum(verdicts) for verdicts in found.values())))
    return "\n".join(lines) + "\n"


def insert(page: Path, text: str, marker: str = _MARKER) -> None:
    """Put the findings into a page, in place of what is between its two markers.

    Raises:
        ValueError: The page has not exactly these two.
    """
    before, _, after = page.read_text(encoding="utf-8").split(marker)
    page.write_text(f"{before}{marker}\n{text}{marker}{after}", encoding="utf-8")


def _when(found: Findings) -> str:
    packages = sorted({load(name).package for name, verdicts in found.items() if verdicts is not None})
    versions = ", ".join(f"{package} {installed(package)}" for package in packages)
    day = datetime.now(UTC).date().isoformat()
    return f"Run on {day}, Python {platform.python_version()}, with {versions}."


def _sum(verdicts: Mapping[str, Verdict] | None) -> str:
    if not verdicts:
        return _MISSING
    return f"{sum(verdict.word == 'yes' for verdict in verdicts.values())} of {len(verdicts)}"


def _row(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"
