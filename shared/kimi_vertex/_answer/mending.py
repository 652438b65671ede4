"""Takes the signs of `_signs` out of an answer again, whole or in pieces.

Nothing here runs for an answer to a request without signs, and little for one that holds none itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from kimi_vertex._signs import OPENERS, SIGN, mend_json, mend_text
from kimi_vertex.events import Event, TextDelta, ThinkingDelta

__all__ = ["ArgumentMender", "TextMender"]

_WINDOW: Final = 14
"""Longer than an opener and the beginning of a sign, both escaped."""
_BEGUN: Final = re.compile(
    r"(?:[<\[◁]|\\u00(?:3[cC]|5[bB])|\\u25[cC]1)(?:\\(?:u(?:2(?:06?)?)?)?)?\Z"
    r"|\\(?:u(?:0(?:0[35]?)?|2(?:5[cC]?)?)?)?\Z"
)


class TextMender:
    """Mends the text and the thinking of one answer. Nothing is held back: what a sign follows is shown already."""

    def __init__(self, given: Sequence[tuple[type[Event], str]]) -> None:
        """Begin in the middle of an answer.

        Args:
            given: The last piece of each kind that came before.
        """
        self._open = {kind: text.endswith(OPENERS) for kind, text in given}

    def mend(self, events: Sequence[Event]) -> list[Event]:
        """The events without signs."""
        mended: list[Event] = []
        for event in events:
            kind = type(event)
            if isinstance(event, TextDelta | ThinkingDelta) and event.text:
                text = event.text
                cut = text.removeprefix(SIGN) if self._open.get(kind) else text
                self._open[kind] = text.endswith(OPENERS)
                if shown := mend_text(cut):
                    mended.append(event if shown == text else replace(event, text=shown))
            else:
                mended.append(event)
        return mended


class ArgumentMender:
    """Mends the arguments of one call, which may hold openers and signs as escapes, cut anywhere."""

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> str:
        """Take the next piece; return what can be decided."""
        text, self.held = self.held + text, ""
        start = max(0, len(text) - _WINDOW)
        while begun := _BEGUN.search(text, start):
            before, start = text[: begun.start()], begun.start() + 1
            if not (len(before) - len(before.rstrip("\\"))) % 2:  # else what begins here is escaped itself
                text, self.held = before, text[begun.start() :]
                break
        return mend_json(text)

    def finish(self) -> str:
        """What was held at the end."""
        held, self.held = self.held, ""
        return held
