"""Runs the snippets of one page; a process of its own, started by support_pages.py.

The modules that the page does not tell its reader to install are hidden by then; no connection leaves this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import sys
import traceback
import warnings
from typing import Any


def stay_here(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: refuses to connect to another machine."""
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in ("127.0.0.1", "::1"):
        raise RuntimeError(f"a snippet must not leave this machine: {args[1]!r}")


def run(blocks: list[tuple[int, str]], path: str) -> list[dict[str, Any]]:
    """Run the blocks of a snippet in one namespace; the blocks after one that fails are not run."""
    results: list[dict[str, Any]] = []
    namespace: dict[str, Any] = {"__name__": "__main__"}
    # LlamaIndex's synchronous wrappers leave the loop that they find open.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    error: str | None = None
    for line, code in blocks:
        printed = io.StringIO()
        if error is None:
            try:
                with contextlib.redirect_stdout(printed):
                    # Each line where the page has it, so that a traceback names the page's line.
                    exec(compile("\n" * line + code, path, "exec", dont_inherit=True), namespace)
            except BaseException:
                error = traceback.format_exc()
        results.append({"output": printed.getvalue(), "error": error})
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    namespace.clear()
    gc.collect()
    return results


def main() -> None:
    """Read a job from stdin, write its results to stdout."""
    job = json.load(sys.stdin)
    sys.addaudithook(stay_here)
    # LlamaIndex's agents use what pydantic and its workflow engine have deprecated; its memory has no `close`.
    warnings.filterwarnings("ignore", "(The|Accessing the) .* is deprecated", DeprecationWarning)
    warnings.filterwarnings("ignore", "is_running called from within a step", DeprecationWarning)
    warnings.filterwarnings("ignore", ".* was deleted before being closed", ResourceWarning)
    json.dump([run(blocks, job["path"]) for blocks in job["snippets"]], sys.stdout)


if __name__ == "__main__":
    main()
