"""Plays `make demo` in a terminal of 100 columns and writes what it shows as an animated SVG: `make pictures`.

Each line of the screen is drawn once for each time that it is shown, and switched on and off by the picture's own clock
(SMIL), so the file needs no script and plays wherever a browser shows an SVG.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import pyte

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURE: Final = ROOT / "docs" / "demo.svg"
COLUMNS, ROWS = 100, 36
CELL, LINE = 8.4, 18  # of a monospaced font of 14 px
STILL: Final = 3.0  # seconds for which the end is shown
LONGEST: Final = 0.8  # seconds without a change, as when a program loads what it needs
NBSP: Final = "\N{NO-BREAK SPACE}"  # viewers join other blanks
COLORS: Final = {
    "default": "#d8dee9",
    "brightblack": "#8a93a5",
    "red": "#e06c75",
    "green": "#98c379",
    "cyan": "#56b6c2",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "brown": "#e5c07b",
}

Shown = tuple[float, dict[int, str]]


def main() -> None:
    PICTURE.write_text(
        draw(list(play([sys.executable, str(ROOT / "examples" / "demo.py")]))), encoding="utf-8"
    )
    sys.stdout.write(f"==> {PICTURE.relative_to(ROOT)}, {PICTURE.stat().st_size / 1024:.0f} KB\n")


def play(command: list[str]) -> Iterator[Shown]:
    """Run a program in a terminal, and yield its screen, as rows of SVG, whenever it has changed."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    decode = codecs.getincrementaldecoder("utf-8")().decode
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": ""}
    program = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment)
    os.close(inside)
    clock, last = 0.0, time.monotonic()
    while chunk := _read(terminal):
        stream.feed(decode(chunk))
        clock, last = clock + min(time.monotonic() - last, LONGEST), time.monotonic()
        yield clock, {row: _row(screen, row) for row in range(ROWS)}
    program.wait()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the program has ended
        return b""


def _row(screen: pyte.Screen, row: int) -> str:
    """A line of the screen as `tspan`s; empty if nothing is written there."""
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    parts = []
    column = 0
    for style, group in groupby(cells, key=lambda cell: (cell.fg, cell.bold, cell.italics)):
        text = "".join(cell.data for cell in group)
        if text.strip():
            color, bold, italic = style
            marks = f' fill="{COLORS.get(color, COLORS["default"])}"'
            marks += ' font-weight="bold"' if bold else ""
            marks += ' font-style="italic"' if italic else ""
            parts.append(f'<tspan x="{column * CELL:.1f}"{marks}>{escape(text.replace(" ", NBSP))}</tspan>')
        column += len(text)
    return "".join(parts)


def draw(frames: list[Shown]) -> str:
    """One picture of all frames."""
    end = frames[-1][0] + STILL
    width, height = COLUMNS * CELL + 32, ROWS * LINE + 32
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">',
        "<title>make demo: Kimi thinks, a general client is refused, a query engine cites</title>",
        f'<rect width="100%" height="100%" rx="8" fill="#1e222a"><animate id="clock" attributeName="x" begin="0s;clock.end" dur="{end:.2f}s" from="0" to="0"/></rect>',
        f'<g transform="translate(16 {16 + 13})" font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="14">',
    ]
    for row in range(ROWS):
        for content, start, stop in _times(frames, row, end):
            shown = f'<set attributeName="visibility" to="visible" begin="clock.begin+{start:.2f}s" end="clock.begin+{stop:.2f}s"/>'
            # A viewer that plays nothing shows the last frame.
            still = "" if stop == end else ' visibility="hidden"'
            if stop == end:
                shown = (
                    f'<set attributeName="visibility" to="hidden" begin="clock.begin" end="clock.begin+{start:.2f}s"/>'
                    if start
                    else ""
                )
            lines.append(f'<text y="{row * LINE}"{still}>{content}{shown}</text>')
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _times(frames: list[Shown], row: int, end: float) -> Iterator[tuple[str, float, float]]:
    """What a row shows, from when, and until when."""
    changes = [
        (content, next(group)[0]) for content, group in groupby(frames, key=lambda frame: frame[1][row])
    ]
    stops = [start for _, start in changes[1:]] + [end]
    for (content, start), stop in zip(changes, stops, strict=True):
        if content and stop - start > 0.02:
            yield content, start, stop


if __name__ == "__main__":
    main()
