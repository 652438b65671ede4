"""Compressed bodies: undone piece by piece, so that a few kilobytes cannot become gigabytes in memory.

httpx undoes a whole piece at a time, and each encoding of a body that has several: 64 KB then become 64 GB.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

import httpx

__all__ = ["ACCEPTED", "LARGEST_GROWTH", "Decoding", "UnreadableBody"]

ACCEPTED: Final = "gzip, deflate"
LARGEST_GROWTH: Final = 100
"""How many times its size a compressed body may grow to, once it is larger than the longest answer. Text of a model,
events included, is compressed to a tenth or a thirtieth."""

_PIECE: Final = 64 * 1024
_MOST_ENCODINGS: Final = 2
_WINDOWS: Final = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_GZIP_MAGIC: Final = b"\x1f\x8b"


class UnreadableBody(Exception):
    """The body is longer than any that a working server sends, or encoded as no client asked for."""


class _Stage:
    """Undoes one encoding."""

    def __init__(self, window: int, charge: Callable[[int], None]) -> None:
        self._window = window
        self._charge = charge
        self._inflate = zlib.decompressobj(window)
        self._fresh = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        piece = b""
        # A full piece may have more behind it, although everything has been taken in.
        while chunk or len(piece) == _PIECE:
            if self._inflate.eof:
                if not chunk.startswith(_GZIP_MAGIC):
                    return  # what follows the data does not belong to them
                self._inflate = zlib.decompressobj(self._window)
            piece = self._piece(chunk)
            chunk = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                self._charge(len(piece))
                yield piece

    def _piece(self, chunk: bytes) -> bytes:
        fresh, self._fresh = self._fresh, False
        try:
            return self._inflate.decompress(chunk, _PIECE)
        except zlib.error as error:
            if fresh and self._window == zlib.MAX_WBITS:
                # What many servers call deflate has no header.
                self._window = -zlib.MAX_WBITS
                self._inflate = zlib.decompressobj(self._window)
                return self._piece(chunk)
            raise httpx.DecodingError(str(error)) from None


class Decoding:
    """Undoes a body's encodings.

    Args:
        header: The `content-encoding`.
        limit: Bytes that the body may have whatever its compressed size.

    Raises:
        UnreadableBody: An encoding is unknown, or there are too many.
    """

    def __init__(self, header: str, limit: int) -> None:
        names = [name for part in header.lower().split(",") if (name := part.strip()) not in ("", "identity")]
        if len(names) > _MOST_ENCODINGS or not all(name in _WINDOWS for name in names):
            raise UnreadableBody(f"the body is encoded as {header[:50]!r}, which was not asked for")
        self._limit = limit
        self._read = 0
        self._stages = [_Stage(_WINDOWS[name], self._counter()) for name in reversed(names)]

    def _counter(self) -> Callable[[int], None]:
        grown = 0

        def charge(size: int) -> None:
            nonlocal grown
            grown += size
            if grown > self._limit and grown > LARGEST_GROWTH * self._read:
                raise UnreadableBody(
                    f"the compressed body grows to more than {LARGEST_GROWTH} times its size"
                )

        return charge

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes as they were sent; yield what they stand for, in pieces of 64 KB at most."""
        self._read += len(chunk)
        yield from _through(self._stages, chunk)


def _through(stages: list[_Stage], chunk: bytes) -> Iterator[bytes]:
    if not stages:
        yield chunk
        return
    for piece in stages[0].feed(chunk):
        yield from _through(stages[1:], piece)
