"""Commands in processes of their own, on a terminal or not, and where they ask."""

from __future__ import annotations

import os
import pty
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..support_installed import steps_of
from ..support_scripts import End, Start, Step, run_scripts

ENDPOINT: Final = "projects/acme/locations/us-central1/endpoints/1234567890"
_RUNNER: Final = Path(__file__).with_name("run_command.py")
# What a command loads when it runs; half a second, and so not for each.
_LOADED: Final = Step(
    [
        *("kimi_vertex_cli.app", "kimi_vertex_cli.ask", "kimi_vertex_cli.batch", "kimi_vertex_cli.endpoints"),
        *("kimi_vertex_cli._job", "kimi_vertex_cli._lines", "kimi_vertex_cli._listing"),
        *("kimi_vertex_cli._screen", "rich.live", "rich.markdown", "rich.table"),
    ]
)


@dataclass(frozen=True)
class Process:
    """A command that runs."""

    _note: Path
    _end: Future[End]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, once it has asked for something."""
        os.kill(int(self._note.read_text(encoding="utf-8")), number)

    def kill(self) -> None:
        """End it, if it runs."""
        if not self._end.done():
            with suppress(OSError):  # it has not begun, or has just ended
                self.send(signal.SIGKILL)

    def end(self, timeout: float = 50) -> End:
        """How it ends, which is waited for."""
        return self._end.result(timeout)


@contextmanager
def started(*arguments: str, terminal: int | None = None, columns: int = 80) -> Iterator[Process]:
    """Run `kimi-vertex` with this environment; what still runs at the end of the block is killed."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "24"}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        note = Path(folder, "id")
        name = "" if terminal is None else os.ttyname(terminal)
        start = Start(str(_RUNNER), folder, environment, [name, str(note), *arguments], strict=False)
        process = Process(note, thread.submit(_run, start, terminal))
        try:
            yield process
        finally:
            process.kill()


def _run(start: Start, terminal: int | None) -> End:
    try:
        [end] = run_scripts([*steps_of(("kimi-vertex",)), _LOADED], [start])
        return end
    finally:
        if terminal is not None:
            os.close(terminal)


def on_terminal(*arguments: str, typed: str = "", columns: int = 80) -> str:
    """What `kimi-vertex` writes to a terminal."""
    master, slave = pty.openpty()
    os.write(master, typed.encode())
    written = b""
    with started(*arguments, terminal=slave, columns=columns) as process:
        with suppress(OSError):  # Linux's word for the end of a terminal
            while piece := os.read(master, 65_536):
                written += piece
        process.end()
    os.close(master)
    return written.decode()
