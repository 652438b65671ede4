"""Recorded exchanges in a readable file, without secrets: the format and its reading and writing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from kimi_vertex_emulator._redact import Redactor
from kimi_vertex_emulator._requests import Recorded

__all__ = ["Cassette", "Interaction"]

FORMAT: Final = "kimi-vertex cassette 1"
_KEPT_HEADERS = ("content-type", "retry-after")
_FRAMES: Final = {"event": "data: {}\n\n", "json": "{}"}


@dataclass(frozen=True, slots=True)
class Interaction:
    """One request and its response, without secrets."""

    method: str
    path: str
    body: Any
    """The request's body as JSON; a `str` if it was not JSON; `None` if it was empty."""
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Sequence[str] = ()
    """The response's body: the events of a stream, or the whole. Bytes that are not UTF-8 are lone surrogates."""
    cut: bool = False
    """Whether the response broke off."""

    @classmethod
    def of(
        cls,
        request: Recorded,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        cut: bool = False,
        redact: Collection[str] = (),
    ) -> Self:
        """An exchange with all secrets removed.

        Args:
            request: The request as it came.
            status: The response's status.
            headers: The response's headers, names in lower case; few of them are kept.
            body: The response's body, as far as it came.
            cut: Whether it broke off.
            redact: Further texts to remove.
        """
        redactor = Redactor.of(request, redact)
        text = body.decode("utf-8", "surrogateescape")
        if "event-stream" in headers.get("content-type", ""):
            *blocks, rest = text.replace("\r\n", "\n").split("\n\n")
            parts = redactor.stream(
                [*(f"{block}\n\n" for block in blocks), *([rest] if rest else [])], cut=cut
            )
        else:
            parts = [redactor.body(text)] if text else []
        return cls(
            method=request.method,
            path=redactor.text(request.path),
            body=clean_body(request, redactor),
            status=status,
            headers={name: redactor.text(headers[name]) for name in _KEPT_HEADERS if name in headers},
            parts=parts,
            cut=cut,
        )


@dataclass(frozen=True, slots=True)
class Cassette:
    """Recorded interactions, to be replayed with `Emulator(replay=...)`."""

    interactions: Sequence[Interaction] = ()
    redact: Collection[str] = ()
    """Texts that were removed when it was recorded, beside what is always removed; they are not in the file."""

    @classmethod
    def load(cls, path: str | Path, *, redact: Collection[str] = ()) -> Self:
        """Reads a cassette.

        Args:
            path: The file.
            redact: Texts that were removed when it was recorded, so that requests that hold them are found.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not a cassette; the text says why.
        """
        try:
            return cls(_interactions(json.loads(Path(path).read_text(encoding="utf-8"))), redact)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a cassette: {type(error).__name__}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Writes a cassette, in one step: what was there before stays if it fails.

        Raises:
            OSError: The file cannot be written.
        """
        fresh = Path(f"{path}.new")
        fresh.write_text(self.to_text(), encoding="utf-8")
        fresh.replace(path)

    def to_text(self) -> str:
        """The file's text: JSON with each part of a response on a line of its own."""
        items = ",".join(_shown(item) for item in self.interactions)
        text = f'{{"format": "{FORMAT}", "interactions": [{items}\n]}}\n'
        try:
            text.encode()
        except UnicodeEncodeError:
            return json.dumps(json.loads(text), indent=2) + "\n"
        return text


def clean_body(request: Recorded, redactor: Redactor) -> Any:
    """A request's body as it stands in a cassette."""
    text = request.body.decode("utf-8", "surrogateescape")
    try:
        return redactor.data(json.loads(text)) if text else None
    except (ValueError, RecursionError):
        return redactor.text(text)


def _interactions(data: Any) -> list[Interaction]:
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r}, not {FORMAT!r}; record it again")
    return [
        Interaction(**{**item, "parts": [_read(part) for part in item["parts"]]})
        for item in data["interactions"]
    ]


def _shown(item: Interaction) -> str:
    fields = asdict(item)
    parts: Iterable[str] = (
        f"\n  {json.dumps(_written(part), ensure_ascii=False)}" for part in fields.pop("parts")
    )
    head = ",\n ".join(f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in fields.items())
    return f'\n{{\n {head},\n "parts": [{",".join(parts)}]}}'


def _written(part: str) -> dict[str, Any]:
    """A part, readable where that loses nothing: an event or a body whose JSON is spelt compactly stands as JSON."""
    for name, frame in _FRAMES.items():
        head, tail = frame.split("{}")
        try:
            value = json.loads(part.removeprefix(head).removesuffix(tail))
        except (ValueError, RecursionError):
            continue
        if frame.format(_compact(value)) == part:
            return {name: value}
    return {"text": part}


def _read(part: Mapping[str, Any]) -> str:
    ((name, value),) = part.items()
    return str(value) if name == "text" else _FRAMES[name].format(_compact(value))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
