"""Runs `kimi-vertex` in a forked process, started by support_cli.py: on the terminal that is named, and killed by its id."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kimi_vertex_cli import main

terminal, note, *arguments = sys.argv[1:]
if terminal:
    opened = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    for number in range(3):
        os.dup2(opened, number)
Path(note).write_text(str(os.getpid()), encoding="utf-8")
raise SystemExit(main(arguments))
