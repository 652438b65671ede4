"""What `pip install` brings of the packages in this environment, and what of that is slow to load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .support_scripts import End, Start, Step, run_scripts

# What takes long to load, by the requirement that brings it. Scripts find loaded what of it their requirements bring, in
# this order, so that they share the processes that have loaded it.
_SLOW = {
    "kimi-vertex": (
        *("kimi_vertex", "kimi_vertex._transport", "httpx", "httpcore", "httpx_sse"),
        *("anyio", "anyio._backends._asyncio"),
    ),
    "kimi-vertex[langchain]": ("langchain_kimi_vertex", "langchain_core.tools", "langchain_core.tracers"),
    "kimi-vertex[llama-index]": (
        "llama_index.core",
        "llama_index.core.utils:get_tokenizer",
        "llama_index_kimi_vertex",
    ),
    "langchain": ("langchain.agents",),
}


def _closure(requirements: Sequence[str]) -> set[tuple[str, str]]:
    """The distributions that `pip install` of the requirements brings, each with "" and with each of its extras."""
    todo = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo += [(needed, wanted) for needed in _requires(name)]
    return seen


@cache
def _requires(name: str) -> list[Requirement]:
    return [Requirement(line) for line in metadata.requires(name) or []]


def hidden_modules(requirements: Sequence[str]) -> list[str]:
    """The modules of this environment that `pip install` of the requirements would not have brought."""
    allowed = {name for name, _ in _closure(requirements)}
    ours: set[str] = set()
    others: set[str] = set()
    for distribution, names in _installed().items():
        (ours if distribution in allowed else others).update(names)
    hidden = others - ours
    return sorted(name for name in hidden if not hidden.intersection(_parents(name)))


def slow_parts(requirements: Sequence[str]) -> tuple[str, ...]:
    """What of the slow to load `pip install` of the requirements brings."""
    brought = _closure(requirements)
    return tuple(part for part in _SLOW if _closure([part]) <= brought)


@cache
def steps_of(parts: tuple[str, ...] = tuple(_SLOW)) -> list[Step]:
    """How parts of what is slow are loaded: one after the other, each where only it and those before it are installed."""
    return [Step(_SLOW[part], hidden_modules(parts[: n + 1])) for n, part in enumerate(parts)]


def run_pytest(folder: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> End:
    """Run pytest there, as its command does, where all that is slow is loaded already."""
    entry = Path(pytest.__file__).with_name("__main__.py")
    loaded = ["-W", "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"]
    start = Start(str(entry), folder, environment or {}, [*arguments, *loaded], strict=False)
    [end] = run_scripts(steps_of(), [start])
    return end


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


@cache
def _installed() -> dict[str, frozenset[str]]:
    """The modules of each distribution in this environment, without those in packages of its own."""
    found: dict[str, frozenset[str]] = {}
    for distribution in metadata.distributions():
        names = frozenset(_modules(distribution))
        outer = frozenset(name for name in names if names.isdisjoint(_parents(name)))
        found[canonicalize_name(distribution.metadata["Name"])] = outer
    return found


def _modules(distribution: metadata.Distribution) -> Iterator[str]:
    for line in (distribution.read_text("RECORD") or "").splitlines():
        *folders, file = line.partition(",")[0].split("/")
        if file.endswith((".py", ".so", ".pyd")) and ".." not in folders:
            name = file.partition(".")[0]
            yield ".".join(folders if name == "__init__" else [*folders, name])
