"""Tells a token inside a string of a leaked call's arguments, which is part of the string, from one that ends the call.

A model that writes about its own tokens puts them into JSON strings. But it may also forget a quote, and then the token
behind the open string is meant. Only what follows can tell, so it is held until it does.
"""

from __future__ import annotations

import re
from typing import Final

from kimi_vertex._json import normalize_arguments

from .leaked_calls import UNMARKED, UNMARKED_NATIVE
from .markers import ARGUMENTS_BEGIN, CALL_BEGIN, HALF, HIDDEN, OF_CALLS, SECTION_END, Token, text_of

__all__ = ["LiteralTokens"]

_MEANT: Final = OF_CALLS | {HIDDEN, HALF}
"""What would end the arguments, or be lost in them. Any other token is text there anyway."""
_BEFORE_ARGUMENTS: Final = OF_CALLS - {SECTION_END}
_STRUCTURE: Final = re.compile(r'["\\{}\[\]]')
_IN_STRING: Final = re.compile(r'["\\]')
_ANY: Final = re.compile(r"\S")
_HEADS: Final = {ARGUMENTS_BEGIN: re.compile(r"(?:```\w*\s*)?"), CALL_BEGIN: UNMARKED}
"""What stands between a token and the object."""
_NOISE: Final = re.compile(r"(?:```|<\|?)?")
"""What may follow it: the end of a fence, half a token."""


class LiteralTokens:
    """Passes on the text and tokens of one channel, of which those that stand in strings have become text."""

    def __init__(self, *, eager: bool = False) -> None:
        """Begin outside of a call.

        Args:
            eager: Whether whole arguments are enough, whatever follows them. Else it has to be a token, or the end.
        """
        self._eager = eager
        self._json: _Json | None = None  # of the open call
        self._held: list[str | Token] = []  # from the first token in an open string on
        self.found = False
        """Whether a token has become text."""

    def begin(self, item: str | Token) -> None:
        """Note an item that was read elsewhere."""
        if isinstance(item, Token) and item.kind in _BEFORE_ARGUMENTS:
            self._json = _Json(item.kind)
        else:
            self._json = None

    def take(self, item: str | Token) -> list[str | Token]:
        """Take the next item; return what is to be read by now."""
        passed: list[str | Token] = []
        self._take_all([item], passed)
        return passed

    def finish(self, *, cut: bool = False) -> list[str | Token]:
        """Return what is held at the end.

        Args:
            cut: Whether the answer was cut off, so that the arguments need not end.
        """
        passed: list[str | Token] = []
        while self._held:
            if cut and self._json is not None and not self._json.complete:
                self._pass_as_text(passed)
            else:
                self._take_all(self._decide(None, passed), passed)
        return passed

    def stop(self) -> None:
        """Note that no call is open."""
        self._json = None

    def _take_all(self, items: list[str | Token], passed: list[str | Token]) -> None:
        waiting = items[::-1]
        while waiting:
            waiting += reversed(self._take(waiting.pop(), passed))

    def _take(self, item: str | Token, passed: list[str | Token]) -> list[str | Token]:
        """Take an item; return what is to be taken again, because a string that was open never ends."""
        arguments, is_token = self._json, isinstance(item, Token) and item.kind in _MEANT
        if arguments is None:
            self.begin(item)
        elif arguments.in_string or not is_token:
            arguments.feed(item if isinstance(item, str) else item.text)
            if self._held or is_token:
                self._held.append(item)
                ended = arguments.broken or (self._eager and arguments.complete)
                return self._decide(None, passed) if ended else []
            if arguments.broken:
                self._json = None
        else:
            assert not isinstance(item, str)
            again = self._decide(item, passed)
            if again:
                return [*again, item]
            self.begin(item)
        passed.append(item)
        return []

    def _decide(self, follows: Token | None, passed: list[str | Token]) -> list[str | Token]:
        """Pass on what is held, if it is a call's arguments; else return it: its first token is one."""
        if self._held and self._json is not None and self._json.is_whole(follows, alone=not self._eager):
            self._pass_as_text(passed)
        again, self._held = self._held, []
        if again:
            self._json = None
        return again

    def _pass_as_text(self, passed: list[str | Token]) -> None:
        passed.append(text_of(self._held))
        self._held, self.found = [], True


class _Json:
    """Follows the strings of a call's arguments, and sees where they cannot be JSON."""

    def __init__(self, opened_by: str) -> None:
        """Begin.

        Args:
            opened_by: The kind of the token before the arguments: it says what else may stand before them.
        """
        self._opened_by = opened_by
        self._parts: list[str] = []
        self._behind: list[str] = []  # what follows the whole value
        self._depth = 0
        self._escaped = False
        self._string_ended = False  # nothing but white space has come since
        self.in_string = False
        self.broken = False
        self.complete = False

    def feed(self, text: str) -> None:
        """Take the next piece."""
        start = position = 0
        while position < len(text) and not (self.complete or self.broken):
            if self._escaped:
                self._escaped, position = False, position + 1
                continue
            signs = _IN_STRING if self.in_string else _ANY if self._string_ended else _STRUCTURE
            found = signs.search(text, position)
            if found is None:
                position = len(text)
                break
            position = found.end()
            if self._depth or self.in_string:
                self._step(found.group())
            else:
                self._begin(found.group(), "".join((*self._parts, text[: found.start()])))
                self._parts, start = [], found.start()
        self._parts.append(text[start:position])
        self._behind.append(text[position:])

    def _begin(self, sign: str, before: str) -> None:
        head = _HEADS.get(self._opened_by, UNMARKED_NATIVE)
        self.broken = head.fullmatch(before.lstrip()) is None
        if sign == "{":
            self._depth = 1
        elif sign == '"' and self._opened_by == ARGUMENTS_BEGIN:
            self.in_string = True  # JSON in JSON
        else:
            self.broken = True

    def _step(self, sign: str) -> None:
        if self.in_string:
            self._escaped = sign == "\\"
            self.in_string, self._string_ended = self._escaped, not self._escaped
            self.complete = self._string_ended and self._depth == 0
            return
        self.broken = sign == "\\" or (self._string_ended and sign not in ",:}]")
        self._string_ended = False
        if sign == '"':
            self.in_string = True
        elif sign in "{[":
            self._depth += 1
        elif sign in "}]":
            self._depth -= 1
            self.complete = self._depth == 0

    def is_whole(self, follows: Token | None, *, alone: bool) -> bool:
        """Whether these are a call's arguments.

        Args:
            follows: The token behind them, or `None` for the end.
            alone: Whether nothing else may follow them.
        """
        behind = "".join(self._behind).strip() if alone else ""
        if follows is not None and follows.kind == ARGUMENTS_BEGIN and len(behind.split()) == 1:
            behind = ""  # the id of the next call, whose first token is missing
        return (
            self.complete
            and _NOISE.fullmatch(behind) is not None
            and normalize_arguments("".join(self._parts)) is not None
        )
