"""Annotations hold at run time, for whoever reads them: documentation, validation, dependency injection."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest

PACKAGES = ("kimi_vertex", "kimi_vertex_emulator", "langchain_kimi_vertex", "llama_index_kimi_vertex")


def public_functions() -> Iterator[Any]:
    """Each public function and class of the packages, and each public method and property that is their own."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield pytest.param(thing, id=f"{package}.{name}")
            if inspect.isclass(thing):
                yield from methods(thing, f"{package}.{name}")


def methods(cls: type, place: str) -> Iterator[Any]:
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
                yield pytest.param(function, id=f"{place}.{name}")


@pytest.mark.parametrize("function", list(public_functions()))
def test_annotations_resolve(function: Any) -> None:
    """`typing.get_type_hints` finds every name that the annotations use."""
    typing.get_type_hints(function)
