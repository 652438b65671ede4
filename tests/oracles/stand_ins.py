"""Imports an engine's parsers without the engine: whatever else they import is a stand-in.

vLLM and SGLang import PyTorch, CUDA kernels and servers. Their parsers need none of it: they read text.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["StandIns", "module"]

_HEAVY = ("vllm", "sglang", "transformers", "torch", "xgrammar", "partial_json_parser", "openai")


class _Anything(type):
    """A class whose attributes are such classes, and which can stand in an annotation, as a base and in a call."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return cls

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __or__(cls, other: Any) -> Any:
        return cls

    def __ror__(cls, other: Any) -> Any:
        return cls


class _StandIn(metaclass=_Anything):
    def __init__(self, *args: Any, **more: Any) -> None:
        pass

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _StandIn()

    def __call__(self, *args: Any, **more: Any) -> Any:
        return _StandIn()


class _Module(types.ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _Anything(name, (_StandIn,), {})
        setattr(self, name, value)
        return value


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the parsers' modules in a folder, and makes up all others of an engine's and of heavy packages."""

    def __init__(self, folders: Sequence[Path], parsers: Sequence[str]) -> None:
        """Take part in the imports of this process, from now on.

        Args:
            folders: Where packages are installed.
            parsers: The modules to be imported for real.
        """
        self._folders = folders
        self._parsers = frozenset(parsers)
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module, as the import system asks for it."""
        if fullname.partition(".")[0] not in _HEAVY:
            return None
        if fullname in self._parsers:
            for folder in self._folders:
                file = folder.joinpath(*fullname.split(".")).with_suffix(".py")
                if file.exists():
                    return importlib.util.spec_from_file_location(fullname, file)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make up a module."""
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Leave it empty: its attributes are made when they are asked for."""


def module(name: str, **values: Any) -> Any:
    """Import a module, and set some of its attributes."""
    found = importlib.import_module(name)
    for key, value in values.items():
        setattr(found, key, value)
    return found
