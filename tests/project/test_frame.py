"""The project's own files: lock, Makefile, workflows, and what the documents promise."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
YAML_FILES = [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / ".pre-commit-config.yaml"]


@pytest.fixture(scope="module")
def lock() -> dict[str, Any]:
    """What is in uv.lock."""
    return tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))


def test_lock_names_no_registry_but_pypi(lock: dict[str, Any]) -> None:
    """Whoever updates the lock on a machine with a mirror does not pass the mirror on."""
    sources = {str(package["source"]) for package in lock["package"]}
    assert sources == {"{'registry': 'https://pypi.org/simple'}", "{'editable': '.'}"}


def test_lock_downloads_only_from_pypi(lock: dict[str, Any]) -> None:
    """Every file in the lock is on PyPI's own host and has a hash."""
    files = [file for package in lock["package"] for file in _files(package)]
    assert len(files) > 100
    assert [f for f in files if not f["url"].startswith("https://files.pythonhosted.org/")] == []
    assert [f for f in files if not f["hash"].startswith("sha256:")] == []


def test_lock_belongs_to_this_pyproject(lock: dict[str, Any]) -> None:
    """The lock was made for the requirements that pyproject.toml has now."""
    (project,) = (package for package in lock["package"] if package["name"] == "kimi-vertex")
    locked = project["metadata"]
    declared = {re.split(r"[\[<>=]", line)[0] for line in PYPROJECT["project"]["dependencies"]}
    assert declared <= {requirement["name"] for requirement in locked["requires-dist"]}
    for name, specifier in _plain_specifiers(PYPROJECT["project"]["dependencies"]):
        assert specifier in {r.get("specifier") for r in locked["requires-dist"] if r["name"] == name}
    for group, lines in PYPROJECT["dependency-groups"].items():
        plain = [line for line in lines if isinstance(line, str)]
        for name, specifier in _plain_specifiers(plain):
            found = {r.get("specifier") for r in locked["requires-dev"][group] if r["name"] == name}
            assert found == {specifier}, f"{group}: {name}; run `make lock`"


def test_every_target_is_listed() -> None:
    """`make` without a target lists each target that a person would call."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listing = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    assert {"demo", "test", "check", "bench", "build", "clean", "lock"} <= set(targets)
    assert [target for target in targets if f"  {target} " not in listing] == []


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_is_yaml(path: Path) -> None:
    """Workflows and hooks can be read."""
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_ci_runs_every_supported_python() -> None:
    """The matrix and the classifiers name the same versions."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    prefix = "Programming Language :: Python :: 3."
    supported = [c.rpartition(" ")[2] for c in PYPROJECT["project"]["classifiers"] if c.startswith(prefix)]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == supported


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
MORE_THAN_READING = {
    ("release", "publish"): {"id-token": "write"},
    ("security", "codeql"): {"contents": "read", "security-events": "write"},
    ("security", "scorecard"): {"contents": "read", "security-events": "write", "id-token": "write"},
}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_pinned_and_read_only(path: Path) -> None:
    """Each action is pinned to a commit and keeps no token, and no job may do more than is listed here."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert [step["uses"] for step in steps if not re.search(r"@[0-9a-f]{40}$", step["uses"])] == []
    checkouts = [step for step in steps if step["uses"].startswith("actions/checkout@")]
    assert [step for step in checkouts if step["with"].get("persist-credentials") is not False] == []
    assert workflow["permissions"] == {"contents": "read"}
    more = {
        (path.stem, name): job["permissions"]
        for name, job in workflow["jobs"].items()
        if "permissions" in job
    }
    assert more == {key: value for key, value in MORE_THAN_READING.items() if key[0] == path.stem}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_install_only_what_is_pinned(path: Path) -> None:
    """What pip installs is this project or has a hash; no tool comes in whatever version is newest."""
    text = path.read_text(encoding="utf-8")
    installed = re.findall(r"(?<!uv )\bpip install (.*)", text)
    # Messages of the adapters, and the project itself, are not tools.
    tools = [line for line in installed if not line.startswith(('"kimi-vertex[', '".['))]
    assert [line for line in tools if "--require-hashes" not in line] == []
    assert re.findall(r"\b(?:uvx|pipx run)\b", text) == []


def test_what_is_pinned_is_kept_new() -> None:
    """Dependabot looks at the actions, at the lock, and at the uv that CI installs, which has hashes."""
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))["updates"]
    kept = {(update["package-ecosystem"], update["directory"]) for update in updates}
    assert kept == {("github-actions", "/"), ("uv", "/"), ("pip", "/.ci")}
    pinned = (ROOT / ".ci/uv.txt").read_text(encoding="utf-8")
    assert re.search(r"^uv==[\d.]+ \\$", pinned, re.MULTILINE)
    assert pinned.count("--hash=sha256:") > 5


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """Each relative link in a document names a file of the repository."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", text)
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_readme_installs_extras_that_exist() -> None:
    """Each `kimi-vertex[...]` in the documents is an extra of the distribution."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = {
        extra for extras in re.findall(r"kimi-vertex\[([a-z,-]+)\]", text) for extra in extras.split(",")
    }
    assert named
    assert named <= set(PYPROJECT["project"]["optional-dependencies"])


def test_every_page_says_where_the_first_install_comes_from() -> None:
    """A page that names a package of ours leads to the form that works while nothing is on PyPI."""
    pages = [path for path in DOCUMENTS if path.parent.name == "docs" and path.name != "index.md"]
    naming = [
        page for page in pages if re.search(r"pip install \"?kimi-vertex", page.read_text(encoding="utf-8"))
    ]
    assert naming
    assert [
        page.name for page in naming if "(index.md#install)" not in page.read_text(encoding="utf-8")
    ] == []


def test_the_frameworks_pages_have_the_same_tasks() -> None:
    """Whoever changes frameworks finds each task under its name, in the same place."""
    first, second = (
        re.findall(r"^## (.*)$", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("langchain.md", "llama-index.md")
    )
    assert "Persistence" in first
    assert first == second


def _files(package: dict[str, Any]) -> list[dict[str, Any]]:
    return [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]


def _plain_specifiers(lines: list[str]) -> list[tuple[str, str]]:
    """`["a>=1,<2"]` as `[("a", ">=1,<2")]`, extras and markers left out."""
    parsed = [re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z,-]+\])?([^;]*)(?:;.*)?", line) for line in lines]
    return [(match[1], match[2]) for match in parsed if match]
