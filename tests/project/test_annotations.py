"""Annotations hold at run time, for whoever reads them: documentation, validation, dependency injection."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest

PACKAGES = (
    "kimi_vertex",
    "kimi_vertex_cli",
    "kimi_vertex_emulator",
    "langchain_kimi_vertex",
    "llama_index_kimi_vertex",
)


def public_functions(package: str) -> Iterator[tuple[str, Any]]:
    """Each public function and class of a package, and each public method and property that is its own."""
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield name, thing
        if inspect.isclass(thing):
            yield from methods(thing, name)


def methods(cls: type, place: str) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in PACKAGES:
            continue
        for name, found in list(vars(base).items()):
            function = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
            if name in seen or (name.startswith("_") and name != "__init__"):
                continue
            seen.add(name)
            ours = getattr(function, "__module__", "").partition(".")[0] in PACKAGES
            if ours and inspect.isfunction(function):
                yield f"{place}.{name}", function


@pytest.mark.parametrize("package", PACKAGES)
def test_annotations_resolve(package: str) -> None:
    """`typing.get_type_hints` finds every name that the annotations use."""
    unresolved: dict[str, str] = {}
    for place, function in public_functions(package):
        try:
            typing.get_type_hints(function)
        except NameError as error:
            unresolved[place] = str(error)
    assert unresolved == {}
