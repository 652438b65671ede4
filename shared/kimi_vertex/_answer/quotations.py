"""Tells text that only looks like a call from a call that a server let through as text.

A model that quotes a document, a web page or a tool's result repeats what stands there. So a call that the request
holds as text is a quotation where the answer holds it, too, whatever its number and its white space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kimi_vertex._json import LENIENT, canonical, normalize_arguments
from kimi_vertex._signs import mend_json
from kimi_vertex._surrogates import without_surrogates
from kimi_vertex._tools import DeclaredTools

from .elements import ElementCalls
from .leaked_calls import LeakCollector, LeakedCall
from .literal_tokens import LiteralTokens
from .markers import ELEMENT_BEGIN, HALF, OF_ELEMENTS, TAGS, Markers, Scanner, Token, text_of

__all__ = ["Quotations"]

_LONGEST: Final = 2_000_000
"""How much text is searched. A request with more of it that looks like calls can have no leaked call."""
_SIGNS: Final = ("tool_call", "|open|", "<|", "think>", "think▷")
"""One of these, or a tool's name with a number, is in every text that holds a call, also if it is escaped."""
_DEPTH: Final = 2  # JSON may hold JSON
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ENTITIES: Final = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&", "vert": "|"}
_ENTITY: Final = re.compile(r"&(lt|gt|quot|apos|amp|vert|#[0-9]{1,6}|#[xX][0-9a-fA-F]{1,5});")
_LINE_MARK: Final = re.compile(r"^[ \t]*(?:>[> ]*|[|+]|\d{1,6}[:|→\t])[ \t]?", re.MULTILINE)
"""What mail, a difference or a listing writes before each line."""
_NUMBER: Final = re.compile(r":\d{1,9}\s{0,8}(?=\{)")
_NAME: Final = re.compile(r"[\w.\-]+\Z")
_LONGEST_NAME: Final = 128


class Quotations:
    """What the request holds as text, and which of it the answer repeats."""

    def __init__(
        self, texts: Iterable[str], tools: DeclaredTools, markers: Markers, *, recovers: bool
    ) -> None:
        """Read nothing yet: most answers hold nothing that looks like a call.

        Args:
            texts: The request's texts.
            tools: The tools that it declares.
            markers: The model's special tokens.
            recovers: Whether leaked text can be a call at all.
        """
        self._texts = texts
        self._tools = tools
        self._markers = markers
        self.recovers = recovers
        self.found: list[LeakedCall] = []
        """The quotations of the answer so far."""
        self.mends = False
        """Whether there may be signs in the answer (`_signs`)."""
        self._known: frozenset[tuple[str, str]] | None = None
        self._left = _LONGEST
        tags = [tag for tag, kind in markers.meaning.items() if kind in TAGS]
        self._tags = re.compile("|".join(map(re.escape, tags)))

    def holds(self, leak: LeakedCall) -> bool:
        """Whether the request holds the same call as text. It is noted as a quotation then."""
        if self._known is None:
            self._known = frozenset(self._key(call) for text in self._texts for call in self._calls(text))
        name, arguments = self._key(leak)
        # A call whose tool is not certain is one of any tool.
        same = {(name, arguments), ("", arguments)} if name else {k for k in self._known if k[1] == arguments}
        held = self._left < 0 or not same.isdisjoint(self._known)
        if held:
            self.note([leak])
        return held

    def note(self, leaks: Iterable[LeakedCall]) -> None:
        """Note that these are quotations."""
        self.found += leaks

    def name(self, leak: LeakedCall) -> str:
        """The tool that a call means, or the name that it has."""
        return self._tools.resolve(leak.id, leak.arguments) or DeclaredTools().resolve(leak.id, "") or ""

    def _key(self, leak: LeakedCall) -> tuple[str, str]:
        arguments = mend_json(leak.arguments) if self.mends else leak.arguments
        normal = normalize_arguments(arguments)
        name = self._tools.resolve(leak.id, "") if leak.id else ""
        return name or "", canonical(arguments if normal is None else normal)

    def _calls(self, text: str) -> Iterator[LeakedCall]:
        """All that looks like a call in a text, escaped or not, in code or not."""
        signs = (*_SIGNS, *(f"{name}:" for name in self._tools.names))
        if not any(sign in text for sign in signs):
            return
        for reading in _readings(without_surrogates(text)):
            self._left -= len(reading)
            if self._left < 0:
                return
            calls, words = self._marked(reading)
            yield from calls
            yield from _bare(reading)
            # The answer's tokens are hidden before its words are looked at, and some of its tags.
            for text_alone in {words, self._tags.sub("", words)} - {reading}:
                yield from _bare(text_alone)

    def _marked(self, text: str) -> tuple[list[LeakedCall], str]:
        """The calls that tokens mark, and the text without the tokens."""
        scanner = Scanner(self._markers)
        scanner.markdown = False
        found = list(scanner.feed(text, last=True))
        literals = LiteralTokens(eager=True)
        read = [passed for item in found for passed in literals.take(item)] + literals.finish()
        # What follows a call here need not follow it in the answer, so both readings of a token in a string count.
        calls = [
            call for items in ([found, read] if literals.found else [found]) for call in self._read(items)
        ]
        return calls, text_of(item for item in found if isinstance(item, str) or item.kind in TAGS)

    def _read(self, found: Sequence[str | Token]) -> list[LeakedCall]:
        leaks = LeakCollector(Quotations((), self._tools, self._markers, recovers=True))
        elements = ElementCalls(leaks)
        before, items = "", list(found[::-1])
        while items:
            item = items.pop()
            text = item if isinstance(item, str) else item.text
            if elements.open:
                items += reversed(elements.take(item)[1])
            elif isinstance(item, Token) and item.kind in OF_ELEMENTS and not leaks.in_arguments:
                if item.kind == ELEMENT_BEGIN and item.element in ("tools", "call", "argument"):
                    elements.begin(item)
            elif isinstance(item, Token) and item.kind not in TAGS | OF_ELEMENTS:
                if item.kind != HALF:
                    leaks.token(item, before)
                    before = ""
            elif leaks.open:
                leaks.text(text)
            else:
                before = text
        elements.flush()
        leaks.flush()
        return leaks.calls


def _readings(text: str) -> Iterator[str]:
    """The text, and what it says if it is JSON, JSON in JSON, or HTML, or if its lines are quoted or numbered."""
    for depth in range(_DEPTH + 1):
        if depth:
            if "\\" not in text:
                return
            text = _ESCAPE.sub(_unescaped, text)
        yield text
        if "&" in text and not depth:
            yield _ENTITY.sub(_read_entity, text)
        unmarked = _LINE_MARK.sub("", text)
        if unmarked != text:
            yield unmarked


def _read_entity(match: re.Match[str]) -> str:
    name = match[1]
    if name[0] != "#":
        return _ENTITIES[name]
    code = int(f"0{name[1:]}" if name[1] in "xX" else name[1:].lstrip("0") or "0", 0)
    return chr(code) if 0 < code < 0xD800 else match[0]


def _unescaped(match: re.Match[str]) -> str:
    code, sign = match.groups()
    return chr(int(code, 16)) if code else _ESCAPED.get(sign, sign)


def _bare(text: str) -> Iterator[LeakedCall]:
    """Calls without tokens, wherever they stand."""
    for match in _NUMBER.finditer(text):
        name = _NAME.search(text[max(0, match.start() - _LONGEST_NAME) : match.start()])
        if name is None:
            continue
        try:
            _, end = LENIENT.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        yield LeakedCall(name.group() + match.group().strip(), text[match.end() : end])
