"""The files of a job: rows in, answers and dead letters out, and which rows are done.

A row is done when its whole line is in one of the two files. Every line there names the row's number and a checksum of its
input, so that a second run knows what is left, and that the input is still the same. No file is cut or emptied before all
that is there is known to be this job's.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Self
from zlib import crc32

import orjson

__all__ = ["JobError", "Lines", "Output"]

_ID: Final = re.compile(rb'\s*\{\s*"custom_id"\s*:\s*"([^"\\]*)"')
_HEAD: Final = b'{"line": '
_DONE: Final = re.compile(_HEAD.replace(b"{", rb"\{") + rb'(\d+), "input": (\d+),')
_CHUNK: Final = 1 << 16
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
        JobError: A `custom_id` comes twice or is not a text, what was done belongs to another input, or the input cannot be
            read twice.
    """

    def __init__(self, source: Path, *finished: Path) -> None:
        self.source = source
        if not source.is_file():
            raise JobError(
                f"{source} is not a file. Rows are read twice: write what a pipe gives to a file first."
            )
        self._sums, seen, self.total = array("I"), _Seen(), 0
        with _rows(source) as rows:
            for number, row in enumerate(rows, start=1):
                stripped = row.strip()
                self._sums.append(crc32(stripped))
                if stripped:
                    self.total += 1
                key = _key(number, row)
                if key is not None and not seen.add(hash(key)):
                    text = key.decode(errors="replace")
                    raise JobError(f"{source} has the custom_id {text!r} twice: {self._where(key, number)}.")
        self._done = bytearray(len(self._sums) + 1)
        for path in finished:
            self._read(path)
        self.done = sum(self._done)

    def _where(self, key: bytes, last: int) -> str:
        with _rows(self.source) as rows:
            first = next(number for number, row in enumerate(rows, start=1) if _key(number, row) == key)
        return f"in line {first} and in line {last}"

    def _read(self, path: Path) -> None:
        for number, checksum in marks(path):
            if number > len(self._sums) or self._sums[number - 1] != checksum:
                raise _unfit(path, f"line {number} of {self.source} has changed")
            self._done[number] = 1

    def left(self) -> Iterator[tuple[int, bytes]]:
        """The rows that are not done, with their numbers; those that were added since belong to the next run.

        Raises:
            JobError: The input has changed since it was checked.
        """
        with _rows(self.source) as rows:
            for number, checksum in enumerate(self._sums, start=1):
                row = next(rows, b"")
                if self._done[number]:
                    continue
                stripped = row.strip()
                if crc32(stripped) != checksum:
                    raise JobError(f"line {number} of {self.source} was changed while the job ran.")
                if stripped:
                    yield number, row

    def mark(self, number: int) -> dict[str, int]:
        """What a line of the output says of its row."""
        return {"line": number, "input": self._sums[number - 1]}


def _rows(source: Path) -> BinaryIO:
    """The input, open behind the byte order mark that some editors and spreadsheets write."""
    file = source.open("rb")
    start = file.read(3)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        file.close()
        raise JobError(f"{source} is UTF-16. Write it as UTF-8.")
    file.seek(3 if start == codecs.BOM_UTF8 else 0)
    return file


def _key(number: int, row: bytes) -> bytes | None:
    """The key that a row's answer will have: its own, or its number. None: it is not a row, and becomes a dead letter."""
    times = row.count(b'"custom_id"')
    if times == 1 and (found := _ID.match(row)):
        return found[1]
    if times:
        try:
            value = orjson.loads(row)
        except ValueError:
            return None
        key = value.get("custom_id") if isinstance(value, dict) else None
        if isinstance(key, str):
            return key.encode("utf-8", "surrogatepass")
        if key is not None:
            raise JobError(f"line {number} has the custom_id {str(key)[:80]}, which is not a text. Quote it.")
    return b"%d" % number if b'"messages"' in row else None


def marks(path: Path) -> Iterator[tuple[int, int]]:
    """Which rows a job's file has whole lines of: their numbers and checksums.

    Raises:
        JobError: A line is not a job's.
    """
    with path.open("rb") as lines:
        for line in lines:
            if found := _DONE.match(line):
                if line.endswith(b"\n"):
                    yield int(found[1]), int(found[2])
            elif line.endswith(b"\n") or not (line.startswith(_HEAD) or _HEAD.startswith(line)):
                raise _unfit(path, "it is not this job's")


def _unfit(path: Path, what: str) -> JobError:
    return JobError(f"{path} does not fit the input: {what}. Take another file with -o or --errors.")


class Output:
    """A file to which whole lines are appended, each at once. Only one run has it at a time.

    Raises:
        JobError: Another run has it, or it is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_file():
            raise JobError(f"{path} is not a regular file. What was answered is read again by the next run.")
        self.path = path
        self._file = path.open("ab+", buffering=0)
        self._lock()
        self._synced = time.monotonic()

    def cut(self) -> None:
        """Cut off a torn last line. The file has to be known for this job's."""
        end, found = self._file.seek(0, os.SEEK_END), 0
        while end and not found:
            start = max(end - _CHUNK, 0)
            self._file.seek(start)
            found = self._file.read(end - start).rfind(b"\n") + 1
            end = start + found
        self._file.truncate(end)

    def empty(self) -> None:
        """Throw away what there is.

        Raises:
            JobError: It is not a job's.
        """
        for _ in marks(self.path):
            pass
        self._file.truncate(0)

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
