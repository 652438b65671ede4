"""Runs scripts, each in a process of its own, after one Python has loaded what is slow to load. Standard library only.

Reads requests from stdin and writes what their scripts did to stdout, a line of JSON each. A request has jobs, each of which
names in steps what its scripts find loaded. For each beginning of such a list there is one process, which has loaded that and
nothing else; the next step is loaded in a fork of it, and so are the scripts run.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import runpy
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import IO, Any

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


class Branch:
    """A fork of this process that has loaded one step more, and answers requests."""

    def __init__(self, step: dict[str, Any]) -> None:
        asked, self._asks = os.pipe()
        self._answers, answered = os.pipe()
        if os.fork() == 0:
            os.close(self._asks)
            os.close(self._answers)
            status = 1
            try:
                with open(asked) as requests, open(answered, "w") as answers:  # noqa: PTH123  # numbers, no paths
                    first = requests.readline()  # whoever asks goes on while this loads
                    load(step["modules"], step["hidden"])
                    serve(itertools.chain([first], requests), answers)
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        os.close(asked)
        os.close(answered)
        self._requests, self._lines = open(self._asks, "w"), open(self._answers)  # noqa: PTH123, SIM115

    def ask(self, jobs: list[dict[str, Any]]) -> None:
        """Hand jobs on."""
        self._requests.write(f"{json.dumps(jobs)}\n")
        self._requests.flush()

    def answer(self) -> list[list[dict[str, Any]]]:
        """What became of them."""
        ends: list[list[dict[str, Any]]] = json.loads(self._lines.readline())
        return ends

    def end(self) -> None:
        """Let it end: it reads that there are no more requests."""
        self._requests.close()
        self._lines.close()


def load(modules: list[str], hidden: list[str]) -> None:
    """Load what every script needs, so that each finds it loaded; what is hidden cannot be part of it.

    Of `module:function`, the function is called: it loads something, too.
    """
    finder = Hidden(hidden)
    sys.meta_path.insert(0, finder)
    for named in modules:
        module, _, function = named.partition(":")
        loaded = import_module(module)
        if function:
            getattr(loaded, function)()
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
        if not script["strict"]:
            warn_as_python_does()
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


def warn_as_python_does() -> None:
    """Take back that every warning is an error."""
    warnings.simplefilter("default")
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)


def serve(requests: Iterable[str], answers: IO[str]) -> None:
    """Answer requests until there are no more: with branches that load what is asked for, all at once, and here."""
    branches: dict[str, Branch] = {}
    for line in requests:
        jobs = json.loads(line)
        here: list[int] = []
        there: dict[str, list[int]] = {}
        for number, job in enumerate(jobs):
            if job["steps"]:
                there.setdefault(json.dumps(job["steps"].pop(0)), []).append(number)
            else:
                here.append(number)
        for step, numbers in there.items():
            branches[step] = branches.get(step) or Branch(json.loads(step))
            branches[step].ask([jobs[number] for number in numbers])
        ends = {number: run(jobs[number]["scripts"]) for number in here}
        for step, numbers in there.items():
            ends.update(zip(numbers, branches[step].answer(), strict=True))
        answers.write(f"{json.dumps([ends[number] for number in range(len(jobs))])}\n")
        answers.flush()
    for branch in branches.values():
        branch.end()


if __name__ == "__main__":
    # What a module prints while it loads must not end up between the answers.
    with open(os.dup(1), "w") as answers:  # noqa: PTH123  # a number, no path
        os.dup2(2, 1)
        serve(sys.stdin, answers)
