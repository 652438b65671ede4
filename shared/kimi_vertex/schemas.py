"""JSON schemas as what a model is asked for, and its answer as what a schema describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from ._json import find_json_object

__all__ = ["NOTHING", "ObjectSchema", "rooted"]

NOTHING: Final = object()
"""What stands for JSON that is not there; `None` is JSON."""

_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]+")
_LONGEST_NAME: Final = 64
_VALUE: Final = "value"
_FENCE: Final = re.compile(r"^```[a-zA-Z]*\n|\n?```$")


@dataclass(frozen=True, slots=True)
class ObjectSchema:
    """What an answer is to be. Servers want an object, so anything else is asked for as the one property of an object."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """The JSON schema of the answer, object or not; its root is not a reference."""

    @classmethod
    def of(cls, schema: Mapping[str, Any], name: str | None = None, description: str | None = None) -> Self:
        """Take a schema as pydantic or a user writes it, with a name of any form.

        Args:
            schema: The JSON schema.
            name: Default: its title.
            description: Default: its own.
        """
        root = rooted(schema)
        named = _NOT_A_NAME.sub("_", name or str(root.get("title") or "")).strip("_")[:_LONGEST_NAME]
        return cls(named or "response", description or str(root.get("description") or ""), root)

    @property
    def is_object(self) -> bool:
        """Whether a JSON object is asked for, and not a list, a word or one of several things."""
        return self.schema.get("type") == "object" or "properties" in self.schema

    def response_format(self, *, strict: bool | None = None) -> dict[str, Any]:
        """The `response_format` that holds the answer to the schema; `strict` is sent if it is not `None`."""
        described = {"name": self.name, "schema": self._asked(strict=strict), **_said(strict)}
        if self.description:
            described["description"] = self.description
        return {"type": "json_schema", "json_schema": described}

    def tool(self, *, strict: bool | None = None) -> dict[str, Any]:
        """The tool whose arguments are the answer, in OpenAI's form; `strict` likewise."""
        description = self.description or f"Gives the answer as a {self.name} object."
        function = {"name": self.name, "description": description, "parameters": self._asked(strict=strict)}
        return {"type": "function", "function": {**function, **_said(strict)}}

    def _asked(self, *, strict: bool | None) -> dict[str, Any]:
        schema = dict(self.schema)
        if not self.is_object:
            definitions = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
            schema = {"type": "object", "properties": {_VALUE: schema}, "required": [_VALUE], **definitions}
        return _closed(schema) if strict else schema

    def unwrap(self, value: Any) -> Any:
        """The answer in decoded JSON, which may be the object around it."""
        is_wrapped = not self.is_object and isinstance(value, Mapping) and value.keys() == {_VALUE}
        return value[_VALUE] if is_wrapped else value

    def find(self, text: str) -> Any:
        """The answer in a text, as decoded JSON: bare, in a code fence, or after a sentence; `NOTHING` if there is none."""
        if self.is_object:
            found = find_json_object(text)
            return NOTHING if found is None else found
        bare = _FENCE.sub("", text.strip()).strip()
        for start in sorted({0, max(bare.find("["), 0), max(bare.find("{"), 0)}):
            try:
                value, end = json.JSONDecoder().raw_decode(bare, start)
            except ValueError:
                continue
            if start or not bare[end:].strip():
                return self.unwrap(value)
        return bare if bare and self.schema.get("type") == "string" else NOTHING


def rooted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema whose root is not a reference: pydantic makes one of a class that contains itself."""
    reference, definitions = schema.get("$ref"), schema.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, Mapping):
        found = definitions.get(reference.removeprefix("#/$defs/"))
        if isinstance(found, Mapping):
            return {**found, "$defs": definitions}
    return dict(schema)


def _said(strict: bool | None) -> dict[str, Any]:
    return {} if strict is None else {"strict": strict}


def _closed(value: Any) -> Any:
    """A schema whose objects have all of their properties and no others, which is what `strict` demands."""
    if isinstance(value, list):
        return [_closed(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    closed = {key: _closed(inner) for key, inner in value.items()}
    if isinstance(closed.get("properties"), Mapping):
        closed["additionalProperties"] = False
        closed["required"] = list(closed["properties"])
    return closed
