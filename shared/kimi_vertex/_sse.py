"""Server-sent events: bytes in, the data of complete events out. Never sees a socket.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST_EVENT", "EventReader", "OversizedEvent"]

LONGEST_EVENT: Final = 32 * 1024 * 1024
"""Bytes that one event, or a whole answer, may have. Kimi's longest answer has a few megabytes."""

_BOM: Final = b"\xef\xbb\xbf"


class OversizedEvent(Exception):
    """An event is longer than any that a working server sends."""


class EventReader:
    """Cuts a byte stream into the data of its events, wherever the network cut it.

    Only LF, CR and CRLF end a line: U+2028 and U+0085 are text. Comments and events without data give nothing.
    """

    __slots__ = ("_after_cr", "_begun", "_data", "_limit", "_pieces", "_size")

    def __init__(self, limit: int = LONGEST_EVENT) -> None:
        """Start a stream.

        Args:
            limit: Bytes that one event may have.
        """
        self._limit = limit
        self._pieces: list[bytes] = []
        """The line that has begun, as it came."""
        self._data: list[bytes] = []
        """The data lines of the event that has begun."""
        self._size = 0
        self._after_cr = False
        self._begun = False

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes and return the data of every event that they complete.

        Raises:
            OversizedEvent: An event is over the limit.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        events = self._lines(lines) if lines else []
        if rest:
            self._pieces.append(rest)
            self._grow(len(rest))
        return events

    def close(self) -> list[str]:
        """The stream has ended: return the event that its server did not end with a blank line, if any."""
        return self._lines([b"", b""])

    def _lines(self, lines: list[bytes]) -> list[str]:
        if self._pieces:
            self._size -= sum(map(len, self._pieces))
            lines[0] = b"".join(self._pieces) + lines[0]
            self._pieces = []
        if not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[str] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data).decode("utf-8", "replace"))
                    self._data = []
                    self._size = 0
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
                self._grow(len(line))
        return events

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise OversizedEvent(f"an event is longer than {self._limit:,} bytes")
