"""Three examples, one after the other; `make demo` runs this.

Name some to run only those: `make demo ARGS="rag chat"`. There are also `citations`, `chat`, `handoff`, `router`.
"""

from __future__ import annotations

import importlib
import sys

from _console import console, kimi

SHOWN = ("chain", "agent", "rag")
EXAMPLES = (*SHOWN, "citations", "chat", "handoff", "router")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in EXAMPLES]
    if unknown:
        console.print(f"No such example: {', '.join(unknown)}. There are {', '.join(EXAMPLES)}.")
        return 2
    with kimi():
        for name in names or SHOWN:
            importlib.import_module(name).main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
