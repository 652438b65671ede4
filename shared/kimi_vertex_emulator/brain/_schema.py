"""Instances of a JSON schema that fit a question: arguments of calls and structured answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kimi_vertex_emulator.brain._values import Values
from kimi_vertex_emulator.brain._words import matches, stem, stems

__all__ = ["Sources", "dumps", "instance"]

_MAX_DEPTH = 4
_PLACE = frozenset(
    map(stem, "location city place country where region destination origin area town state capital".split())
)
_PERSON = frozenset(
    map(stem, "name customer person user author title company recipient owner contact".split())
)
_DATE = frozenset(map(stem, "date day when deadline birthday datetime".split()))
_FREE = frozenset(
    map(
        stem,
        "query question text input search q topic message prompt request content sentence body instruction".split(),
    )
)
_ANSWER = frozenset(
    map(stem, "answer summary response result reply explanation reason conclusion description".split())
)
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00",
    "email": "emulator@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
}


@dataclass(slots=True)
class Sources:
    """Where values come from, best source first."""

    texts: Sequence[Values]
    """Looked through in order: the part of the question at hand, results so far, the whole question."""
    free_text: str = ""
    """What a field for free text gets: usually the question."""
    answer: str = ""
    """What a field for an answer gets, if the brain knows one."""
    prose: bool = False
    """Write invented prose into strings that nothing fits (structured answers), not the question."""
    root: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """Values by property name that are known beforehand."""
    used: list[tuple[Values, Any]] = field(default_factory=list)

    def first(self, kind: str, *arguments: Any, **options: Any) -> Any:
        """The first source's value of that kind, see `Values`; one that an earlier source gave is not given again."""
        for values in self.texts:
            while (value := getattr(values, kind)(*arguments, **options)) is not None:
                if not any(source is not values and given == value for source, given in self.used):
                    self.used.append((values, value))
                    return value
                if kind in ("labelled", "unit", "expression"):
                    break  # These are looked up, not taken: asking again gives the same.
        return None


def instance(schema: Mapping[str, Any], sources: Sources, name: str = "", depth: int = 0) -> Any:
    """A value that the schema allows, taken from the sources as far as they go."""
    if depth == 0:
        sources.root = schema
    schema = _resolved(schema, sources)
    if name in sources.chosen and depth:
        return sources.chosen[name]
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return _option(schema, sources, name)
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, sources, depth)
    if kind == "array":
        return _array(schema, sources, name, depth)
    if kind in ("integer", "number"):
        return _number(schema, sources, name, integer=kind == "integer")
    if kind == "boolean":
        return _boolean(schema, sources, name)
    return None if kind == "null" else _string(schema, sources, name)


def _resolved(schema: Any, sources: Sources, level: int = 0) -> Mapping[str, Any]:
    """The schema with references followed, `allOf` merged and the first alternative that is not null taken."""
    for _ in range(16):
        if not isinstance(schema, Mapping):
            return {}
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        if isinstance(schema.get("$ref"), str):
            schema = {**_referenced(schema["$ref"], sources.root), **rest}
        elif schema.get("allOf"):
            # A schema may be among its own parts.
            parts = (
                [_resolved(part, sources, level + 1) for part in schema["allOf"]]
                if level < _MAX_DEPTH
                else []
            )
            properties = {
                key: value for part in parts for key, value in (part.get("properties") or {}).items()
            }
            merged = {key: value for part in parts for key, value in part.items()}
            schema = {**merged, **({"properties": properties} if properties else {}), **rest}
        elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
            schema = {
                **next(
                    (part for part in alternatives if isinstance(part, Mapping) and not _is_null(part)), {}
                ),
                **rest,
            }
        else:
            return schema
    return {}


def _referenced(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    target: Any = root
    for key in reference.removeprefix("#").strip("/").split("/"):
        target = target.get(key, {}) if key and isinstance(target, Mapping) else target
    return target if isinstance(target, Mapping) else {}


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _object(schema: Mapping[str, Any], sources: Sources, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    found: dict[str, Any] = {}
    # Required ones first: an optional one must not take the value that a required one needs.
    for name in sorted(properties, key=lambda key: key not in required):
        part = properties[name]
        wanted = (
            depth <= _MAX_DEPTH * 2
            if name in required
            else depth < _MAX_DEPTH and _mentioned(name, part, sources)
        )
        if wanted or name in sources.chosen:
            found[name] = instance(part, sources, name, depth + 1)
    return {name: found[name] for name in properties if name in found}


def _mentioned(name: str, schema: Any, sources: Sources) -> bool:
    """Whether the question asks for an optional property; a structured answer has all that may not be null."""
    if sources.prose and isinstance(schema, Mapping) and not any(map(_is_null, schema.get("anyOf") or ())):
        return True
    schema = _resolved(schema, sources)
    # Fresh values: to look must not take. The last text is the whole question.
    part, question = Values(sources.texts[0].text), Values(sources.texts[-1].text)
    if schema.get("enum"):
        return part.option(schema["enum"], name) is not None
    if question.labelled(name) is not None or (
        _kind(schema) in ("integer", "number") and question.number(name) is not None
    ):
        return True
    if _kind(schema) not in ("integer", "number") and matches(stem(name), set(stems(part.text))):
        return True
    return _role(name) is _DATE and part.date() is not None


def _array(schema: Mapping[str, Any], sources: Sources, name: str, depth: int) -> list[Any]:
    items, least = schema.get("items") or {}, int(schema.get("minItems") or 0)
    most = int(schema.get("maxItems") or 8)
    if depth > _MAX_DEPTH:
        return [instance(items, sources, name, depth + 1) for _ in range(least)]
    part = _resolved(items, sources)
    found: list[Any] = []
    kind = _kind(part)
    if part.get("enum"):
        found = [choice for choice in part["enum"] if sources.texts[0].option([choice]) is not None]
    elif kind in ("integer", "number"):
        while (value := sources.first("number", integer=kind == "integer")) is not None and len(found) < most:
            found.append(value)
    elif kind == "string" and not sources.prose:
        while (value := sources.first("quoted") or sources.first("name")) and len(found) < most:
            found.append(value)
    elif kind == "object" and (count := sources.first("number", name, integer=True)) is not None:
        least = max(least, min(count, most))  # "3 songs" are three of them
    while len(found) < max(least, 1):
        found.append(instance(items, sources, name, depth + 1))
    return found[:most]


def _option(schema: Mapping[str, Any], sources: Sources, name: str) -> Any:
    named = sources.first("option", schema["enum"], name)
    return named if named is not None else schema.get("default", schema["enum"][0])


def _boolean(schema: Mapping[str, Any], sources: Sources, name: str) -> bool:
    label = sources.first("labelled", name)
    if label is not None:
        return str(label).lower() in ("true", "yes", "on", "1")
    return bool(
        schema.get("default", any(matches(stem(name), set(stems(text.text))) for text in sources.texts[:1]))
    )


def _number(schema: Mapping[str, Any], sources: Sources, name: str, *, integer: bool) -> float | int:
    value = sources.first("number", name, integer=integer) if name else None
    if value is None:
        value = sources.first("number", integer=integer)
    if value is None and integer and (rounded := sources.first("number")) is not None:
        value = round(rounded)
    if value is None:
        value = schema.get("default")
    if not isinstance(value, int | float) or isinstance(value, bool):
        value = 1
    step = 1 if integer else 0.5
    lowest = max(schema.get("minimum", -math.inf), _beyond(schema.get("exclusiveMinimum"), step, -math.inf))
    highest = min(schema.get("maximum", math.inf), _beyond(schema.get("exclusiveMaximum"), -step, math.inf))
    value = min(max(value, lowest), highest)
    return int(value) if integer else value


def _beyond(limit: Any, step: float, default: float) -> float:
    return limit + step if isinstance(limit, int | float) and not isinstance(limit, bool) else default


def _role(name: str) -> frozenset[str] | None:
    """The kind of text that a property's last word announces; `city_name` is a place, not a person."""
    words = stems(name) or [stem(name)]
    if words[-1] == stem("name") and any(word in _PLACE for word in words):
        return _PLACE
    return next((role for role in (_DATE, _PLACE, _PERSON, _ANSWER, _FREE) if words[-1] in role), None)


def _string(schema: Mapping[str, Any], sources: Sources, name: str) -> str:
    value = _fitting_text(schema, sources, name)
    longest = schema.get("maxLength")
    value = value[:longest] if isinstance(longest, int) else value
    return value.ljust(int(schema.get("minLength") or 0), ".")


def _fitting_text(schema: Mapping[str, Any], sources: Sources, name: str) -> str:
    if (label := sources.first("labelled", name)) is not None and name:
        return str(label)
    wanted = {"date": "date", "date-time": "date", "email": "email", "uri": "url"}.get(
        str(schema.get("format"))
    )
    wanted = wanted or ("email" if "email" in name.lower() else "url" if "url" in name.lower() else None)
    if wanted is not None and (value := sources.first(wanted)) is not None:
        return str(value)
    if schema.get("format") in _FORMATS:
        return _FORMATS[str(schema["format"])]
    role = _role(name)
    found: str | None = None
    if "expression" in name.lower() or "formula" in name.lower():
        found = sources.first("expression")
    elif role is _DATE:
        found = sources.first("date")
    elif role is _PLACE:
        found = sources.first("quoted") or sources.first("place") or Values(sources.texts[-1].text).place()
    elif role is _PERSON:
        found = sources.first("quoted") or sources.first("name") or Values(sources.texts[-1].text).name()
    elif role is _ANSWER:
        found = sources.answer or None
    elif "unit" in name.lower() or "currency" in name.lower():
        found = sources.first("unit", name)
    elif role is not _FREE and not sources.prose:
        found = sources.first("quoted") or sources.first("name")
    if found:
        return found
    if isinstance(schema.get("default"), str):
        return str(schema["default"])
    return _filler(schema, sources, name, role)


def _filler(schema: Mapping[str, Any], sources: Sources, name: str, role: frozenset[str] | None) -> str:
    if sources.prose and role is not _FREE:
        about = str(schema.get("description") or name or "text").rstrip(".")
        return f"{about}, by the emulator"
    if role is _FREE and (quoted := sources.first("quoted")):
        return str(quoted)
    return sources.free_text or "emulator"


def dumps(value: Any) -> str:
    """The JSON text of an instance, as a model writes it."""
    return json.dumps(value, ensure_ascii=False)
