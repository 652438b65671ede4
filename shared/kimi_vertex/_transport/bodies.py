"""Bodies: of a request, told when it is written; of responses, as sent or decoded, and joined within limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic
from typing import Any, Final

import httpx

from .encodings import Decoding, UnreadableBody
from .sse import LONGEST_EVENT

__all__ = ["Body", "Content", "adecoded", "body_as_sent", "decoded"]

_LONGEST_ERROR: Final = 256 * 1024
"""Bytes of an error's body that are read."""
_LIVELY: Final = 1024
"""Bytes of a body that show that a server lives."""


def body_as_sent(response: httpx.Response) -> Any:
    """The transport's stream of a body, if no hook has read it and httpx has nothing to decode; else `None`.

    All that `iter_bytes` would do is to count the bytes, which costs about as much as reading the JSON of a delta.
    """
    as_sent = not response.is_stream_consumed and "content-encoding" not in response.headers
    return response.stream if as_sent else None


def _decoding(response: httpx.Response) -> Decoding | None:
    """What undoes the encodings of a body; `None` if a hook has read it."""
    if response.is_stream_consumed:
        return None
    return Decoding(response.headers.get("content-encoding", ""), LONGEST_EVENT)


def decoded(response: httpx.Response) -> Iterator[bytes]:
    """The pieces of a body with its encodings undone."""
    decoding = _decoding(response)
    if decoding is None:
        yield from response.iter_bytes()
    else:
        for chunk in response.iter_raw():
            yield from decoding.feed(chunk)


async def adecoded(response: httpx.Response) -> AsyncIterator[bytes]:
    """The asynchronous twin of `decoded`."""
    decoding = _decoding(response)
    if decoding is None:
        async for chunk in response.aiter_bytes():
            yield chunk
    else:
        async for chunk in response.aiter_raw():
            for piece in decoding.feed(chunk):
                yield piece


class Content(httpx.ByteStream):
    """The body of a request, which tells once when it is written, and then forgets whom: connections keep their last request."""

    def __init__(self, content: bytes, sent: Callable[[], None]) -> None:
        super().__init__(content)
        self._content = content
        self._sent: Callable[[], None] | None = sent

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        self._written()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        self._written()

    def _written(self) -> None:
        sent, self._sent = self._sent, None
        if sent is not None:
            sent()


class Body:
    """Joins a body that may not grow without end, and knows since when nothing of note has come."""

    def __init__(self, *, of_error: bool) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._noted = 0
        self._limit = _LONGEST_ERROR if of_error else LONGEST_EVENT
        self._of_error = of_error
        self._blank = True
        self.since = monotonic()
        """When something of note has come: enough bytes to show that the server lives, or a blank instead."""

    @property
    def enough(self) -> bool:
        """Whether the rest need not be read."""
        return self._of_error and self._size >= self._limit

    def add(self, chunk: bytes) -> None:
        """Take the next piece.

        Raises:
            UnreadableBody: There are more than any answer has.
        """
        self._chunks.append(chunk)
        self._size += len(chunk)
        # Blanks before an answer say that the server lives.
        self._blank = self._blank and chunk.isspace()
        if self._blank or self._size >= self._noted + _LIVELY:
            self._noted, self.since = self._size, monotonic()
        if self._size > self._limit and not self._of_error:
            raise UnreadableBody(f"the body is longer than {self._limit:,} bytes")

    def whole(self) -> bytes:
        """What has come."""
        body = b"".join(self._chunks)
        return body[: self._limit] if self._of_error else body
