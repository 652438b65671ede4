"""Who imports whom, read from the syntax tree, and what an import costs, seen in a fresh interpreter."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import kimi_vertex_emulator

from ..support_scripts import Start, Step, run_jobs

ROOT = Path(__file__).parents[2]
ADAPTERS = {
    "langchain_kimi_vertex": ("langchain_core", "langchain"),
    "llama_index_kimi_vertex": ("llama_index", "llama-index"),
}
BASES = {
    "langchain_kimi_vertex": "langchain_core.language_models.chat_models",
    "llama_index_kimi_vertex": "llama_index.core.llms.function_calling",
}
FRAMEWORKS = {"langchain", "langchain_core", "langgraph", "llama_index", *ADAPTERS}
# The only packages of the core that do I/O; of the rest, these may hold a lock, a loop or a clock.
SHELL = {"_transport", "_auth"}
HOLDERS = {"client", "fields", "listener"}
FACE = "shared/kimi_vertex/__init__.py"
IO = {
    "asyncio", "concurrent", "google", "http", "httpx", "httpx_sse", "queue", "requests", "select", "selectors",
    "socket", "ssl", "subprocess", "threading", "time", "urllib3",
}  # fmt: skip
MAX_LINES = 500


class Import(NamedTuple):
    """One imported name: `from a.b import c` gives `("a.b", "c")`, `import a.b` gives `("a.b", None)`."""

    module: str
    name: str | None

    @property
    def top(self) -> str:
        """The package that the import loads first."""
        return self.module.partition(".")[0]

    @property
    def parts(self) -> list[str]:
        """Every name in the import, for questions about underscores."""
        return [*self.module.split("."), *([self.name] if self.name else [])]


def text_of(module: str) -> str:
    """A file, named from the repository's top."""
    return (ROOT / module).read_text(encoding="utf-8")


def statements(block: ast.AST) -> Iterator[ast.stmt]:
    """All statements in a file or in a compound statement, at any depth."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(block, name, ()):
            if isinstance(inner, ast.stmt):
                yield inner
            yield from statements(inner)


@cache
def imports_of(module: str) -> list[Import]:
    """All imports of a file, at any depth, relative ones resolved."""
    package = (
        (ROOT / module).relative_to(ROOT / "shared" if module.startswith("shared/") else ROOT).parts[:-1]
    )
    found: list[Import] = []
    for node in statements(ast.parse(text_of(module))):
        if isinstance(node, ast.Import):
            found += (Import(alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *([node.module] if node.module else [])])
            found += (Import(source, alias.name) for alias in node.names)
    return found


def refused(paths: Iterable[str], wrong: Callable[[str], Iterable[object]]) -> dict[str, list[object]]:
    """What is wrong with each of the files, for those with which something is."""
    found = {module: list(wrong(module)) for module in paths}
    return {module: faults for module, faults in found.items() if faults}


def modules(folder: str) -> list[str]:
    """The Python files below a folder, named from the repository's top."""
    return [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / folder).rglob("*.py"))]


CORE = modules("shared/kimi_vertex")
COMMAND_LINE = modules("shared/kimi_vertex_cli")
CORE_AND_EMULATOR = [*CORE, *modules("shared/kimi_vertex_emulator")]
PROTOCOL = [
    module
    for module in CORE
    if module != FACE and Path(module).parts[2] not in SHELL and Path(module).stem not in HOLDERS
]
ADAPTER_MODULES = [module for adapter in ADAPTERS for module in modules(adapter)]


def test_the_core_knows_no_framework() -> None:
    """Neither the core nor the emulator imports LangChain, LlamaIndex or an adapter."""
    assert refused(CORE_AND_EMULATOR, lambda module: {i.top for i in imports_of(module)} & FRAMEWORKS) == {}


def test_only_the_fields_know_pydantic() -> None:
    """Of the core, only what the frameworks' models inherit imports pydantic, and so nothing that `import kimi_vertex` loads."""
    found = refused(CORE, lambda module: {i.top for i in imports_of(module)} & {"pydantic"})
    assert set(found) == {"shared/kimi_vertex/fields.py"}


def test_the_core_does_not_know_the_emulator() -> None:
    """No module of the core imports the emulator."""
    assert refused(CORE, lambda module: {i.top for i in imports_of(module)} & {"kimi_vertex_emulator"}) == {}


def test_only_the_entry_point_knows_the_command_line() -> None:
    """Beside itself, only `python -m kimi_vertex` imports `kimi_vertex_cli`."""
    paths = [*CORE_AND_EMULATOR, *ADAPTER_MODULES]
    found = refused(paths, lambda module: {i.top for i in imports_of(module)} & {"kimi_vertex_cli"})
    assert set(found) == {"shared/kimi_vertex/__main__.py"}


def test_protocol_modules_do_no_io() -> None:
    """Only `_transport/` and `_auth/` do I/O; no other module imports sockets, threads, loops, clocks or HTTP, or them."""

    def wrong(module: str) -> list[Import]:
        inside = SHELL | HOLDERS
        return [
            i
            for i in imports_of(module)
            if i.top in IO or (i.top == "kimi_vertex" and set(i.parts[1:]) & inside)
        ]

    assert refused(PROTOCOL, wrong) == {}


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """The groups of modules of which each one needs all the others, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for needed in arrows[module]:
            if needed not in order:
                visit(needed)
                low[module] = min(low[module], low[needed])
            elif needed in stack:
                low[module] = min(low[module], order[needed])
        if low[module] == order[module]:
            group = set(stack[stack.index(module) :])
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(group)

    for module in arrows:
        if module not in order:
            visit(module)
    return found


def arrows_of(paths: list[str]) -> dict[str, set[str]]:
    """Which modules of a package a module imports; those that only type checkers see count as well."""
    names = {".".join(Path(path).with_suffix("").parts[1:]).removesuffix(".__init__"): path for path in paths}
    arrows: dict[str, set[str]] = {}
    for name, path in names.items():
        named = [(f"{found.module}.{found.name}", found.module) for found in imports_of(path)]
        needed = [inner if inner in names else outer for inner, outer in named]
        arrows[name] = {module for module in needed if module in names}
    return arrows


def test_circles_are_found() -> None:
    """The search sees a circle of three, and none in a chain."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_the_core_has_no_import_circle() -> None:
    """The modules of the core can be written in an order in which each needs only earlier ones."""
    assert circles(arrows_of(CORE)) == []


def test_adapters_use_only_public_names_of_the_core() -> None:
    """No underscore module, no underscore name, and not the emulator; so does the command line."""

    def wrong(module: str) -> list[Import]:
        found = imports_of(module)
        ours = [i for i in found if i.top == "kimi_vertex"]
        private = [i for i in ours if any(p.startswith("_") and p != "__version__" for p in i.parts)]
        return [*private, *(i for i in found if i.top == "kimi_vertex_emulator")]

    assert refused([*ADAPTER_MODULES, *COMMAND_LINE], wrong) == {}


def users_of_the_emulator() -> list[str]:
    """Every file outside the emulator and its own tests: what stands for a user of it."""
    own = ("tests/emulator/",)
    folders = ("tests", "examples", "benchmarks")
    return [module for folder in folders for module in modules(folder) if not module.startswith(own)]


def test_the_emulator_is_used_through_its_public_names() -> None:
    """Tests, examples and benchmarks take what `kimi_vertex_emulator` itself offers, and nothing underscored of it."""
    touched = re.compile(r"\b(?:emulator|lenient_emulator|kimi_emulator|recorder)\._\w*")
    public = {None, *kimi_vertex_emulator.__all__}

    def wrong(module: str) -> list[object]:
        used = [i for i in imports_of(module) if i.module.startswith("kimi_vertex_emulator")]
        private: list[object] = [
            i for i in used if i.module != "kimi_vertex_emulator" or i.name not in public
        ]
        return [*private, *touched.findall(text_of(module))]

    assert refused(users_of_the_emulator(), wrong) == {}


def test_adapters_do_not_know_one_another() -> None:
    """What both need lives in the core; neither framework is imported by the other's adapter."""

    def wrong(module: str) -> set[str]:
        (other,) = set(ADAPTERS) - {module.partition("/")[0]}
        return {found.top for found in imports_of(module)} & {other, ADAPTERS[other][0]}

    assert refused(ADAPTER_MODULES, wrong) == {}


def test_files_stay_short() -> None:
    """A file that grows over the limit has a second subject."""

    def lines(module: str) -> int:
        return text_of(module).count("\n")

    paths = [*CORE_AND_EMULATOR, *COMMAND_LINE, *ADAPTER_MODULES]
    assert {module: lines(module) for module in paths if lines(module) > MAX_LINES} == {}


def interpreter(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, warnings on."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50
    )


@cache
def loaded() -> dict[str, tuple[set[str], set[str]]]:
    """What `sys.modules` holds before and after each package's import: an adapter's after its base class, which it needs."""
    code = "import json, sys; before = list(sys.modules); __import__(sys.argv[1]); print(json.dumps([before, list(sys.modules)]))"
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "script.py")
        file.write_text(code, encoding="utf-8")
        bases = {"kimi_vertex": [], **{name: [Step([base])] for name, base in BASES.items()}}
        jobs = [(steps, [Start(str(file), folder, {}, [name])]) for name, steps in bases.items()]
        for name, [end] in zip(bases, run_jobs(jobs), strict=True):
            assert end.status == 0, end.err
            before, after = json.loads(end.out)
            found[name] = set(before), set(after)
    return found


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_missing_extra_names_the_command(adapter: str) -> None:
    """Without its framework an adapter raises ImportError with the `pip install` to run."""
    framework, extra = ADAPTERS[adapter]
    done = interpreter(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {framework!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "try:\n"
        f"    import {adapter}\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert f'pip install "kimi-vertex[{extra}]"' in done.stdout, done.stderr


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_hides_no_other_import_error(adapter: str) -> None:
    """A broken dependency of the framework is reported as itself, not as a missing extra."""
    framework, _ = ADAPTERS[adapter]
    done = interpreter(
        "import sys\n"
        "class Broken:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pydantic':\n"
        "            raise ModuleNotFoundError('No module named pydantic', name=name)\n"
        "sys.meta_path.insert(0, Broken())\n"
        f"import {adapter}\n"
    )
    assert "No module named pydantic" in done.stderr
    assert "pip install" not in done.stderr.splitlines()[-1], framework


def test_the_core_loads_no_transport_and_no_schema_library() -> None:
    """`import kimi_vertex` leaves out what only a call needs, or only some calls."""
    tops = {name.partition(".")[0] for name in loaded()["kimi_vertex"][1]}
    slow = {"httpx", "httpcore", "httpx_sse", "h11", "google", "jsonschema", "pydantic", "requests"}
    assert tops & slow == set()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_loads_nothing_beside_its_base_class(adapter: str) -> None:
    """No parser, tokeniser or tool of the framework's, or anybody's, that its chat model's base does without."""
    before, after = loaded()[adapter]
    tops = {name.partition(".")[0] for name in after - before}
    assert tops <= {adapter, "kimi_vertex", "orjson"}


@pytest.mark.parametrize("module", ["kimi_vertex", *ADAPTERS])
def test_import_loads_neither_credentials_nor_emulator(module: str) -> None:
    """Google's auth library and its transport load at the first token, the emulator only by name."""
    after = loaded()[module][1]
    assert {name for name in after if name.startswith(("google.auth", "kimi_vertex_emulator"))} == set()


def test_the_core_loads_no_framework() -> None:
    """`import kimi_vertex` brings neither LangChain nor LlamaIndex."""
    assert {name.partition(".")[0] for name in loaded()["kimi_vertex"][1]} & FRAMEWORKS == set()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_loads_only_its_framework(adapter: str) -> None:
    """Importing one adapter does not load the other framework."""
    (other,) = set(ADAPTERS) - {adapter}
    tops = {name.partition(".")[0] for name in loaded()[adapter][1]}
    assert tops & {other, ADAPTERS[other][0]} == set()


def test_a_running_emulator_has_loaded_almost_nothing() -> None:
    """Of all that is installed, starting it and answering a call loads h11, and no HTTP client or framework."""
    code = (
        "import sys, urllib.request\n"
        "from kimi_vertex_emulator import Emulator\n"
        "with Emulator() as emulator:\n"
        '    body = b\'{"model": "a/b", "messages": [{"role": "user", "content": "Hi"}]}\'\n'
        "    urllib.request.urlopen(emulator.base_url + '/chat/completions', body).read()\n"
        "tops = {name.partition('.')[0] for name in sys.modules if not name.startswith('_')}\n"
        "print(*sorted(tops - set(sys.stdlib_module_names)))\n"
    )
    done = interpreter(code)
    assert done.stdout.split() == ["h11", "kimi_vertex_emulator"], done.stderr
