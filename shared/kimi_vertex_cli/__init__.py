"""The command `kimi-vertex`, for terminals; the extra `[cli]`.

`app` has the commands, each of which is a module of its own that loads what it needs when it runs; `_target` has the options
that they share.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What stands behind `kimi-vertex`; default: the process's own.

    Returns:
        The exit status: 0 for success, 1 for an error, 2 for wrong usage, 130 after Ctrl-C.
    """
    try:
        import rich  # noqa: F401 - loads little; what a command needs of it is loaded by the command

        from kimi_vertex_cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        print(
            f'kimi-vertex needs {error.name} on the command line: pip install "kimi-vertex[cli]"',
            file=sys.stderr,
        )
        return 2
    return run(arguments)
