"""Text from outside is read in linear time: scanners with their worst inputs, and every expression that can be found."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Callable
from functools import partial

import pytest

import kimi_vertex
import langchain_kimi_vertex
import llama_index_kimi_vertex
from kimi_vertex import find_json_object
from kimi_vertex._answer.tool_calls import ToolCallAssembler
from kimi_vertex._auth.google import _SECRETS
from kimi_vertex._tools import DeclaredTools, History
from kimi_vertex._wire import error_from_body

SMALL, LARGE = 1_000, 12_000
FASTER_THAN_ANY_SQUARE = 0.03
"""Seconds: in these, no work that grows with the square is done for the larger text."""


def seconds(work: Callable[[str], object], text: str) -> float:
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        work(text)
        best = min(best, time.perf_counter() - began)
    return best


def grows_with_the_square(work: Callable[[str], object], unit: str) -> bool:
    """Whether 12 times the text costs more than 50 times the work."""
    for _ in range(3):
        large = seconds(work, unit * (LARGE // len(unit)))
        if large < FASTER_THAN_ANY_SQUARE or large < 50 * seconds(work, unit * (SMALL // len(unit))):
            return False
    return True


SCANNERS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "find_json_object": (
        find_json_object,
        ("{", "x[{", '{"', '{"a":1 ', "```json\n{ ", "[", '{"a":', "{}", '{"\\"'),
    ),
    "error_from_body": (
        error_from_body,
        ("<", "<script", "<script>", "<!--", "a <", "</script ", "<style ", "> <", '{"a":'),
    ),
    "secrets": (
        lambda text: _SECRETS.sub("", text),
        ("eyJ", "ya29.", "1//", "-----BEGIN", "-----END", "token ", "token="),
    ),
}


@pytest.mark.parametrize("name", SCANNERS)
def test_scanners(name: str) -> None:
    """Each is given what it has to look at again and again."""
    work, units = SCANNERS[name]
    assert [unit for unit in units if grows_with_the_square(work, unit)] == []


def test_ids_that_lie_in_the_way() -> None:
    """Calls without an id are numbered at a cost that does not depend on the ids that are taken."""

    def work(text: str) -> None:
        count = len(text) // 8
        history = History(ids=frozenset(f"functions.f:{n}" for n in range(count)), calls=0)
        calls = ToolCallAssembler(DeclaredTools(), history)
        calls.feed([{"index": n, "function": {"name": "f", "arguments": "{}"}} for n in range(count)])

    assert not grows_with_the_square(work, " ")


UNITS = (
    *("a", " ", "\n", "\t", "0", "{", "<", "`", '"', "\\", "-", ":", ".", "/", "_", "[", "(", "=", "|"),
    *(
        "a ",
        "a:",
        "a0",
        "a-",
        "\n ",
        "\n`",
        "a/",
        "a,",
        "[{",
        '{"',
        " x",
        "1.",
        "<|",
        "functions.",
        "functions.a:1 ",
    ),
)
_ANYWHERE = re.compile(r"\b(_?\w+)\.(?:search|finditer|findall|sub|split)\(")


def expressions() -> list[tuple[str, re.Pattern[str], bool]]:
    """Each expression of the packages, by its name, with whether it is searched for anywhere in a text."""
    modules = [
        importlib.import_module(info.name)
        for package in (kimi_vertex, langchain_kimi_vertex, llama_index_kimi_vertex)
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    searched = {name for module in modules for name in _ANYWHERE.findall(inspect.getsource(module))}
    return [
        (f"{module.__name__}.{name}", value, name in searched)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern)
    ]


def _search(pattern: re.Pattern[str], text: str) -> None:
    for _ in pattern.finditer(text):
        pass


def test_every_expression() -> None:
    """Found by walking the modules; given runs of each sign, and of the words in the expression itself."""
    slow: list[tuple[str, str]] = []
    known = expressions()
    assert len(known) > 40
    for name, pattern, anywhere in known:
        work: Callable[[str], object] = pattern.fullmatch
        if anywhere:
            work = partial(_search, pattern)
        words = set(re.findall(r"[A-Za-z_/<.-]{2,20}", pattern.pattern))
        slow += [(name, unit) for unit in (*UNITS, *words) if grows_with_the_square(work, unit)]
    assert not slow, "\n".join(map(str, slow))
