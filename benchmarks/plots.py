"""Pictures of a full run for the documentation, if matplotlib is installed."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Line

__all__ = ["draw"]

_PICTURES: Final = {
    "performance-deltas.png": ("CPU per delta, microseconds", ("core", "langchain", "llama-index")),
    "performance-tools.png": ("CPU per tool-call delta, microseconds", ("tools",)),
    "performance-linear.png": ("CPU per delta, short and long streams, microseconds", ("linear",)),
    "performance-many.png": ("CPU per delta, many streams on one loop, microseconds", ("many",)),
}


def draw(table: Mapping[str, list[Line]], where: Mapping[str, str], directory: Path) -> str:
    """Write the pictures whose sections were measured.

    Returns:
        What was done, in words.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        return "No plots: matplotlib is not installed."
    written = []
    for name, (title, sections) in _PICTURES.items():
        bars = {
            name: value
            for section in sections
            for line in table.get(section, ())
            for name, value in ((line.subject, line.value), (line.against, line.base))
            if value is not None
        }
        if bars:
            _bars(pyplot, bars, title, where, directory / name)
            written.append(name)
    return (
        f"Plots in {directory}: {', '.join(written)}."
        if written
        else "No plots: nothing to draw was measured."
    )


def _bars(pyplot: Any, bars: Mapping[str, float], title: str, where: Mapping[str, str], path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.32 * len(bars)), layout="constrained")
    drawn = axes.barh(list(bars), list(bars.values()), color=[_color(name) for name in bars])
    axes.bar_label(drawn, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.set_title(title, loc="left")
    axes.margins(y=0.01)
    run = f"{where['date']}; {where['python']}; {where['machine']}; {where['versions']}"
    axes.set_xlabel("\n".join(textwrap.wrap(run, 110)), fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _color(name: str) -> str:
    return "#2f6f9f" if "Kimi" in name else "#b9bec4"
