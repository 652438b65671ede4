"""Arguments that a server left in the content: it began a call, could not read on, and sent the rest as text.

vLLM's Rust front end does so with everything that is not one plain JSON object, up to and with the tokens that end
the call and its section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kimi_vertex._json import normalize_arguments

from .arguments import ArgumentStream
from .markers import CALL_END, SECTION_END, Markers

__all__ = ["LeftArguments"]

_LONGEST: Final = 1_000_000
_MOST_PLACES: Final = 64
_MOST_ENDS: Final = 8
_BEGINS: Final = re.compile(r'\s*(?:[{\["]|```|null\s*\Z)')
_PLACE: Final = re.compile(r'(?<!\S)(?:[{\["]|```|null\s*\Z)')
_LINE: Final = re.compile(r'^(?=[{\["]|```)', re.MULTILINE)


class LeftArguments:
    """Reads the content behind the last call that the server began, until it is clear what it is."""

    def __init__(self, markers: Markers, arguments: ArgumentStream, *, needed: bool) -> None:
        """Begin behind a call.

        Args:
            markers: The model's special tokens.
            arguments: What the server sent of the call's arguments.
            needed: Whether the tool cannot do without.
        """
        self._markers = markers
        self._token = markers.calls
        self._longest = markers.longest
        self._arguments = arguments
        self._needed = needed
        self._parts: list[str] = []
        self._length = 0
        self._window = ""
        self._searched = 0  # tokens before this place stand inside of a text
        self._tokens = 0
        self._end = -1  # the first end that may be one
        self.open = True
        """Whether content is still to be held."""

    def feed(self, text: str) -> tuple[str | None, str]:
        """Take content; return the arguments that are in it, if any, and the content that is not."""
        self._parts.append(text)
        self._length += len(text)
        if self._arguments.complete and not self._arguments.empty:
            begun = "".join(self._parts).lstrip()
            if begun and begun[0] != "{":
                return self._close(None, 0)
        if self._length > _LONGEST:
            return self._close(None, 0)
        self._window += text
        if self._token.search(self._window) is None:
            self._window = self._window[-self._longest :]
            return None, ""
        self._window = ""
        whole = "".join(self._parts)
        self._parts = [whole]
        for match in self._token.finditer(whole, self._searched):
            before, ends = whole[: match.start()], self._ends(match.group())
            if self._readable(before) or (ends and not _BEGINS.match(before)):
                return self._close(match.start(), match.start())
            if not _BEGINS.match(before):
                return self._close(None, 0)
            if ends and self._end < 0:
                self._end = match.start()
            self._searched = match.end()
            self._tokens += 1
            if self._tokens == _MOST_ENDS:
                return self.finish(cut=False)
        self._window = whole[max(self._searched, len(whole) - self._longest) :]
        return None, ""

    def _ends(self, token: str) -> bool:
        return self._markers.meaning[token] in (CALL_END, SECTION_END)

    def _readable(self, text: str) -> bool:
        given = self._arguments
        begun = given.text if given.is_object and not given.complete else ""
        return normalize_arguments(begun + text) is not None

    def _close(self, end: int | None, rest: int) -> tuple[str | None, str]:
        whole = "".join(self._parts)
        self._parts, self.open = [], False
        return (None if end is None else whole[:end]), whole[rest:]

    def release(self) -> str:
        """Return what is held: it was text."""
        return self._close(None, 0)[1]

    def finish(self, *, cut: bool) -> tuple[str | None, str]:
        """Decide about what is held at the end, as `feed` does.

        Args:
            cut: Whether the answer was cut off.
        """
        whole, given = "".join(self._parts), self._arguments
        if self._end >= 0:
            return self._close(self._end, self._end)
        broken = given.is_object and not given.complete
        if (broken and cut) or (given.empty and (cut or self._needed) and _BEGINS.match(whole)):
            return self._close(len(whole), len(whole))
        return self._close(None, 0)

    def in_body(self, content: str, *, cut: bool) -> tuple[str | None, str]:
        """Find the arguments in the content of a whole body, where text may stand before them.

        Args:
            content: The content.
            cut: Whether the answer was cut off.
        """
        self._parts, ends, given = [content], list(self._orphans(content)), self._arguments
        if not ends:
            line = _LINE.search(content) if cut and given.empty else None
            start = 0 if line is None else line.start()
            if not start and not given.empty:
                return self._close(None, 0)  # it may as well have been said before the call
            arguments, rest = self.finish(cut=cut) if not start else (content[start:], "")
            return arguments, content[:start] + rest
        for end in ends:
            for number, match in enumerate(_PLACE.finditer(content, 0, end)):
                if number == _MOST_PLACES or (given.raw and not given.empty and match.group() != "{"):
                    break
                if self._readable(content[match.start() : end]):
                    return content[match.start() : end], content[: match.start()] + content[end:]
        if given.raw and not given.empty:
            return self._close(None, 0)
        line = _LINE.search(content, 0, ends[0])
        start = 0 if line is None else line.start()
        return content[start : ends[0]], content[:start] + content[ends[0] :]

    def _orphans(self, content: str) -> Iterator[int]:
        """Where tokens stand that end a call, before any that begins one."""
        for number, match in enumerate(self._token.finditer(content)):
            if not self._ends(match.group()) or number == _MOST_ENDS:
                return
            yield match.start()
