"""Recorded exchanges in a readable file, without secrets: the format and its reading and writing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

from kimi_vertex_emulator._redact import Redactor
from kimi_vertex_emulator._routes import ENDPOINT
from kimi_vertex_emulator.script import Recorded

__all__ = ["Cassette", "Interaction", "Matching", "RecordedPart"]

Matching: TypeAlias = Literal["exact", "semantic"]
"""How a request is found in a cassette.

- `exact`: method, what follows the endpoint in the path, and the body as JSON, whatever the order of its names.
- `semantic`: model, what the user said last, the tool results after it, the names of the tools, and whether it
  streams. Ids, white space, thinking and everything else may differ.
"""

FORMAT: Final = "kimi-vertex cassette 1"
_KEPT_HEADERS = ("content-type", "retry-after")


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """A piece of a response's body: one event of a stream, or the whole body."""

    at: float
    """Seconds from the request to its last byte."""
    text: str
    """Bytes that are no UTF-8 are kept as lone surrogates."""

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self.text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Interaction:
    """One request and its response, without secrets."""

    method: str
    path: str
    query: str
    body: Any
    """The request's body as JSON; a `str` if it was none; `None` if it was empty."""
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    head: float = 0.0
    """Seconds from the request to the response's head."""
    parts: Sequence[RecordedPart] = ()
    seconds: float = 0.0
    """Seconds from the request to the end."""
    cut: bool = False
    """Whether the response broke off."""

    @classmethod
    def of(
        cls,
        request: Recorded,
        status: int,
        headers: Mapping[str, str],
        chunks: Iterable[tuple[float, bytes]],
        *,
        head: float = 0.0,
        seconds: float = 0.0,
        cut: bool = False,
        redact: Collection[str] = (),
    ) -> Self:
        """An exchange with all secrets removed.

        Args:
            request: The request as it came.
            status: The response's status.
            headers: The response's headers, names in lower case; few of them are kept.
            chunks: The response's body with offsets in seconds.
            head: Seconds to the head.
            seconds: Seconds to the end.
            cut: Whether it broke off.
            redact: Further texts to remove.
        """
        redactor = redactor_of(request, redact)
        streamed = "event-stream" in headers.get("content-type", "")
        found = _events(chunks) if streamed else _joined(chunks)
        texts = [text for _, text in found]
        clean = redactor.stream(texts, cut=cut) if streamed else [redactor.body(text) for text in texts]
        return cls(
            method=request.method,
            path=redactor.text(request.path),
            query=redactor.query(request.query),
            body=clean_body(request, redactor),
            status=status,
            headers={name: redactor.text(headers[name]) for name in _KEPT_HEADERS if name in headers},
            head=round(head, 4),
            parts=[RecordedPart(round(at, 4), text) for (at, _), text in zip(found, clean, strict=True)],
            seconds=round(seconds, 4),
            cut=cut,
        )

    def to_data(self) -> dict[str, Any]:
        """The interaction as JSON data."""
        return {
            "request": {"method": self.method, "path": self.path, "query": self.query, "body": self.body},
            "response": {
                "status": self.status,
                "headers": dict(self.headers),
                "head": self.head,
                "seconds": self.seconds,
                "cut": self.cut,
                "parts": [_part_data(part) for part in self.parts],
            },
        }

    @classmethod
    def from_data(cls, data: Any) -> Self:
        """The interaction that `to_data` made.

        Raises:
            LookupError: Something is missing.
            TypeError: Something has the wrong type.
        """
        request, response = data["request"], data["response"]
        return cls(
            method=request["method"],
            path=request["path"],
            query=request.get("query", ""),
            body=request.get("body"),
            status=int(response["status"]),
            headers=dict(response.get("headers", {})),
            head=float(response.get("head", 0)),
            parts=[_read_part(part) for part in response["parts"]],
            seconds=float(response.get("seconds", 0)),
            cut=bool(response.get("cut", False)),
        )


@dataclass(frozen=True, slots=True)
class Cassette:
    """Recorded interactions, to be replayed with `Emulator(replay=...)`."""

    interactions: Sequence[Interaction] = ()
    redact: Collection[str] = ()
    """Texts that were removed when it was recorded, beside what is always removed; they are in no file."""

    @classmethod
    def load(cls, path: str | Path, *, redact: Collection[str] = ()) -> Self:
        """Reads a cassette.

        Args:
            path: The file.
            redact: Texts that were removed when it was recorded, so that requests that hold them are found.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no cassette; the text says why.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            found, items = data["format"], [Interaction.from_data(item) for item in data["interactions"]]
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no cassette: {type(error).__name__}: {error}") from error
        if found != FORMAT:
            raise ValueError(f"{path} is no cassette that this version reads: its format is {found!r}")
        return cls(items, redact)

    def save(self, path: str | Path) -> None:
        """Writes a cassette, in one step: what was there before stays if it fails.

        Raises:
            OSError: The file cannot be written.
        """
        target = Path(path)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.to_text())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def to_text(self) -> str:
        """The file's text: pretty JSON, each part of a response on a line of its own."""
        data = {"format": FORMAT, "interactions": [item.to_data() for item in self.interactions]}
        lines: dict[str, str] = {}
        for item in data["interactions"]:
            assert isinstance(item, dict), "to_data returns objects"
            parts = item["response"]["parts"]
            for number, part in enumerate(parts):
                mark = f"\ue000{len(lines)}\ue000"
                lines[f'"{mark}"'] = json.dumps(part, ensure_ascii=False)
                parts[number] = mark
        pretty = json.dumps(data, indent=2, ensure_ascii=False)
        text = "\n".join(_swapped(line, lines) for line in pretty.split("\n")) + "\n"
        return text if _is_unicode(text) else json.dumps(json.loads(text), indent=2) + "\n"


def _swapped(line: str, lines: Mapping[str, str]) -> str:
    bare = line.strip().removesuffix(",")
    return line.replace(bare, lines[bare]) if bare in lines else line


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def redactor_of(request: Recorded, extra: Collection[str] = ()) -> Redactor:
    """What removes the secrets of one request and of its response."""
    match = ENDPOINT.fullmatch(request.path)
    return Redactor.of(request, extra, match["endpoint"] if match else None)


def clean_body(request: Recorded, redactor: Redactor) -> Any:
    """A request's body as it stands in a cassette."""
    text = request.body.decode("utf-8", "surrogateescape")
    try:
        return redactor.data(json.loads(text)) if text else None
    except (ValueError, RecursionError):
        return redactor.text(text)


def _joined(chunks: Iterable[tuple[float, bytes]]) -> list[tuple[float, str]]:
    found = list(chunks)
    body = b"".join(data for _, data in found)
    return [(found[-1][0], body.decode("utf-8", "surrogateescape"))] if body else []


def _events(chunks: Iterable[tuple[float, bytes]]) -> list[tuple[float, str]]:
    """A stream's events, each with the offset of its last byte, the blank line included."""
    found: list[tuple[float, bytes]] = []
    rest, last = b"", 0.0
    for last, data in chunks:
        rest += data
        *blocks, rest = rest.replace(b"\r\n", b"\n").split(b"\n\n")
        found += [(last, block + b"\n\n") for block in blocks]
    found += [(last, rest)] if rest else []
    return [(at, data.decode("utf-8", "surrogateescape")) for at, data in found]


def _part_data(part: RecordedPart) -> dict[str, Any]:
    """Readable where that loses nothing: an event or a body whose JSON is spelt compactly stands as JSON."""
    for name, frame in (("event", "data: {}\n\n"), ("json", "{}")):
        head, tail = frame.split("{}")
        inner = part.text.removeprefix(head).removesuffix(tail)
        try:
            value = json.loads(inner)
        except ValueError:
            continue
        if frame.format(_compact(value)) == part.text:
            return {"at": part.at, name: value}
    return {"at": part.at, "text": part.text}


def _read_part(data: Any) -> RecordedPart:
    if "event" in data:
        return RecordedPart(float(data["at"]), f"data: {_compact(data['event'])}\n\n")
    text = _compact(data["json"]) if "json" in data else data["text"]
    return RecordedPart(float(data["at"]), str(text))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
