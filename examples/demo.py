"""What this project is for, in fifteen seconds; `make demo` runs this.

Name programs to run others: `make demo ARGS="rag chat"`. With `--live` among them the real service answers, the one that
your environment names; otherwise an emulator, whatever your environment says.
"""

from __future__ import annotations

import importlib
import sys

from _console import console, kimi

from kimi_vertex import KimiVertexError

SHOWN = ("chain", "beside", "citations")
EXAMPLES = (*SHOWN, "agent", "rag", "chat", "handoff", "router")
# Its general client is meant to be refused, which costs nothing at the emulator.
NEVER_LIVE = "beside"


def main(arguments: list[str]) -> int:
    names = [name for name in arguments if name != "--live"] or list(SHOWN)
    live = "--live" in arguments
    unknown = [name for name in names if name not in EXAMPLES]
    if unknown:
        console.print(f"No such example: {', '.join(unknown)}. There are {', '.join(EXAMPLES)}.")
        return 2
    if not live:
        console.print(
            "Scripted thoughts; protocol, refusals and clients are real. [bright_black]--live asks Kimi.[/]"
        )
    for name in names:
        try:
            with kimi(live=live and name != NEVER_LIVE):
                importlib.import_module(name).main()
        except KimiVertexError as error:
            console.print(str(error), style="red", markup=False, soft_wrap=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
