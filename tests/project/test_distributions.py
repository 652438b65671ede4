"""The two distributions that only depend on this one, and the pages that go to the frameworks with them."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import email
import inspect
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import kimi_vertex
from kimi_vertex_emulator import Emulator, Script

from .support_pages import ANSWERS, DISTRIBUTIONS, ROOT

FOLDERS = {"langchain-kimi-vertex": "langchain", "llama-index-llms-kimi-vertex": "llama-index"}
NOTEBOOK = DISTRIBUTIONS / "llama-index-llms-kimi-vertex" / "kimi_vertex.ipynb"
URL = re.compile(r"https://github\.com/kimi-vertex[^\s/]*/[\w-]+|git clone (\S+)")


@pytest.mark.parametrize(("folder", "extra"), FOLDERS.items())
def test_wheel_holds_a_dependency_and_nothing_else(folder: str, extra: str, tmp_path: Path) -> None:
    """It brings this version of the library with the framework's extra, and no file that could shadow it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=DISTRIBUTIONS / folder, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {name.partition("/")[0].rpartition(".")[2] for name in archive.namelist()} == {"dist-info"}
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Version"] == kimi_vertex.__version__
    assert metadata.get_all("Requires-Dist") == [f"kimi-vertex[{extra}]=={kimi_vertex.__version__}"]


@pytest.mark.filterwarnings(
    "ignore::pydantic.PydanticDeprecatedSince20"
)  # llama-index-workflows reads every attribute
@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince211")
def test_notebook_shows_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells run one after another, as in Jupyter, and each prints the output that is stored below it."""
    cells = [
        cell
        for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code" and not cell["source"][0].startswith("%")
    ]
    with Emulator(script=Script.from_yaml(ANSWERS)) as emulator:
        monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
        monkeypatch.setenv("KIMI_VERTEX_ENDPOINT", "projects/p/locations/us-central1/endpoints/1234567890")
        assert asyncio.run(_printed(cells)) == ["".join(cell["outputs"][0]["text"]) for cell in cells]


async def _printed(cells: list[Any]) -> list[str]:
    names: dict[str, Any] = {}
    outputs = []
    for cell in cells:
        code = compile("".join(cell["source"]), NOTEBOOK.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            result = eval(code, names)
            if inspect.isawaitable(result):
                await result
        outputs.append(printed.getvalue())
    return outputs


def test_the_project_has_one_address() -> None:
    """README, metadata and pages name the repository that pyproject.toml names."""
    home = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]
    pages = [ROOT / "README.md", *(path for path in DISTRIBUTIONS.rglob("*") if path.is_file())]
    found = {
        match[1] or match[0] for path in pages for match in URL.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == {home}
