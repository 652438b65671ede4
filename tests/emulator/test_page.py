"""docs/testing.md names everything that the emulator takes."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest

from kimi_vertex_emulator import CHUNKINGS, DIALECTS, FAULTS, Conditions, Emulator, Quota, Rules
from kimi_vertex_emulator.__main__ import _parser
from kimi_vertex_emulator.deployments import REFUSALS

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
OPTIONS = set(re.findall(r"--[a-z-]+", _parser().format_help())) - {"--help"}
SAID = [
    ("All settings", inspect.signature(Emulator).parameters),
    ("All settings", OPTIONS),
    ("Scripted answers", Conditions.__annotations__),
    ("Dialects and chunking", DIALECTS),
    ("Dialects and chunking", CHUNKINGS),
    ("Rules", [field.name for field in fields(Rules)]),
    ("Faults", FAULTS),
    ("Quotas", [field.name for field in fields(Quota)]),
    ("Endpoints and their states", REFUSALS),
]


@pytest.mark.parametrize(("section", "names"), SAID)
def test_page_names(section: str, names: Iterable[str]) -> None:
    """Each name stands in its section, at the beginning of some code: alone, or with a value behind it."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert [name for name in names if not re.search(f"`{re.escape(name)}[`= ]", text)] == []
