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
from typing import Any, Final, Self
from zlib import crc32

import orjson

__all__ = ["JobError", "Lines", "Output", "key_of"]

_HEAD: Final = b'{"line": '
_MARK: Final = re.compile(re.escape(_HEAD) + rb'(\d+), "input": (\d+),')
_SYNC: Final = 5.0
"""Seconds between two times that the disk is waited for."""
_BUCKETS: Final = 256


class JobError(Exception):
    """The job cannot be begun or continued as it is."""


def key_of(number: int, row: Any) -> Any:
    """What a row is called: its `custom_id`, or else the number of its line."""
    key = row.get("custom_id") if isinstance(row, dict) else None
    return str(number) if key is None else key


class Lines:
    """The rows of the input, and which of them are done: 13 bytes for each.

    Raises:
        JobError: A `custom_id` comes twice, or no line is a row, or the input cannot be read twice.
    """

    def __init__(self, source: Path) -> None:
        self.source, self.total = source, 0
        if not source.is_file():
            raise JobError(
                f"{source} is not a file. Rows are read twice: write what a pipe gives to a file first."
            )
        self._sums, rows = array("I"), 0
        hashes = [array("q") for _ in range(_BUCKETS)]
        for number, line in self._numbered():
            self._sums.append(crc32(line))
            if line:
                self.total += 1
                row = _loads(line)
                rows += isinstance(row, dict)
                found = hash(str(key_of(number, row)))
                hashes[found % _BUCKETS].append(found)
        self._done = bytearray(len(self._sums))
        if self.total and not rows:
            raise JobError(
                f"{source} has no rows: each line has to be a JSON object, in UTF-8, with no line breaks in it."
            )
        twice = {one for bucket in hashes if len(set(bucket)) < len(bucket) for one in bucket}
        if twice:
            self._refuse(twice)

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        """Each line, bare, behind the byte order mark that some editors and spreadsheets write."""
        with self.source.open("rb") as lines:
            lines.seek(3 if lines.read(3) == codecs.BOM_UTF8 else 0)
            yield from enumerate(map(bytes.strip, lines), start=1)

    def _refuse(self, twice: set[int]) -> None:
        first: dict[str, int] = {}
        for number, line in self._numbered():
            key = str(key_of(number, _loads(line)))
            if line and hash(key) in twice and first.setdefault(key, number) != number:
                raise JobError(
                    f"{self.source} has the custom_id {key!r} twice: in line {first[key]} and in line {number}."
                )

    @property
    def done(self) -> int:
        """How many rows are done."""
        return sum(self._done)

    def settle(self, output: Output, cure: str) -> None:
        """Count the rows that a file has as done.

        Args:
            output: The file.
            cure: What to do if a row is another now.

        Raises:
            JobError: It is another job's, or a row has changed since.
        """
        for number, checksum in output.marks():
            if number > len(self._sums) or self._sums[number - 1] != checksum:
                raise JobError(
                    f"{output.path} does not fit the input: line {number} of {self.source} has changed. {cure}"
                )
            self._done[number - 1] = 1

    def left(self) -> Iterator[tuple[int, bytes]]:
        """The rows that are not done, with their numbers; those that were added since belong to the next run.

        Raises:
            JobError: The input has changed since it was checked.
        """
        lines = self._numbered()
        for number, checksum in enumerate(self._sums, start=1):
            _, line = next(lines, (0, b""))
            if self._done[number - 1]:
                continue
            if crc32(line) != checksum:
                raise JobError(f"line {number} of {self.source} was changed while the job ran.")
            if line:
                yield number, line

    def mark(self, number: int) -> dict[str, int]:
        """What a line of the output says of its row."""
        return {"line": number, "input": self._sums[number - 1]}


def _loads(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError:
        return None


class Output:
    """A file to which whole lines are appended, each at once. Only one run has it at a time.

    Args:
        path: The file.
        afresh: What there is will be thrown away.

    Raises:
        JobError: Another run has it, or it is not a regular file.
    """

    def __init__(self, path: Path, *, afresh: bool = False) -> None:
        if path.exists() and not path.is_file():
            raise JobError(f"{path} is not a regular file. What was answered is read again by the next run.")
        self.path, self._afresh, self.count, self._end = path, afresh, 0, 0
        self._file = path.open("ab", buffering=0)
        self._lock()
        self._synced = time.monotonic()

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

    def marks(self) -> Iterator[tuple[int, int]]:
        """Which rows the file has whole lines of, and will keep: their numbers and checksums.

        Raises:
            JobError: A line is not a job's.
        """
        with self.path.open("rb") as lines:
            for line in lines:
                found, whole = _MARK.match(line), line.endswith(b"\n")
                if not found and (whole or not (line.startswith(_HEAD) or _HEAD.startswith(line))):
                    raise JobError(
                        f"{self.path} does not fit: it is not this job's. Take another file with -o or --errors."
                    )
                if found and whole and not self._afresh:
                    self.count += 1
                    self._end += len(line)
                    yield int(found[1]), int(found[2])

    def cut(self) -> None:
        """Keep what `marks` gave: cut off a torn last line."""
        self._file.truncate(self._end)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line."""
        rest = memoryview(json.dumps(line).encode() + b"\n")
        while rest:
            rest = rest[self._file.write(rest) :]
        if time.monotonic() - self._synced >= _SYNC:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._sync()
