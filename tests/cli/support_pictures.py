"""The pictures of the commands in docs/command.md, made from what a terminal shows: `python -m tests.cli.support_pictures`."""

from __future__ import annotations

import inspect
import os
import re
import sys
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from kimi_vertex_emulator import Deployment, Emulator, Turn

from .support_cli import on_terminal

DOCS: Final = Path(__file__).parents[2] / "docs"
HERE: Final = "projects/acme/locations/us-central1/endpoints"
WIDTH: Final = 100
_MOVE: Final = re.compile(r"\x1b\[(\d*)A|\x1b\[2K|\x1b\[\?25[lh]|\r|\n")
# Rich's own fetches a font from elsewhere.
_FORMAT: Final = re.sub(
    r"@font-face \{\{.*?\}\}\s*",
    "",
    inspect.signature(Console.export_svg).parameters["code_format"].default,
    flags=re.DOTALL,
)


def screen(written: str) -> str:
    """What is left on a terminal of text that moves the cursor up and clears lines."""
    lines, row, end = [""], 0, 0
    for move in _MOVE.finditer(written):
        lines[row] += written[end : move.start()]
        end = move.end()
        if move[0] == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif move[0] == "\x1b[2K":
            lines[row] = ""
        elif move[0].endswith("A"):
            row = max(0, row - int(move[1] or 1))
    lines[row] += written[end:]
    return "\n".join(lines).rstrip()


def picture(command: str, *arguments: str) -> str:
    """The SVG of a command and what it shows."""
    console = Console(
        record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text.assemble(("$ ", "green"), (f"kimi-vertex {command}", "bold")))
    console.print(Text.from_ansi(screen(on_terminal(*arguments, columns=WIDTH))))
    return console.export_svg(title="kimi-vertex", code_format=_FORMAT, unique_id="kimi-vertex")


def main() -> int:
    """Make the pictures, with an emulator for Google and for Kimi."""
    for name in [
        n
        for n in os.environ
        if re.match("GOOGLE_|CLOUDSDK_|KIMI_|SSL_|REQUESTS_|.*_proxy$", n, re.IGNORECASE)
    ]:
        del os.environ[name]
    deployments = [
        Deployment(f"{HERE}/1234567890", display_name="kimi-prod", flags=("--reasoning-parser=kimi_k2",)),
        Deployment(
            f"{HERE}/2345678901", display_name="kimi-nightly", model="moonshotai/Kimi-K2.6", state="zero"
        ),
    ]
    with Emulator(port=8085, deployments=deployments, pace=0.01) as emulator:
        os.environ |= {
            "KIMI_VERTEX_EMULATOR_HOST": emulator.host,
            "KIMI_VERTEX_ENDPOINT": f"{HERE}/1234567890",
        }
        pictures = {"doctor": picture("doctor", "doctor")}
        emulator.deployments = [Deployment(f"{HERE}/1234567890", display_name="kimi-prod"), deployments[1]]
        emulator.enqueue(
            Turn(
                thinking="Sunlight has all colors. Air scatters short waves more than long ones, with the fourth power of "
                "the wave's length; violet is scattered more still, but there is less of it, and eyes see it less.",
                text="Air scatters **blue** light about four times as much as red:\n\n1. Sunlight holds all colors.\n"
                "2. Short waves are scattered most.\n3. So blue reaches you from all over the sky.",
            )
        )
        question = "Why is the sky blue?"
        pictures["ask"] = picture(f'ask "{question}"', "ask", question)
        pictures["endpoints"] = picture(
            "endpoints --location us-central1", "endpoints", "--location", "us-central1"
        )
    for name, svg in pictures.items():
        (DOCS / f"command-{name}.svg").write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
