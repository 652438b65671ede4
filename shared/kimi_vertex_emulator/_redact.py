"""What must not be in a cassette, and its removal from texts, JSON and streams. Plain logic, no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from kimi_vertex_emulator._chat import objects
from kimi_vertex_emulator._requests import ENDPOINT, Recorded, parsed

__all__ = ["Redactor", "is_secret_header", "masked_query"]

_PROJECT = re.compile(r"/projects/([^/]+)/")
_SECRET_HEADERS = re.compile(r"(?i)auth|key|token|secret|cookie|assertion|jwt|password|credential|signature")
# What a delta repeats instead of going on with it.
_NO_FRAGMENTS = ("role", "type", "id", "name", "format")
_SHORTEST_HALF = 4
_HALF_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]+@[\w.-]*$")
_SECRET_NAMES = re.compile(r"(?i).*(token|secret|password|credential|assertion|api_?key|private_?key)")
# Order counts: a dedicated DNS name holds an endpoint's and a project's number.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"(?i)(?<![\w-])[\w-]++\.([a-z]+-[a-z]+\d+)-\d+\.prediction\.vertexai\.goog"),
        r"ENDPOINT.\1-PROJECT.prediction.vertexai.goog",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), r"\1TOKEN"),
    (re.compile(r"\bya29\.[\w.-]+|\beyJ[\w-]+\.[\w-]+\.[\w-]*|\bAIza[\w-]{30,}|\bsk-[\w-]{20,}"), "TOKEN"),
    # A login's refresh token, an OAuth client's secret, an express key.
    (re.compile(r"(?<![\w/])1//[\w-]{20,}|\bGOCSPX-[\w-]{10,}|\bAQ\.[\w.-]{20,}"), "TOKEN"),
    (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)"), "TOKEN"),
    (re.compile(r"(?<![\w.+%-])[\w.+%-]+@[\w-]+(\.[\w-]+)+"), "EMAIL"),
    (re.compile(r"(?i)\b(projects/)[^/\s\"'?&,;)}\]]*[^/\s\"'?&,;)}\].:]"), r"\1PROJECT"),
    (re.compile(r"(?i)\b(project[\s_:=#]*(?:number|id)?[\s:=#'\"]*)\d{6,}"), r"\1PROJECT"),
    (re.compile(r"(?i)\b(endpoints/)(?!openapi\b)[^/\s\"'?&:,;)}\]]+"), r"\1ENDPOINT"),
)


class Redactor:
    """Removes what looks like a secret, and `words`, whatever their case, putting their values in their place."""

    def __init__(self, words: dict[str, str]) -> None:
        self._words = {word.lower(): by for word, by in words.items() if word}
        longest_first = sorted(self._words, key=len, reverse=True)
        self._known = re.compile("|".join(map(_spelt, longest_first)), re.IGNORECASE) if words else None

    @classmethod
    def of(cls, request: Recorded, extra: Collection[str] = ()) -> Redactor:
        """For one request: knows its credentials, its project and its endpoint."""
        words = dict.fromkeys(extra, "REDACTED")
        projects = [*_PROJECT.findall(request.path), request.headers.get("x-goog-user-project", "")]
        words.update({name: "PROJECT" for name in projects if name not in {"", "PROJECT"}})
        place = ENDPOINT.fullmatch(request.path)
        if place is not None and place["endpoint"] not in {"openapi", "ENDPOINT"}:
            words[place["endpoint"]] = "ENDPOINT"
        for value in (value for name, value in request.headers.items() if is_secret_header(name)):
            words.update(dict.fromkeys([value, *value.split()[1:]], "TOKEN"))
        for name, value in parse_qsl(request.query):
            if _query_secret(name):
                words[value] = "TOKEN"
        return cls({word: by for word, by in words.items() if word})

    def text(self, text: str) -> str:
        """A text without secrets."""
        if self._known is not None:
            text = self._known.sub(lambda found: self._words.get(_plain(found[0]), "REDACTED"), text)
        for pattern, by in _PATTERNS:
            text = pattern.sub(by, text)
        return text

    def end(self, text: str) -> str:
        """A text that broke off, without secrets and without the beginning of one at its end."""
        text = _HALF_EMAIL.sub("EMAIL", self.text(text))
        longest = max(map(len, self._words), default=0)
        for size in range(min(longest, len(text)), _SHORTEST_HALF - 1, -1):
            tail = text[-size:].lower()
            if by := next((by for word, by in self._words.items() if word.startswith(tail)), None):
                return text[:-size] + by
        return text

    def data(self, value: Any) -> Any:
        """JSON data without secrets: in strings, in names, and in what a name says to be one."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(name): "TOKEN" if isinstance(item, str) and _secret(name) else self.data(item)
                for name, item in value.items()
            }
        return [self.data(item) for item in value] if isinstance(value, list) else value

    def body(self, text: str) -> str:
        """A body: as JSON if it is JSON, so that no escape hides anything, else as text, which may have broken off."""
        value = parsed(text)
        if value is None:
            return self.end(text)
        clean = self.data(value)
        return text if clean == value else json.dumps(clean, ensure_ascii=False, separators=(",", ":"))

    def stream(self, events: Sequence[str], *, cut: bool = False) -> list[str]:
        """The events of a stream, with their blank lines; also what is cut into several deltas is found.

        If the stream was `cut`, nothing is kept of an event that broke off with it but where it begins.
        """
        texts = list(events)
        if cut and texts and not texts[-1].endswith("\n\n"):
            texts[-1] = texts[-1][: len("data: {")] if texts[-1].startswith("data: {") else ""
        values = [parsed(text.removeprefix("data:")) for text in texts]
        fragments: dict[tuple[Any, ...], list[tuple[dict[str, Any], str]]] = {}
        for value in values:
            for key, holder, name in _fragments(value):
                fragments.setdefault(key, []).append((holder, name))
        # Joined first: the half of a secret that a pattern takes for a whole one would leave the other half.
        for places in fragments.values():
            self._join(places, cut=cut)
        return [self._event(text, value) for text, value in zip(texts, values, strict=True)]

    def _event(self, text: str, value: Any) -> str:
        if value is None:
            return self.text(text)
        clean = self.data(value)
        if clean == parsed(text.removeprefix("data:")):
            return text
        end = text[len(text.rstrip("\r\n")) :]
        return f"data: {json.dumps(clean, ensure_ascii=False, separators=(',', ':'))}{end}"

    def _join(self, places: Sequence[tuple[dict[str, Any], str]], *, cut: bool) -> None:
        whole = "".join(holder[name] for holder, name in places)
        clean = self.end(whole) if cut else self.text(whole)
        if clean == whole:
            return
        # What differs lies between the common beginning and the common end; it moves to one delta as a whole.
        start = _alike(whole, clean)
        same_end = _alike(whole[start:][::-1], clean[start:][::-1])
        middle, end, position = clean[start : len(clean) - same_end], len(whole) - same_end, 0
        for holder, name in places:
            text: str = holder[name]
            begin, position = position, position + len(text)
            if begin <= end and (position > start or position == len(whole)):
                kept = len(text) - max(0, position - end)
                holder[name] = text[: max(0, start - begin)] + middle + text[kept:]
                middle = ""


def is_secret_header(name: str) -> bool:
    """Whether a header's name says that its value is a secret."""
    return _SECRET_HEADERS.search(name) is not None


def masked_query(query: str) -> str:
    """A query string in which the values of keys and tokens are stars."""
    kept = [(name, "***" if _query_secret(name) else value) for name, value in parse_qsl(query, True)]
    return urlencode(kept, safe="*") if any(value == "***" for _, value in kept) else query


def _secret(name: str) -> bool:
    return _SECRET_NAMES.fullmatch(name) is not None


def _query_secret(name: str) -> bool:
    return name.lower() == "key" or _secret(name)


def _alike(left: str, right: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))


def _fragments(value: Any) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], str]]:
    """The texts in an event that go on in later events: all that a delta holds, however deep."""
    for choice in objects(value.get("choices") if isinstance(value, dict) else None):
        yield from _texts(choice.get("delta"), (choice.get("index"),))


def _texts(holder: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], str]]:
    for name, value in holder.items() if isinstance(holder, dict) else ():
        if isinstance(value, str) and name not in _NO_FRAGMENTS:
            yield (*place, name), holder, name
        yield from _texts(value, (*place, name))
        for number, item in enumerate(objects(value)):
            yield from _texts(item, (*place, name, item.get("index", number)))


def _spelt(word: str) -> str:
    """A pattern for a word, each character of which may be escaped as in JSON."""
    return "".join(f"(?:{re.escape(char)}|\\\\u{ord(char):04x})" for char in word)


def _plain(text: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).lower()
