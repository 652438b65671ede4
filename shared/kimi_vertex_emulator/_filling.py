"""Instances of a JSON schema that fit a question: arguments of calls and structured answers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kimi_vertex_emulator._chat import mapping

__all__ = ["Words", "fill"]

_MAX_DEPTH = 4
_MOST_ITEMS = 8
_READ: Final[dict[str, Callable[[str], Any]]] = {
    "integer": lambda text: round(float(text)),
    "number": float,
    "string": str,
}
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)")
_QUOTED = re.compile(r"(?<!\w)'([^'\n]+)'(?!\w)|\"([^\"\n]+)\"|“([^”\n]+)”|`([^`\n]+)`")
_NAME = re.compile(r"(?<=[\w,:;] )[A-Z][\w’'-]*(?: [A-Z][\w’'-]*)*(?:, [A-Z]{2}\b)?")
_FORMATS: Final = {
    "date": (re.compile(r"\b\d{4}-\d{2}-\d{2}\b"), "2026-01-01"),
    "email": (re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w.-]*\w"), "emulator@example.com"),
    "uri": (re.compile(r"https?://[^\s'\"<>)]*[^\s'\"<>).,;!?]"), "https://example.com/"),
}
_WORD = re.compile(r"\w+")
_FORMS: Final = (
    *"emulator EMULATOR Emulator 1 12 123 1234 12345 a1 A1 a-b a_b".split(),
    *("a b", "AB-12", *(example for _, example in _FORMATS.values())),
    *"#00aaff 127.0.0.1 12:00 12:00:00 2026-01-01T12:00:00Z +4912345678 /a/b 1.0.0".split(),
)
_NAMED: Final = {"email": "email", "url": "uri"}
_FREE = frozenset(
    "query question text input search q topic message prompt request content body instruction".split()
)
_ANSWER = frozenset("answer summary response result reply explanation reason conclusion description".split())


class Words:
    """The texts that values come from, best first; a value is taken once.

    Args:
        texts: The question, then results.
        answer: What a field for an answer gets in a structured answer, which fills optional fields too.
    """

    def __init__(self, texts: Sequence[str], answer: str | None = None) -> None:
        self.texts = texts
        self.answer = answer
        self.root: Mapping[str, Any] = {}
        self._taken: set[tuple[int, int]] = set()

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """The next match of a pattern that was not taken yet, or its group that matched."""
        for number, text in enumerate(self.texts):
            for match in pattern.finditer(text):
                place = (number, match.start(match.lastindex or 0))
                if place not in self._taken:
                    self._taken.add(place)
                    return match[match.lastindex or 0]
        return None

    def labeled(self, name: str, value: str) -> str | None:
        """A value that stands beside its name: `limit=5`, `limit: 5`, `5 days`."""
        label = re.escape(name).replace("_", "[_ ]")
        found = self.take(
            re.compile(rf"\b{label}\b[\"']?\s*(?:=|:|is\b|of\b)?\s*[\"']?({value})", re.IGNORECASE)
        )
        return found or self.take(re.compile(rf"({value})\s+{label}\b", re.IGNORECASE))


def fill(schema: Mapping[str, Any], words: Words) -> Any:
    """A value that the schema allows, taken from the words as far as they go."""
    words.root = schema
    return _value(schema, words, "", 0)


def _value(schema: Any, words: Words, name: str, depth: int) -> Any:
    schema = _resolved(schema, words.root, deep=depth > _MAX_DEPTH)
    if "const" in schema:
        return schema["const"]
    if isinstance(options := schema.get("enum"), list) and options:
        return _option(options, schema, words)
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, words, depth)
    if kind == "array":
        return _array(schema, words, name, depth)
    if kind in ("integer", "number"):
        return _number(schema, words, name, integer=kind == "integer")
    if kind == "boolean":
        said = words.labeled(name, "true|false|yes|no") if name else None
        return said.lower() in ("true", "yes") if said else bool(schema.get("default", False))
    return None if kind == "null" else _string(schema, words, name)


def _resolved(
    schema: Any, root: Mapping[str, Any], level: int = 0, *, deep: bool = False
) -> Mapping[str, Any]:
    """The schema with references followed, `allOf` merged and the first alternative that is not null taken.

    Deep down it is the first that comes to an end, so that a schema that holds itself does.
    """
    for _ in range(16):
        if not isinstance(schema, Mapping):
            return {}
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(schema.get("$ref"), str):
            schema = {**_referenced(schema["$ref"], root), **rest}
        elif isinstance(parts := schema.get("allOf"), list) and parts and level < _MAX_DEPTH:
            found = [_resolved(part, root, level + 1) for part in parts]
            merged = {key: value for part in found for key, value in part.items()}
            properties = {
                key: value for part in found for key, value in mapping(part.get("properties")).items()
            }
            schema = {**merged, **({"properties": properties} if properties else {}), **rest}
        elif isinstance(alternatives, list):
            parts = [part for part in alternatives if isinstance(part, Mapping)]
            usable = [part for part in parts if part.get("type") != "null"] or parts
            if deep:
                usable = sorted(parts, key=lambda part: "$ref" in str(part))
            schema = {**(usable[0] if usable else {}), **rest}
        else:
            return schema
    return {}


def _referenced(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    target: Any = root
    for key in reference.removeprefix("#").strip("/").split("/"):
        target = target.get(key, {}) if key and isinstance(target, Mapping) else target
    return mapping(target)


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _object(schema: Mapping[str, Any], words: Words, depth: int) -> dict[str, Any]:
    properties, required = mapping(schema.get("properties")), schema.get("required")
    names = list(required) if isinstance(required, list) else []
    if words.answer is not None and depth < _MAX_DEPTH:
        names += [name for name, part in properties.items() if '"null"' not in str(part).replace("'", '"')]
    wanted = [name for name in properties if name in names and depth <= 2 * _MAX_DEPTH]
    return {name: _value(properties[name], words, name, depth + 1) for name in wanted}


def _array(schema: Mapping[str, Any], words: Words, name: str, depth: int) -> list[Any]:
    items, found = _resolved(schema.get("items"), words.root), list[Any]()
    least, most = int(_limit(schema, "minItems", 0)), int(_limit(schema, "maxItems", _MOST_ITEMS))
    kind = _kind(items) if depth <= _MAX_DEPTH and "enum" not in items else ""
    read = _READ.get(kind)
    pattern = _QUOTED if kind == "string" else _NUMBER
    while read is not None and len(found) < most and (taken := words.take(pattern)) is not None:
        found.append(read(taken))
    while len(found) < (max(least, 1) if depth <= _MAX_DEPTH else least):
        found.append(_value(items, words, name, depth + 1))
    return found[: max(most, 0)]


def _option(options: Sequence[Any], schema: Mapping[str, Any], words: Words) -> Any:
    """The first of the options that the words name, else the default or the first one."""
    said = {str(option).lower(): option for option in options if str(option)}
    names = "|".join(re.escape(option) for option in sorted(said, key=len, reverse=True))
    found = words.take(re.compile(rf"(?<!\w)({names})(?!\w)", re.IGNORECASE)) if names else None
    return said[found.lower()] if found else schema.get("default", options[0])


def _number(schema: Mapping[str, Any], words: Words, name: str, *, integer: bool) -> float | int:
    found = (words.labeled(name, _NUMBER.pattern) if name else None) or words.take(_NUMBER)
    value = float(found) if found else float(_limit(schema, "default", 1))
    step = 1 if integer else 0.5
    lowest = max(_limit(schema, "minimum", -math.inf), _limit(schema, "exclusiveMinimum", -math.inf, step))
    highest = min(_limit(schema, "maximum", math.inf), _limit(schema, "exclusiveMaximum", math.inf, -step))
    value = min(max(value, lowest), highest)
    return round(value) if integer or float(value).is_integer() else value


def _limit(schema: Mapping[str, Any], key: str, default: float, step: float = 0) -> float:
    limit = schema.get(key)
    if isinstance(limit, int | float) and not isinstance(limit, bool) and math.isfinite(limit):
        return limit + step
    return default


def _string(schema: Mapping[str, Any], words: Words, name: str) -> str:
    value = _text(schema, words, name)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        value = _matching(pattern, [value, *words.texts])
    longest = int(_limit(schema, "maxLength", len(value)))
    return value[: max(longest, 0)].ljust(int(_limit(schema, "minLength", 0)), ".")


def _matching(pattern: str, texts: Sequence[str]) -> str:
    """The first of some texts, and of words in common forms, that a pattern allows; else the first text."""
    try:
        allowed = re.compile(pattern)
    except re.error:
        return texts[0]
    words = [word for text in texts for word in _WORD.findall(text)]
    return next((text for text in (*texts, *words, *_FORMS) if allowed.search(text)), texts[0])


def _text(schema: Mapping[str, Any], words: Words, name: str) -> str:
    if name and (said := words.labeled(name, r"(?<=[=:\"'])[^\s,;()\"']+")):
        return said.rstrip(".?!")
    named = next((kind for part, kind in _NAMED.items() if part in name.lower()), "")
    pattern, example = _FORMATS.get(str(schema.get("format") or named), (None, ""))
    if pattern is not None:
        return words.take(pattern) or example
    last = re.split(r"[_\W]+|(?<=[a-z])(?=[A-Z])", name)[-1].lower()
    if last in _ANSWER and words.answer is not None:
        return words.answer
    found = None if last in _FREE else words.take(_QUOTED) or words.take(_NAME)
    if found:
        return found
    if isinstance(schema.get("default"), str):
        return str(schema["default"])
    if words.answer is not None and last not in _FREE:
        return f"{str(schema.get('description') or name or 'text').rstrip('.')}, by the emulator"
    return words.texts[0].strip(" ,.;") or "emulator"
