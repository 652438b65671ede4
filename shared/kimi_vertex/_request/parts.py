"""Reads one part of a message's content, whichever framework, provider or protocol wrote it.

What a server takes is text, an image or a video. A text document is read. In a tool's result and in a turn of the
assistant, any other file becomes a note: it is there to stay, and refusing it would refuse every later turn, too.
"""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

__all__ = ["STAYING", "note", "read_parts"]

STAYING: Final = ("tool", "assistant")
"""Whose messages the caller has not written, and cannot take back."""

_TEXTS: Final = frozenset({"text", "input_text", "output_text", "refusal"})
_ATTACHMENT: Final = re.compile(r"image|video|audio|file|document|pdf|media|resource|text-plain")
_KINDS: Final = {
    "image_url": "image",
    "input_image": "image",
    "video_url": "video",
    "input_audio": "audio",
    "audio_url": "audio",
    "input_file": "file",
    "text-plain": "document",
}
_NESTED: Final = (
    "source resource file image document input_audio image_url video_url audio_url inline_data metadata extras"
).split()
_TEXT_TYPES: Final = ("application/json", "application/xml", "application/yaml", "application/x-yaml")
_DATA: Final = ("base64", "data", "blob", "file_data", "bytes", "url", "uri")
_URLS: Final = ("url", "uri", "file_url", "file_uri", "image_url", "video_url", "audio_url")
_TYPES: Final = ("mime_type", "mimeType", "media_type")
_NAMES: Final = ("filename", "file_name", "name", "title")


def read_parts(part: Any, role: str) -> list[dict[str, Any]]:
    """The forms in which a part is sent; an empty list if it has no such form.

    Returns:
        Texts, images and videos in OpenAI's form. Texts of a document say that they stand `apart` from their
        neighbors; images and videos have a `note` for a model that cannot see them.
    """
    if isinstance(part, str):
        return [_text(part)]
    if isinstance(part, Mapping):
        part = part["value"] if _is_wrapped(part) else part
        read = _read(part, role)
        if not read and role in STAYING and _is_attachment(part):
            return [{**_text(note(part)), "apart": True}]
        if read or role != "tool":
            return read
        return [_text(_to_json(part))]
    return [_text(_to_json(part))] if role == "tool" else []


def note(part: Mapping[str, Any]) -> str:
    """What stands in a part's place: its kind, and as far as it has them its name, type and URL."""
    fields = _fields(part)
    name, mime = _first(fields, _NAMES), _mime_type(fields)
    kind = str(part.get("type") or "file")
    words = [_KINDS.get(kind, kind).replace("_", " ")]
    if name is not None:
        words[0] += f" {name!r}"
    url = _first(fields, _URLS) or _first(fields, ("file_id", "fileId"))
    words += [word for word in (mime, None if url is None or url.startswith("data:") else url) if word]
    return f"[{', '.join(words)}: its content is not shown]"


def _is_wrapped(part: Mapping[str, Any]) -> bool:
    """Whether LangChain has put a block that it does not know into one of its own."""
    return part.get("type") == "non_standard" and isinstance(part.get("value"), Mapping)


def _read(part: Mapping[str, Any], role: str) -> list[dict[str, Any]]:
    kind, fields = part.get("type"), _fields(part)
    if kind in _TEXTS:
        text = part.get("refusal" if kind == "refusal" else "text")
        if isinstance(text, str):
            return [_text(text)]
        if kind == "text":
            return [_text("")] if text is None else []
    if kind == "media":  # Google's word for a file of any type
        kind = (_mime_type(fields) or "").partition("/")[0]
        part = {**part, "type": kind if kind in ("image", "video") else "media"}
    if kind in ("image_url", "video_url") or (
        kind in ("image", "video", "input_image") and _first(fields, (*_DATA, *_URLS))
    ):
        return _media(part, fields)
    if not isinstance(kind, str):
        return [_text(part["text"])] if role == "tool" and part.keys() == {"text"} else []
    nested = part.get("content", fields.get("content"))
    if isinstance(nested, str) and _is_attachment(part):
        nested = [nested]
    if isinstance(nested, list) and nested:
        inner = [read for item in nested for read in read_parts(item, role)]
        heading = _first(fields, _NAMES)
        return [
            *([_text(heading)] if heading and inner else []),
            *({**part, "apart": True} for part in inner),
        ]
    return list(_document(part, fields, role)) if _is_attachment(part) else []


def _media(part: Mapping[str, Any], fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An image or a video in OpenAI's form, which may have further fields such as `detail`."""
    kind = f"{_KINDS.get(part['type'], part['type'])}_url"
    given = part.get(kind)
    url = _first(fields, _URLS)
    if url is None and (data := _first(fields, _DATA)) is not None and (mime := _mime_type(fields)):
        url = data if data.startswith("data:") else f"data:{mime};base64,{data}"
    if not url:
        return []
    media = dict(given) if isinstance(given, Mapping) else {}
    return [{"type": kind, kind: {**media, "url": url}, "note": note(part)}]


def _document(part: Mapping[str, Any], fields: Mapping[str, Any], role: str) -> Iterator[dict[str, Any]]:
    """A document's text, behind its name if it has one; a note for a text document that is elsewhere."""
    text, mime = fields.get("text"), _mime_type(fields) or ""
    textual = mime.startswith("text/") or mime in _TEXT_TYPES or mime.endswith(("+json", "+xml"))
    if not isinstance(text, str):
        source, data = part.get("source"), _first(fields, _DATA)
        plain = isinstance(source, Mapping) and source.get("type") == "text"
        text = data if plain else _decoded(data) if textual else None
    if text is not None:
        name = _first(fields, _NAMES) or _first(fields, ("uri",))
        yield {**_text(f"{name}:\n{text}" if name else text), "apart": True}
    elif textual and role != "tool" and _first(fields, _URLS):
        yield {**_text(note(part)), "apart": True}


def _decoded(data: str | None) -> str | None:
    """The text in base64, in a data URL, or as it is; `None` if there is only an address."""
    if data is None:
        return None
    head, comma, body = data.partition(",")
    if data.startswith("data:") and comma:
        if not head.endswith(";base64"):
            return unquote_to_bytes(body).decode("utf-8", "replace")
        data = body
    elif "://" in data[:64]:
        return None
    try:
        return base64.b64decode(data, validate=True).decode("utf-8-sig", "replace")
    except (binascii.Error, ValueError):
        return data


def _is_attachment(part: Mapping[str, Any]) -> bool:
    """Whether a part is, or stands for, a file; a part of any other kind is shown as JSON."""
    kind = part.get("type")
    return isinstance(kind, str) and _ATTACHMENT.search(kind) is not None


def _fields(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part's fields and those of what it holds, where most forms have their data; the outer ones win."""
    fields: dict[str, Any] = {}
    for key in _NESTED:
        inner = part.get(key)
        if isinstance(inner, Mapping):
            fields |= _fields(inner)
    return fields | {
        key: value for key, value in part.items() if not (key in fields and isinstance(value, Mapping))
    }


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode("ascii")
        if isinstance(value, str) and value:
            return value
    return None


def _mime_type(fields: Mapping[str, Any]) -> str | None:
    """The media type that is said, or that a data URL, a format or a name's ending tell."""
    said = _first(fields, _TYPES)
    if said == "application/pdf" and (name := _first(fields, _NAMES)):
        # Which LangChain says of every file in OpenAI's form (langchain_core.messages.block_translators.openai, 1.8.3).
        return mimetypes.guess_type(name)[0] or said
    if said is not None:
        return said
    for name in (*_DATA, *_URLS, *_NAMES, "format"):
        value = _first(fields, (name,))
        if value is None:
            continue
        if value.startswith("data:"):
            return value[5:].partition(",")[0].partition(";")[0] or None
        guess = mimetypes.guess_type(f"_.{value}" if name == "format" else value)[0]
        if guess is not None and (name not in _DATA or "://" in value):
            return guess
    return None


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_described)


def _described(value: Any) -> Any:
    return f"[{len(value):,} bytes]" if isinstance(value, bytes | bytearray) else str(value)
