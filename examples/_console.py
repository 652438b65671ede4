"""How the examples print: thinking in a panel that folds when the answer begins; plain text where it is not a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

from kimi_vertex import estimate_tokens
from kimi_vertex_emulator import Emulator, Script

_ANSWERS = Path(__file__).with_name("answers.yaml")
_ENDPOINT = "projects/demo/locations/us-central1/endpoints/1234567890"
# What could lead a request elsewhere than to the emulator.
_TARGETS = ("KIMI_VERTEX_", "GOOGLE_CLOUD_")
_GRAY = "bright_black"

console = Console(highlight=False)


@contextmanager
def kimi(*, live: bool | None = None) -> Iterator[None]:
    """Choose who answers, for as long as this lasts: an emulator, or the real service that the environment names.

    The real one only on request, because it costs money: whoever has logged in to Google may just want to see a demo.

    Args:
        live: Whether to ask the real service; by default, whether `--live` is among the program's arguments.
    """
    if "--live" in sys.argv if live is None else live:
        console.print("[bold]Talking to the real service[/] that your environment names.")
        yield
        return
    if os.environ.get("KIMI_VERTEX_EMULATOR_HOST"):
        yield
        return
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_TARGETS)}
    # A person wants to see it stream; a pipe does not wait.
    with Emulator(script=Script.from_yaml(_ANSWERS), pace=0.03 if console.is_terminal else 0.0) as emulator:
        os.environ.update(KIMI_VERTEX_EMULATOR_HOST=emulator.host, KIMI_VERTEX_ENDPOINT=_ENDPOINT)
        try:
            yield
        finally:
            del os.environ["KIMI_VERTEX_EMULATOR_HOST"], os.environ["KIMI_VERTEX_ENDPOINT"]
            os.environ.update(before)


def title(text: str) -> None:
    """Begin a section."""
    console.print()
    console.print(Rule(text, align="left", style="cyan", characters="─" if console.is_terminal else "-"))


class Screen:
    """Shows a conversation as it streams in."""

    def __init__(self) -> None:
        self._kind = ""
        self._text = ""
        self._began = 0.0
        self._live: Live | None = None

    def question(self, text: str) -> None:
        """Show what is asked."""
        self.end()
        console.print(f"[bold]You:[/] {text}")

    def thinking(self, text: str) -> None:
        """Show a piece of thinking."""
        self._show("thinking", text)

    def answer(self, text: str) -> None:
        """Show a piece of the answer; the thinking before it folds to one line."""
        self._show("answer", text)

    def note(self, text: str) -> None:
        """Show a line that is neither: a tool call, a result, a source."""
        self.end()
        console.print(Text(text, "green"), soft_wrap=not console.is_terminal)

    def end(self) -> None:
        """End what is being shown."""
        if self._live is not None:
            self._live.update(self._ended(), refresh=True)
            self._live.stop()
            self._live = None
        elif self._kind:
            console.print()
        self._kind = self._text = ""

    def _show(self, kind: str, text: str) -> None:
        if not text:
            return
        if kind != self._kind:
            self.end()
            self._kind, self._began = kind, time.monotonic()
            if console.is_terminal:
                self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")
                self._live.start()
            else:
                console.print(f"{kind}: ", end="")
        self._text += text
        if self._live is None:
            console.print(text, end="", markup=False, soft_wrap=True)
            sys.stdout.flush()
        else:
            self._live.update(self._growing(), refresh=True)

    def _growing(self) -> Panel | Markdown:
        if self._kind == "answer":
            return Markdown(self._text)
        return Panel(
            Text(self._text.strip(), f"italic {_GRAY}"),
            title="thinking",
            title_align="left",
            border_style=_GRAY,
        )

    def _ended(self) -> Text | Markdown:
        if self._kind == "answer":
            return Markdown(self._text)
        seconds, tokens = time.monotonic() - self._began, estimate_tokens(self._text)
        return Text(f"▸ thought for {seconds:.1f} s, about {tokens} tokens", _GRAY)
