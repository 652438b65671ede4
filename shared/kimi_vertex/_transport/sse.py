"""Server-sent events: bytes in, the data of complete events out. Never sees a socket.

Where the bytes are nothing but events of one `data` line each, as with every server of Kimi, they are read here, at
a tenth of the cost; httpx-sse reads all others. Both get whole events only.
"""

from __future__ import annotations

from typing import Final

import httpx
from httpx_sse import EventSource

from .encodings import UnreadableBody

__all__ = ["LONGEST_EVENT", "EventReader"]

LONGEST_EVENT: Final = 32 * 1024 * 1024
"""Bytes that one event, or a whole answer, may have. Kimi's longest answer has a few megabytes."""

# So many bytes at a time show that a server lives, even in the middle of a line.
_LIVELY: Final = 1024
# A line's end behind a line's end is a blank line.
_BLANK_LINES: Final = (b"\n\n", b"\n\r", b"\r\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# Events are UTF-8, whatever the response's header says.
_HEADERS: Final = {"content-type": "text/event-stream; charset=utf-8"}


class EventReader:
    """Cuts a byte stream into the data of its events, wherever the network cut it.

    Only LF, CR and CRLF end a line: U+2028 and U+0085 are text. Comments and events without data give nothing.
    """

    def __init__(self, limit: int = LONGEST_EVENT) -> None:
        """Start a stream.

        Args:
            limit: Bytes that one event may have.
        """
        self._limit = limit
        self._held = bytearray()
        """The event that has begun."""
        self._started = False
        """Whether an event has been read: a byte order mark may come before the first."""
        self.dripping = False
        """Whether the last bytes were few and without the end of a line: not a sign that the server lives."""

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes and return the data of every event that they complete.

        Raises:
            UnreadableBody: An event is over the limit.
        """
        if self._held or not self._started or not chunk.endswith(b"\n\n"):
            chunk = self._whole_events(chunk)
        plain = chunk.replace(b"\r\n", b"\n") if b"\r" in chunk else chunk
        if plain.startswith(b"data: ") and plain.endswith(b"\n\n") and b"\r" not in plain:
            try:
                text = plain[6:-2].decode()
            except UnicodeDecodeError:
                return _read(chunk)
            if "\n" not in text:
                return [text] if text else []
            events = text.split("\n\ndata: ")
            if text.count("\n") == 2 * (len(events) - 1):
                return [event for event in events if event]
        return _read(chunk)

    def close(self) -> list[str]:
        """The stream has ended: return the event that its server did not end with a blank line, if any."""
        return _read(self._whole_events(b"\n\n"))

    def _whole_events(self, chunk: bytes) -> bytes:
        """Add the next bytes; take out what is whole."""
        held = self._held
        searched = max(0, len(held) - 1)
        held += chunk
        end = max(held.rfind(blank, searched) for blank in _BLANK_LINES) + 2
        if end == 1:
            block = b""
            few = len(chunk) < _LIVELY and b"\n" not in chunk and b"\r" not in chunk
            self.dripping = few
        else:
            self.dripping = False
            if held[end - 1 : end + 1] == b"\r\n":
                end += 1
            # A line feed whose carriage return ended the event before.
            block = bytes(held[:end]).lstrip(b"\n")
            del held[:end]
            if not self._started:
                self._started = True
                block = block.removeprefix(_BYTE_ORDER_MARK)
        if len(held) > self._limit:
            raise UnreadableBody(f"an event is longer than {self._limit:,} bytes")
        return block


def _read(block: bytes) -> list[str]:
    if not block:
        return []
    source = EventSource(httpx.Response(200, headers=_HEADERS, content=block))
    return [event.data for event in source.iter_sse() if event.data]
