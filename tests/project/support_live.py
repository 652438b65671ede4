"""The table of docs/operate.md that says what only a live endpoint can show: `make docs-output` writes it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "operate.md"
TESTS: Final = ROOT / "tests" / "live" / "test_live_service.py"
BEGIN: Final = "<!-- assumptions: written by `make docs-output` -->\n"
END: Final = "<!-- end -->\n"


def table() -> str:
    """One row for each live test, from its docstring: what is assumed, and what depends on it."""
    lines = ["| assumed | what depends on it | test |", "| --- | --- | --- |"]
    for node in ast.parse(TESTS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            assumed, _, depends = (ast.get_docstring(node) or "").partition("\n\n")
            assert depends, f"{node.name} does not say what depends on it"
            words = (" ".join(text.split()) for text in (assumed, depends))
            lines.append(f"| {' | '.join(words)} | `{node.name}` |")
    return "\n".join(lines) + "\n"


def written() -> str:
    """The page with the table as it is today."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
