"""How an answer is shown while it comes: rendered on a terminal, plain in a pipe."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Final, Literal, Protocol

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.panel import Panel
from rich.status import Status
from rich.text import Text

from kimi_vertex import estimate_tokens
from kimi_vertex_cli._console import GRAY, errors, output, printable

__all__ = ["Screen", "Thinking", "make_screen"]

Thinking = Literal["fold", "show", "hide"]

_REFRESH: Final = 1 / 15
"""Seconds between two looks of what grows on a terminal."""
_LINES: Final = 8
"""How much of the thinking is in sight while it grows."""


class Screen(Protocol):
    """What is told of an answer, piece by piece."""

    def wait(self, text: str) -> None:
        """Nothing has come yet; the text says what is waited for."""

    def thinking(self, text: str) -> None:
        """A piece of thinking."""

    def text(self, text: str) -> None:
        """A piece of the answer."""

    def note(self, text: str) -> None:
        """Something beside thinking and answer: a call, its result."""

    def end(self) -> None:
        """The answer is over, or broke off."""


def make_screen(thinking: Thinking) -> Screen:
    """The screen that fits to where the output goes."""
    console = output()
    return _Terminal(console, thinking) if console.is_terminal else _Pipe(thinking)


class _Terminal:
    def __init__(self, console: Console, thinking: Thinking) -> None:
        self._console = console
        self._how: Thinking = thinking
        self._kind: Literal["", "wait", "thinking", "text"] = ""
        self._status: Status | None = None
        self._live: Live | None = None
        self._buffer = ""
        """What is in sight and still grows."""
        self._thought = ""
        self._since = self._refreshed = 0.0

    def wait(self, text: str) -> None:
        if self._status is None:
            self.end()
            self._kind = "wait"
            self._status = self._console.status(Text(printable(text), GRAY), spinner_style=GRAY)
            self._status.start()
        else:
            self._status.update(Text(printable(text), GRAY))

    def thinking(self, text: str) -> None:
        if self._how == "hide":
            if self._kind != "wait":
                self.wait("thinking")
            return
        self._begin("thinking")
        text = printable(text)
        self._thought += text
        if self._how == "show":
            self._console.print(Text(text, f"italic {GRAY}"), end="", soft_wrap=True)
            return
        self._buffer = "\n".join((self._buffer + text).split("\n")[-_LINES:])[-_LINES * self._console.width :]
        self._update()

    def text(self, text: str) -> None:
        self._begin("text")
        self._buffer += printable(text)
        done, self._buffer = _blocks(self._buffer)
        if done and self._live is not None:
            self._live.update("")
            self._live.console.print(Markdown(done), "")
        self._update()

    def note(self, text: str) -> None:
        self.end()
        self._console.print(Text(printable(text), "green"))

    def end(self) -> None:
        kind, self._kind = self._kind, ""
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._live is not None:
            self._live.update(self._folded() if kind == "thinking" else Markdown(self._buffer), refresh=True)
            self._live.stop()
            self._live = None
        elif kind == "thinking":
            self._console.print("\n")
        self._buffer = self._thought = ""

    def _begin(self, kind: Literal["thinking", "text"]) -> None:
        if kind == self._kind:
            return
        self.end()
        self._kind, self._since, self._refreshed = kind, time.monotonic(), 0.0
        if kind == "text" or self._how == "fold":
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()

    def _update(self) -> None:
        now = time.monotonic()
        if self._live is None or now - self._refreshed < _REFRESH:
            return
        self._refreshed = now
        if self._kind == "text":
            # Lines above the window cannot be drawn again: what is in sight is its end.
            lines = self._buffer.split("\n")[-max(4, self._console.height - 4) :]
            self._live.update(Markdown("\n".join(lines)), refresh=True)
        else:
            body = Text(self._buffer.strip(), f"italic {GRAY}")
            panel = Panel(body, title="thinking", title_align="left", border_style=GRAY)
            self._live.update(panel, refresh=True)

    def _folded(self) -> Text:
        seconds, tokens = time.monotonic() - self._since, estimate_tokens(self._thought)
        return Text(f"▸ thought for {seconds:.1f} s, about {tokens:,} tokens", GRAY)


class _Pipe:
    """Standard output gets the answer and nothing else."""

    def __init__(self, thinking: Thinking) -> None:
        self._errors = errors()
        self._thinks = thinking == "show" or (thinking == "fold" and self._errors.is_terminal)
        self._kind = ""

    def wait(self, text: str) -> None:
        return

    def thinking(self, text: str) -> None:
        if not self._thinks:
            return
        self._begin("thinking")
        self._errors.print(Text(printable(text), GRAY), end="", soft_wrap=True)

    def text(self, text: str) -> None:
        self._begin("text")
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        self.end()
        self._errors.print(Text(printable(text)), soft_wrap=True)

    def end(self) -> None:
        self._begin("")

    def _begin(self, kind: str) -> None:
        if kind == self._kind:
            return
        if self._kind == "text":
            with suppress(BrokenPipeError):
                sys.stdout.write("\n")
                sys.stdout.flush()
        elif self._kind == "thinking":
            self._errors.print()
        self._kind = kind


def _blocks(text: str) -> tuple[str, str]:
    """Cut off the blocks of Markdown that are complete: what stands before the last empty line outside of code."""
    end, inside = 0, False
    position = 0
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith(("```", "~~~")):
            inside = not inside
        position += len(line)
        if not inside and line == "\n":
            end = position
    return text[:end].rstrip("\n"), text[end:]
