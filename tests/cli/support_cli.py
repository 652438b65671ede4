"""Programs on a terminal of their own, and where they ask."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import Final

ENDPOINT: Final = "projects/acme/locations/us-central1/endpoints/1234567890"


def on_terminal(*arguments: str, typed: str = "", columns: int = 80) -> str:
    """What `kimi-vertex` writes to a terminal."""
    master, slave = pty.openpty()
    os.write(master, typed.encode())
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "24"}
    command = [sys.executable, "-m", "kimi_vertex", *arguments]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                piece = os.read(master, 65_536)
            except OSError:  # Linux's word for the end of a terminal
                break
            if not piece:
                break
            written += piece
        process.wait(timeout=30)
    os.close(master)
    return written.decode()
