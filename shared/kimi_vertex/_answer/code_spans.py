"""Follows Markdown code in text that comes in pieces: a special token inside code is meant literally.

A span ends on the line on which it begins. A run of three or more backticks that its line does not close opens a
block, which ends with a line that holds nothing but as long a run, or a longer one.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MarkdownCode"]

_RUN: Final = re.compile("`+")
# How far behind a token its code may end. The text from the token on is held back until then.
_SPAN_LIMIT: Final = 1_024
_BLOCK_LIMIT: Final = 16_384


class MarkdownCode:
    """The code that is open at the end of a text. Text is read when a token follows: most answers hold none."""

    def __init__(self) -> None:
        self._pieces: list[str] = []  # not read yet
        self._run = 0  # how many backticks opened the code; 0 outside of code
        self._block = False  # the line on which the code began has ended
        self._unclosed = False  # a block went on for too long, so that blocks mean nothing in this text
        self._searched = 0  # how much behind the token has been searched for the end of the code
        self.feed = self._pieces.append
        """Takes the next piece of text."""

    def is_open(self) -> bool:
        """Whether the text ends inside code, given that a token follows."""
        text, position = "".join(self._pieces), 0
        self._pieces.clear()
        while True:
            if not self._run:
                opening = _RUN.search(text, position)
                if opening is None:
                    return False
                self._run, position = len(opening.group()), opening.end()
            if not self._block:
                found = re.compile(rf"(?<!`)`{{{self._run}}}(?!`)|\n").search(text, position)
                if found is None:
                    return True
                self._block = found.group() == "\n" and self._run > 2 and not self._unclosed
                if not self._block:
                    self._run, position = 0, found.end()
                    continue
                position = found.start()
            found = re.compile(rf"\n[ \t>]*`{{{self._run},}}[ \t\r]*$", re.MULTILINE).search(text, position)
            if found is None:
                self._pieces.append(text[text.rindex("\n") :])
                return True
            position = found.end()
            self.close()

    def find_end(self, text: str, token: int, *, last: bool) -> int:
        """Where the open code ends in `text`, in which a token stands at `token`.

        Returns:
            The end; `token` itself if the code has no end, so that the token is not literal; -1 if only more text
            can tell.
        """
        whole = text + "\n" if last else text
        if not self._block:
            limit = token + _SPAN_LIMIT
            found = re.compile(rf"(?<!`)`{{{self._run}}}(?=[^`])|\n").search(whole, token, limit)
            if found is None and len(text) < limit and not last:
                return -1
            if self._run < 3 or self._unclosed or (found is not None and found.group() != "\n"):
                self.close()
                return token if found is None or found.group() == "\n" else found.end()
            self._block = True
        limit = token + _BLOCK_LIMIT
        start = max(token, text.rfind("\n", token, token + self._searched))
        found = re.compile(rf"\n[ \t>]*`{{{self._run},}}[ \t\r]*(?=\n)").search(whole, start, limit)
        if found is None and len(text) < limit and not last:
            self._searched = len(text) - token
            return -1
        self._unclosed = found is None
        self.close()
        return token if found is None else found.end()

    def close(self) -> None:
        """Note that no code is open here, whatever the text looks like."""
        self._pieces.clear()
        self._run = self._searched = 0
        self._block = False
