"""The tables that a run writes into the documentation, so that no figure there is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.report import Line, figure
from benchmarks.rows import Section

__all__ = ["MARKER", "document", "short", "write"]

MARKER: Final = "<!-- python -m benchmarks --full --write -->"
# What a user wants to know: the section, what is measured, and beside what.
_SHORT: Final = (
    ("langchain", "ChatKimiVertex", "ChatOpenAI"),
    ("langchain", "ChatKimiVertex", "LangChain floor"),
    ("llama-index", "KimiVertex", "OpenAILike"),
    ("core", "KimiVertexClient", "httpx + httpx-sse + json"),
)


def document(sections: Sequence[Section], table: Mapping[str, list[Line]], where: Mapping[str, str]) -> str:
    """Every section as Markdown: the rows that have a goal; a run prints the others, too."""
    parts = [_when(where)]
    for section in sections:
        lines = [line for line in table[section.name] if line.goal is not None]
        if not lines:
            continue
        excess = any(row.comparison == "excess" for row in section.rows)
        head = f"| {section.unit} | | against | | {'more' if excess else 'ratio'} | goal | |"
        rows = [_row(line, excess=excess) for line in lines]
        parts.append("\n".join([f"### {section.title}", "", head, f"| {' | '.join(['---'] * 7)} |", *rows]))
    return "\n\n".join(parts) + "\n"


def short(table: Mapping[str, list[Line]], where: Mapping[str, str]) -> str:
    """The few rows that users ask for."""
    rows = [
        f"| `{line.subject}` | {figure(line.value)} | {line.against} | {figure(line.base)} | {line.result:.2f} |"
        for name, subject, against in _SHORT
        for line in table.get(name, [])
        if (line.subject, line.against) == (subject, against) and line.result is not None
    ]
    head = ["| CPU per delta, µs | | beside | | ratio |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([_when(where), "", *head, *rows]) + "\n"


def write(page: Path, text: str, marker: str = MARKER) -> None:
    """Put a table into a page, in place of what is between its two markers."""
    before, _, after = page.read_text(encoding="utf-8").split(marker)
    page.write_text(f"{before}{marker}\n{text}{marker}{after}", encoding="utf-8")


def _when(where: Mapping[str, str]) -> str:
    return f"Measured on {where['date']}: {where['machine']}, {where['python']}; {where['versions']}."


def _row(line: Line, *, excess: bool) -> str:
    if line.result is None or line.spread is None:
        return f"| {line.subject} | | {line.against} | | {line.problem or ''} | | |"

    def form(number: float) -> str:
        return f"{number:+.0f}" if excess else f"{number:.2f}"

    low, high = line.spread
    goal = "" if line.goal is None else form(line.goal)
    verdict = {True: "met", False: "**not met**", None: ""}[line.met]
    result = f"{form(line.result)} ({form(low)} to {form(high)})"
    cells = (line.subject, figure(line.value), line.against, figure(line.base), result, goal, verdict)
    return f"| {' | '.join(cells)} |"
