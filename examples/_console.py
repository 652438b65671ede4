"""How the examples print: thinking dimmed, then the answer; plain text when the output is not a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from kimi_vertex_emulator import Emulator, Script

_ANSWERS = Path(__file__).with_name("answers.yaml")
_REAL_TARGET = "KIMI_VERTEX_ENDPOINT"

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def kimi() -> Iterator[None]:
    """Choose who answers: the service that the environment names, or an emulator for as long as this lasts."""
    named = os.environ.get(_REAL_TARGET)
    running = os.environ.get("KIMI_VERTEX_EMULATOR_HOST")
    if running:
        yield
    elif named:
        console.print(f"[bold]Talking to the real service[/] ({_REAL_TARGET}={named}).")
        yield
    else:
        console.print(
            "[bold]Talking to the local emulator:[/] its thoughts and answers are scripted, its wire format is the service's.\n"
            f"Set {_REAL_TARGET} to talk to Kimi itself."
        )
        # A person wants to see it stream; a pipe does not wait.
        script = Script.from_yaml(_ANSWERS)
        pause = 0.03 if console.is_terminal else 0.0
        with Emulator(script=script, pace=pause) as emulator:
            os.environ["KIMI_VERTEX_EMULATOR_HOST"] = emulator.host
            try:
                yield
            finally:
                del os.environ["KIMI_VERTEX_EMULATOR_HOST"]


def title(text: str) -> None:
    """Begin a section."""
    console.print()
    console.print(Rule(text, align="left", style="cyan", characters="─" if console.is_terminal else "-"))


class Screen:
    """Prints one turn as it streams in."""

    def __init__(self) -> None:
        self._kind = ""

    def question(self, text: str) -> None:
        """Print what is asked."""
        console.print(f"[bold]You:[/] {text}")

    def thinking(self, text: str) -> None:
        """Print a piece of thinking."""
        self._print("thinking", text, "dim italic")

    def answer(self, text: str) -> None:
        """Print a piece of the answer."""
        self._print("answer", text, "")

    def note(self, text: str) -> None:
        """Print a line that is neither: a tool call, a result, a source."""
        self.end()
        console.print(text, style="green", markup=False)

    def end(self) -> None:
        """End the line that is being printed."""
        if self._kind:
            console.print()
        self._kind = ""

    def _print(self, kind: str, text: str, style: str) -> None:
        if not text:
            return
        if kind != self._kind:
            self.end()
            self._kind = kind
            console.print(f"{kind}: ", style="dim" if style else "bold", end="")
        console.print(text, style=style, end="", markup=False)
        sys.stdout.flush()
