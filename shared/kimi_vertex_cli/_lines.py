"""The files of a job: rows in, answers and dead letters out, and which rows are done.

A row is done when its whole line is in one of the two files. Every line there names the row's number and a checksum of its
input, so that a second run knows what is left, and that the input is still the same.
"""

from __future__ import annotations

import json
import os
import re
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self
from zlib import crc32

import orjson

__all__ = ["JobError", "Lines", "Output"]

_ID: Final = re.compile(rb'\s*\{\s*"custom_id"\s*:\s*"([^"\\]*)"')
_DONE: Final = re.compile(rb'\{"line": (\d+), "input": (\d+),')
_SYNC: Final = 5.0
"""Seconds between two times that the disk is waited for."""


class JobError(Exception):
    """The job cannot be begun or continued as it is."""


class _Seen:
    """Which keys there have been: 8 bytes for each place of a table that is at most two thirds full."""

    def __init__(self) -> None:
        self._table, self._count = array("q", bytes(8 << 12)), 0

    def add(self, key: int) -> bool:
        """Whether the key is new."""
        if 3 * self._count > 2 * len(self._table):
            old, self._table, self._count = self._table, array("q", bytes(16 * len(self._table))), 0
            for one in old:
                if one:
                    self.add(one)
        table, mask, key = self._table, len(self._table) - 1, key or 1
        place = key & mask
        while table[place]:
            if table[place] == key:
                return False
            place = (place + 1) & mask
        table[place] = key
        self._count += 1
        return True


class Lines:
    """The rows of the input, and which of them are done.

    Raises:
        JobError: A `custom_id` comes twice, or what was done belongs to another input.
    """

    def __init__(self, source: Path, *finished: Path) -> None:
        self.source = source
        self._sums, seen = array("I"), _Seen()
        with source.open("rb") as rows:
            for number, row in enumerate(rows, start=1):
                self._sums.append(crc32(row.strip()))
                key = _key(row)
                if key is not None and not seen.add(hash(key)):
                    raise JobError(
                        f"{source} has the custom_id {key.decode()!r} twice: {self._where(key, number)}."
                    )
        self._done = bytearray(len(self._sums) + 1)
        for path in finished:
            self._read(path)
        self.total = len(self._sums)
        self.done = sum(self._done)

    def _where(self, key: bytes, last: int) -> str:
        with self.source.open("rb") as rows:
            first = next(number for number, row in enumerate(rows, start=1) if _key(row) == key)
        return f"in line {first} and in line {last}"

    def _read(self, path: Path) -> None:
        with path.open("rb") as lines:
            for line in lines:
                found = _DONE.match(line)
                number = int(found[1]) if found else 0
                if not found or number > len(self._sums) or self._sums[number - 1] != int(found[2]):
                    what = f"line {number} of {self.source} has changed" if found else "it is not this job's"
                    raise JobError(
                        f"{path} does not fit the input: {what}. Take another file for the output."
                    )
                self._done[number] = 1

    def left(self) -> Iterator[tuple[int, bytes]]:
        """The rows that are not done, with their numbers."""
        with self.source.open("rb") as rows:
            for number, row in enumerate(rows, start=1):
                if not self._done[number] and row.strip():
                    yield number, row

    def mark(self, number: int) -> dict[str, int]:
        """What a line of the output says of its row."""
        return {"line": number, "input": self._sums[number - 1]}


def _key(row: bytes) -> bytes | None:
    """A row's own key, if it has one."""
    if found := _ID.match(row):
        return found[1]
    if b'"custom_id"' not in row:
        return None
    try:
        value = orjson.loads(row)
    except ValueError:
        return None  # it becomes a dead letter
    key = value.get("custom_id") if isinstance(value, dict) else None
    return key.encode("utf-8", "surrogatepass") if isinstance(key, str) else None


class Output:
    """A file to which whole lines are appended, each at once; a torn last line is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab+", buffering=0)
        self._lock()
        size = self._file.seek(0, os.SEEK_END)
        while size and not self._whole(size):
            size -= 1
        self._file.truncate(size)
        self._synced = time.monotonic()

    def _whole(self, size: int) -> bool:
        self._file.seek(size - 1)
        return self._file.read(1) == b"\n"

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise JobError(f"{self.path} is being written by another run.") from None

    def write(self, line: dict[str, Any]) -> None:
        """Append a line."""
        rest = memoryview(json.dumps(line).encode() + b"\n")
        while rest:
            rest = rest[self._file.write(rest) :]
        if time.monotonic() - self._synced >= _SYNC:
            self.sync()

    def sync(self) -> None:
        """Wait for the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def empty(self) -> None:
        """Throw away what there is."""
        self._file.truncate(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
