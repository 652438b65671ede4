"""Runs scripts, each in a process of its own, after one Python has loaded what is slow to load. Standard library only.

Reads steps from stdin and writes what each step's scripts did to stdout, both as JSON. What one step has loaded, the
next ones have.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
import tempfile
import traceback
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

AT_ONCE = 4


class Hidden(MetaPathFinder):
    """Makes modules as absent as if they were not installed."""

    def __init__(self, names: list[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Refuse a hidden module; leave every other to the next finder."""
        if fullname in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def load(modules: list[str], hidden: list[str]) -> None:
    """Load what every script needs, so that each finds it loaded; what is hidden cannot be part of it."""
    finder = Hidden(hidden)
    sys.meta_path.insert(0, finder)
    for module in modules:
        import_module(module)
    sys.meta_path.remove(finder)
    gc.freeze()  # what every script shares is not searched for garbage in each of them


def start(script: dict[str, Any]) -> tuple[int, list[Any]]:
    """Start a script in a forked process; its id, and the files of what it writes."""
    given, *written = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115  # open while the script runs
    given.write(script["input"].encode())
    given.seek(0)
    child = os.fork()
    if child == 0:
        for number, file in enumerate((given, *written)):
            os.dup2(file.fileno(), number)
        os._exit(begin(script))
    given.close()
    return child, written


def run(scripts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run scripts, a few at once, so that their waits overlap; how each ended and what it wrote."""
    ends: list[dict[str, Any]] = [{} for _ in scripts]
    waiting, running = list(enumerate(scripts)), dict[int, tuple[int, list[Any]]]()
    while waiting or running:
        if waiting and len(running) < AT_ONCE:
            number, script = waiting.pop(0)
            child, written = start(script)
            running[child] = number, written
            continue
        child, status = os.wait()
        number, written = running.pop(child)
        texts = []
        for file in written:
            with file:
                file.seek(0)
                texts.append(file.read().decode())
        ends[number] = {"status": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}
    return ends


def begin(script: dict[str, Any]) -> int:
    """In the child: become the script, as `python SCRIPT` would; the exit status."""
    status = 1
    try:
        os.chdir(script["folder"])
        os.environ.update(script["environment"])
        sys.meta_path.insert(0, Hidden(script["hidden"]))
        sys.argv = [script["path"], *script["arguments"]]
        sys.path.insert(0, os.path.dirname(script["path"]))  # noqa: PTH120  # pathlib would be one more module
        runpy.run_path(script["path"], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def main() -> None:
    """Read steps from stdin, write their results to stdout."""
    results = []
    for step in json.load(sys.stdin):
        load(step["load"], step["hidden"])
        results.append(run(step["scripts"]))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
