"""YAML with the line of everything in it, so that a mistake in a script can be shown where it is."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__all__ = ["Document", "read_yaml"]


class Document:
    """What a YAML file holds.

    Args:
        data: The data.
        lines: The line of each place, such as `rules[1].match`, and of the whole as the empty place.
    """

    def __init__(self, data: Any, lines: dict[str, int]) -> None:
        self.data = data
        self._lines = lines

    def line(self, place: str) -> int:
        """The line of a place, or of what it is in."""
        while place and place not in self._lines:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return self._lines.get(place, 1)


def read_yaml(path: str | Path) -> Document:
    """Reads a file with one document of plain data.

    Raises:
        ImportError: PyYAML is not installed.
        OSError: The file cannot be read.
        ValueError: It is no YAML, or has a key twice; the text begins with path and line.
    """
    try:
        yaml: Any = importlib.import_module("yaml")  # optional, without types, and slow to import
    except ImportError as error:
        raise ImportError(
            'Scripts in YAML need PyYAML: pip install "kimi-vertex[testing]" (or pip install pyyaml).'
        ) from error
    lines: dict[str, int] = {}
    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _note(node, "", lines, set())
        return Document(yaml.safe_load(text), lines)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:1: this is no text in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ValueError(f"{path}:{mark.line + 1 if mark else 1}: this is not YAML: {problem}") from error
    except _LineError as error:
        raise ValueError(f"{path}:{error}") from error


class _LineError(ValueError):
    """What is wrong, after its line."""


def _note(node: Any, place: str, lines: dict[str, int], noted: set[int]) -> None:
    """Notes the lines of a node and of what is in it; what an alias repeats is noted once."""
    lines.setdefault(place, node.start_mark.line + 1)
    if id(node) in noted:
        return
    noted.add(id(node))
    if node.tag.endswith(":timestamp"):
        # PyYAML makes a date of it, or raises if there is no such day.
        raise _LineError(f"{node.start_mark.line + 1}: {node.value} is a date; put quotes around it")
    if node.id == "sequence":
        for index, item in enumerate(node.value):
            _note(item, f"{place}[{index}]", lines, noted)
    elif node.id == "mapping":
        seen: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise _LineError(f"{line}: {place or 'the file'} has the key {name!r} twice")
            seen.add(name)
            inner = f"{place}.{name}" if place else name
            lines[inner] = line
            _note(value, inner, lines, noted)
