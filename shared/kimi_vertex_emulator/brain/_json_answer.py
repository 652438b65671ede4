"""Structured answers: which schema a request or prompt asks for, and an instance of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator.brain._schema import Sources, dumps, instance
from kimi_vertex_emulator.brain._tidy import tidy

__all__ = ["json_objects", "structured_answer", "without_json"]

_MOST_STRAYS = 200
_ASKS_FOR_JSON = re.compile(r"json schema|conforms? to the (?:json )?schema|output schema", re.IGNORECASE)
_KEYS = re.compile(r"((?:['\"`]\w+['\"`](?:,?\s+and\s+|,\s*)?)+)\s*(?:as\s+)?(?:keys?|fields?|properties)\b")
_KEYS_AFTER = re.compile(
    r"\b(?:keys?|fields?|properties)\s*:?\s+((?:['\"`]?\w+['\"`]?(?:,\s*and\s+|,\s*|\s+and\s+)?)+)"
)


def structured_answer(chat: ChatRequest, prompt: str, sources: Sources) -> str | None:
    """JSON text if `response_format` or the prompt asks for it, else `None`."""
    wanted = chat.response_format or {}
    schema: Mapping[str, Any] | None = None
    if wanted.get("type") == "json_schema":
        described = wanted.get("json_schema") or {}
        schema = described.get("schema") if isinstance(described, Mapping) else None
        schema = schema or {"type": "object", "properties": {}}
    elif wanted.get("type") == "json_object":
        schema = _described(prompt) or _schema_of_keys(prompt)
    elif _ASKS_FOR_JSON.search(prompt):
        schema = _described(prompt)
    return None if schema is None else dumps(instance(tidy(schema), sources))


def _described(prompt: str) -> Mapping[str, Any] | None:
    """The last JSON schema in the prompt: templates put an example before the one they mean."""
    found = None
    for _, _, value in json_objects(prompt):
        if isinstance(value.get("properties"), Mapping):
            schema = {"type": "object", **value}
            # Some templates leave `type: object` out; the instance then needs it all the same.
            found = {**schema, "required": schema.get("required") or list(value["properties"])}
    return found


def without_json(text: str) -> str:
    """The text without the JSON objects in it, whose words and numbers are not what is asked."""
    end, kept = 0, ""
    for start, stop, _ in json_objects(text):
        kept, end = kept + text[end:start], stop
    return kept + text[end:]


def json_objects(text: str) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Start, end and value of each JSON object in the text; gives up on texts full of stray braces."""
    decoder, position, strays = json.JSONDecoder(), 0, 0
    while strays < _MOST_STRAYS and (position := text.find("{", position)) >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position, strays = position + 1, strays + 1
            continue
        yield position, end, value
        position = end


def _schema_of_keys(prompt: str) -> Mapping[str, Any]:
    match = _KEYS.search(prompt) or _KEYS_AFTER.search(prompt)
    keys = [key for key in re.findall(r"\w+", match[1]) if key != "and"] if match else ["answer"]
    return {"type": "object", "properties": {key: {"type": "string"} for key in keys}, "required": keys}
