"""`python -m benchmarks`: measure, print, and with `--full` draw."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks import bars, pages, plots, report
from benchmarks.probes import Probe
from benchmarks.rows import IMPORTS, Section, sections
from benchmarks.runner import Bench, Outcome

_QUICK_ROUNDS: Final = 5
_FULL_ROUNDS: Final = 7
_QUICK_SECONDS: Final = 95.0
"""After which share of this time a section begins no further round; what has begun takes a little longer."""


def _arguments() -> argparse.Namespace:
    names = ", ".join(section.name for section in sections(full=True))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures this project beside the frameworks, httpx and the peers that are installed.",
        epilog=f"Sections: {names}. Read ratios, not microseconds: absolute figures drift with the machine.",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="what fits into two minutes (default)")
    size.add_argument("--full", action="store_true", help="everything, fresh processes for each round, plots")
    parser.add_argument("--rows", metavar="SECTION,...", help="only these sections")
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help="exactly so many rounds (default: up to 5 in two minutes, with --full 7)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the figures into docs/measurements.md and docs/performance.md; with --full into docs/bulk.md, too",
    )
    return parser.parse_args()


def _chosen(full: bool, names: str | None) -> list[Section]:
    known = {section.name: section for section in sections(full=full)}
    wanted = [name.strip() for name in names.split(",")] if names else list(known)
    for name in wanted:
        if name not in known:
            raise SystemExit(f"No section is named {name!r}. There are: {', '.join(known)}.")
    return [known[name] for name in wanted]


def main() -> int:
    """Run what the command line asks for; the status is 1 if one of our clients failed."""
    arguments = _arguments()
    chosen = _chosen(arguments.full, arguments.rows)
    timed = not (arguments.full or arguments.rounds)
    rounds = arguments.rounds or (_FULL_ROUNDS if arguments.full else _QUICK_ROUNDS)
    where = report.machine()
    for name, value in where.items():
        print(f"{name + ':':<10}{value}")
    found: dict[Probe, Outcome] = {}
    table: dict[str, list[report.Line]] = {}
    start, spent = time.monotonic(), 0
    with Bench(fresh=arguments.full, progress=_Progress()) as bench:
        for section in chosen:
            spent += section.share
            until = start + _QUICK_SECONDS * spent / sum(each.share for each in chosen) if timed else math.inf
            # The second section about the same streams shows another figure of theirs.
            new = [probe for probe in section.probes if probe not in found]
            found |= bench.run(new, rounds, until=until, imports=IMPORTS)
            made = max(len(found[probe].samples) for probe in section.probes)
            table[section.name] = report.lines(section, found)
            print(f"\n{report.render(section, table[section.name], made)}", flush=True)
    jobs = bars.everything() if arguments.full else ""
    if jobs:
        print(f"\n{jobs}")
    print(f"\n{time.monotonic() - start:.0f} seconds. Medians of the rounds, with the range of their ratios.")
    if arguments.json:
        report.write_json(arguments.json, where, found, table)
    docs = Path(__file__).resolve().parent.parent / "docs"
    if arguments.full:
        print(plots.draw(table, where, docs))
    if arguments.write:
        pages.write(docs / "measurements.md", pages.document(chosen, table, where))
        pages.write(docs / "performance.md", pages.short(table, where))
        if jobs:
            bars.write(jobs)
    return int(
        any(line.problem and "lost" in line.problem for measured in table.values() for line in measured)
    )


class _Progress:
    """Shows on a terminal where the run is; silent elsewhere."""

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
