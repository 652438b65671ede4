"""What the built distribution holds."""

from __future__ import annotations

import email
import importlib
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import kimi_vertex
import llama_index_kimi_vertex

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "kimi_vertex": ROOT / "shared" / "kimi_vertex",
    "kimi_vertex_cli": ROOT / "shared" / "kimi_vertex_cli",
    "langchain_kimi_vertex": ROOT / "langchain_kimi_vertex",
    "kimi_vertex_emulator": ROOT / "shared" / "kimi_vertex_emulator",
    "llama_index_kimi_vertex": ROOT / "llama_index_kimi_vertex",
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of this tree."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def wheel(dist: Path) -> set[str]:
    """The names of the files in the wheel."""
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def sdist(dist: Path) -> set[str]:
    """The names of the files in the sdist, without its top folder."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def metadata(dist: Path) -> Message:
    """The wheel's METADATA."""
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_wheel_holds_the_packages_and_an_alias(wheel: set[str]) -> None:
    """No `shared`, no tests: only the packages, LlamaIndex's name for its adapter, and the metadata."""
    version = kimi_vertex.__version__
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {*PACKAGES, "llama_index", f"kimi_vertex-{version}.dist-info"}


def test_wheel_leaves_the_namespace_of_llama_index_alone(wheel: set[str]) -> None:
    """In `llama_index` there is the alias and nothing else: an `__init__.py` above it would hide LlamaIndex."""
    assert {name for name in wheel if name.startswith("llama_index/")} == {
        "llama_index/llms/kimi_vertex/__init__.py",
        "llama_index/llms/kimi_vertex/py.typed",
    }


def test_llamahub_finds_the_class() -> None:
    """The path and the class that LlamaHub lists exist, and the class is the adapter's."""
    listing = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["llamahub"]
    alias = importlib.import_module(listing["import_path"])
    (name,) = listing["class_authors"]
    assert getattr(alias, name) is getattr(llama_index_kimi_vertex, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_holds_every_module(package: str, wheel: set[str]) -> None:
    """Each module of the tree is in the wheel under the name that it is imported by."""
    folder = PACKAGES[package]
    modules = {f"{package}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.py")}
    assert modules
    assert modules <= wheel


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_says_that_it_is_typed(package: str, wheel: set[str]) -> None:
    """Each package carries `py.typed`, without which type checkers ignore its annotations."""
    assert f"{package}/py.typed" in wheel


def test_wheel_carries_the_license(wheel: set[str]) -> None:
    """The license goes where the code goes."""
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


@pytest.mark.parametrize(
    "name",
    [
        "tests/conftest.py",
        "Makefile",
        "uv.lock",
        "README.md",
        "CHANGELOG.md",
        ".ci/run",
        "docs/index.md",
        "mkdocs.yml",
    ],
)
def test_sdist_holds_what_a_distributor_needs(name: str, sdist: set[str]) -> None:
    """A distribution can build, read and test the project from the sdist."""
    assert name in sdist


def test_version_has_one_source(metadata: Message) -> None:
    """`kimi_vertex.__version__` and the metadata come from one line."""
    assert metadata["Version"] == kimi_vertex.__version__


def test_extras_have_their_public_names(metadata: Message) -> None:
    """The extras are those that the error messages and the README name."""
    assert metadata.get_all("Provides-Extra") == [
        "all",
        "cli",
        "langchain",
        "llama-index",
        "otel",
        "testing",
        "validate",
    ]


def test_the_core_needs_neither_framework(metadata: Message) -> None:
    """Without an extra, only the transport's own dependencies are installed."""
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(line.split("<")[0].split(">")[0] for line in required) == [
        "google-auth[requests]",
        "httpx",
        "httpx-sse",
        "orjson",
    ]
