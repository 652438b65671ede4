"""What the channels for thinking and for content share: how text, tokens and leaked calls are told apart."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final, TypeAlias

from kimi_vertex._surrogates import join_surrogates
from kimi_vertex.events import TextDelta, ThinkingDelta

from .elements import ElementCalls
from .leaked_calls import Judge, LeakCollector, LeakedCall
from .literal_tokens import LiteralTokens
from .markers import (
    ELEMENT_BEGIN,
    HALF,
    HIDDEN,
    OF_ELEMENTS,
    TAGS,
    TURN_END,
    Markers,
    Scanner,
    Token,
)

__all__ = ["Channel", "Delta", "merged"]

Delta: TypeAlias = ThinkingDelta | TextDelta

_HALF_END: Final = re.compile(r"<\|close\|>\s*(?:t|th|thi|thin|think\s*(?:<.*)?)?")
"""What a turn that is cut at the end of its thinking ends with."""
_OF_CALLS: Final = ("call", "argument", "json")


class Channel:
    """What both channels share: halves of characters, tokens, leaked calls."""

    def __init__(self, markers: Markers, judge: Judge) -> None:
        self._scanner = Scanner(markers)
        self._is_plain, self._pass_by = markers.is_plain, self._scanner.pass_by
        self._literals = LiteralTokens()
        self._leaks = LeakCollector(judge)
        self._elements = ElementCalls(self._leaks)
        self._raw = False  # K3's markup has come, between which text is as it is meant
        self._ended = False  # the turn is over: what follows is another's
        self._surrogate = ""
        self._flowing = False  # a plain piece is given out as it is

    def feed(self, text: str) -> list[Delta]:
        """Take the next piece of the field's text. Subclasses deal with plain pieces while text flows."""
        out: list[Delta] = []
        text, self._surrogate = join_surrogates(self._surrogate, text)
        self._scan(text, out)
        leaks = self._leaks
        idle = not (
            self._scanner.holds or self._surrogate or leaks.open or leaks.pending or self._elements.open
        )
        self._flowing = idle and not self._ended and self._flows()
        return merged(out)

    def finish(self, *, cut: bool = False) -> list[Delta]:
        """Return what was held back; the channel is at its end.

        Args:
            cut: Whether the answer was cut off.
        """
        out: list[Delta] = []
        lost, self._surrogate = ("\ufffd" if self._surrogate else ""), ""
        self._scan(lost, out, last=True)
        self._read_all(self._literals.finish(cut=cut), out, last=True)
        self._give_back(self._elements.flush() + self._leaks.flush(), out)
        self._end(out, cut=cut)
        return merged(out)

    @property
    def leaked(self) -> list[LeakedCall]:
        """The calls found so far."""
        return self._leaks.calls

    def _scan(self, text: str, out: list[Delta], *, last: bool = False) -> None:
        scanner, elements, literals = self._scanner, self._elements, self._literals
        for item in scanner.feed(text, last=last):
            if self._ended:
                continue
            if elements.open:
                self._read_all([item], out, last=last)
                literals.begin(item)
            else:
                self._read_all(literals.take(item), out, last=last)
            in_call = self._in_call()
            scanner.markdown = not in_call
            if not in_call:
                literals.stop()

    def _read_all(self, items: list[str | Token], out: list[Delta], *, last: bool) -> None:
        elements = self._elements
        while items and not self._ended:
            current = items.pop(0)
            if elements.open:
                shown, items[:0] = elements.take(current)
                self._give_back(shown, out)
            else:
                self._read(current, out, last=last)

    def _in_call(self) -> bool:
        """Whether text belongs to a call, in which Markdown means nothing."""
        return self._leaks.open or self._elements.open

    def _read(self, item: str | Token, out: list[Delta], *, last: bool) -> None:
        """Take text or a token outside of a tools section of K3's."""
        leaks = self._leaks
        if isinstance(item, str):
            if leaks.open:
                self._give_back(leaks.text(item), out)
            elif leaks.pending:
                self._give_back(leaks.after(item), out)
            else:
                self._plain(item, out)
            return
        self._outside_code()
        if item.kind == HALF:
            if last and _HALF_END.fullmatch(item.text):
                self._close_think(out)
        elif item.kind in OF_ELEMENTS and not leaks.in_arguments:
            self._read_element(item, out)
        elif item.kind not in TAGS | OF_ELEMENTS:
            self._tool_token(item, out)
        elif leaks.in_arguments:
            leaks.text(item.text)
        else:
            self._think_tag(item, out)

    def _read_element(self, token: Token, out: list[Delta]) -> None:
        """Take a token of K3's outside of a tools section."""
        opens, name = token.kind == ELEMENT_BEGIN, token.element
        if token.kind == TURN_END or (name == "message" and not opens):
            if self._raw:
                self._close_leak(out)
                self._turn_ends(out)
                self._ended = True
            return
        if name in _OF_CALLS:
            # Where text may stand, a call is text; but an argument may be the rest of one that was cut.
            lost = self._raw and (self._elements.begun or self._between())
            if opens and token.attributes and (name == "argument" or (name == "call" and lost)):
                self._close_leak(out)
                self._open_section(token, out)
            elif not lost:
                self._read(token.text, out, last=False)
            return
        self._close_leak(out)
        self._in_markup(out)
        if name == "think":
            (self._open_think if opens else self._close_think)(out)
        elif name == "response":
            (self._open_response if opens else self._close_response)(out)
        elif name == "tools" and opens:
            self._open_section(token, out)

    def _close_leak(self, out: list[Delta]) -> None:
        """End what is open of a call in K2's notation."""
        if self._leaks.open:
            self._give_back(self._leaks.token(Token(HIDDEN, "")), out)

    def _in_markup(self, out: list[Delta]) -> None:
        """Note that the server lets K3's markup through."""
        self._raw = True

    def _open_section(self, token: Token, out: list[Delta]) -> None:
        self._in_markup(out)
        self._before_section(out)
        self._elements.begin(token)

    def _outside_code(self) -> None:
        """Note that no code is open, because a token came."""

    def _give_back(self, text: str, out: list[Delta]) -> None:
        if text:
            self._plain(text, out)

    def _tool_token(self, token: Token, out: list[Delta]) -> None:
        self._give_back(self._leaks.token(token), out)

    def _open_think(self, out: list[Delta]) -> None:
        raise NotImplementedError

    def _close_think(self, out: list[Delta]) -> None:
        raise NotImplementedError

    def _open_response(self, out: list[Delta]) -> None:
        raise NotImplementedError

    def _close_response(self, out: list[Delta]) -> None:
        raise NotImplementedError

    def _before_section(self, out: list[Delta]) -> None:
        """Note that a section of K3's begins."""

    def _between(self) -> bool:
        """Whether one element is over, and nothing of another has come."""
        raise NotImplementedError

    def _turn_ends(self, out: list[Delta]) -> None:
        self._leaks.settle()

    def _flows(self) -> bool:
        raise NotImplementedError

    def _plain(self, text: str, out: list[Delta]) -> None:
        raise NotImplementedError

    def _think_tag(self, token: Token, out: list[Delta]) -> None:
        raise NotImplementedError

    def _end(self, out: list[Delta], *, cut: bool) -> None:
        """Give out what is held at the channel's end."""


def merged(deltas: list[Delta]) -> list[Delta]:
    """The deltas, with neighbors of one kind joined."""
    if len(deltas) < 2:
        return deltas
    groups = [(kind, "".join(d.text for d in group)) for kind, group in groupby(deltas, type)]
    return [kind(text) for kind, text in groups if text]
