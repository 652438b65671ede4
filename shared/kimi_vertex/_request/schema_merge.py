"""Joins JSON schemas: what two of them demand together, and what several of them admit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["merge", "union"]

_LOWEST: Final = frozenset({"minLength", "minItems", "minimum", "exclusiveMinimum"})
_HIGHEST: Final = frozenset({"maxLength", "maxItems", "maximum", "exclusiveMaximum"})
_ABSENT: Final = object()


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that demands what both demand, as far as that can be said; in doubt `first` wins."""
    merged = {**second, **first}
    for key in first.keys() & second.keys():
        merged[key] = _both(key, first[key], second[key])
    ours, theirs = (schema.get("additionalProperties", _ABSENT) for schema in (first, second))
    if ours is not theirs and (first.get("properties") if ours is _ABSENT else second.get("properties")):
        # Closed against the other's properties, which composed schemas do not mean.
        merged.pop("additionalProperties", None)
    return merged


def _both(key: str, ours: Any, theirs: Any) -> Any:
    if key == "properties" and isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        joined = {**ours, **theirs}
        for name in ours.keys() & theirs.keys():
            both = isinstance(ours[name], Mapping) and isinstance(theirs[name], Mapping)
            joined[name] = merge(ours[name], theirs[name]) if both else ours[name]
        return joined
    if key == "required" and isinstance(ours, list) and isinstance(theirs, list):
        return [*ours, *(name for name in theirs if name not in ours)]
    if key == "enum" and isinstance(ours, list) and isinstance(theirs, list):
        return [value for value in ours if value in theirs] or ours
    if key == "type":
        return _common_types(ours, theirs)
    if key in _LOWEST | _HIGHEST and _is_number(ours) and _is_number(theirs):
        return max(ours, theirs) if key in _LOWEST else min(ours, theirs)
    return ours


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _common_types(ours: Any, theirs: Any) -> Any:
    left = [ours] if isinstance(ours, str) else list(ours or ())
    right = [theirs] if isinstance(theirs, str) else list(theirs or ())
    common = [kind for kind in left if kind in right or (kind == "integer" and "number" in right)]
    common += ["integer"] if "number" in left and "integer" in right and "integer" not in common else []
    if not common:
        return ours
    return common[0] if len(common) == 1 else common


def union(base: Mapping[str, Any], branches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One object that admits what any of the branches admits together with `base`."""
    properties: dict[str, list[Any]] = {}
    for branch in branches:
        for name, schema in (branch.get("properties") or {}).items():
            known = properties.setdefault(name, [])
            if schema not in known:
                known.append(schema)
    joined = {name: known[0] if len(known) == 1 else {"anyOf": known} for name, known in properties.items()}
    needed = [list(branch.get("required") or ()) for branch in branches]
    required = [name for name in (needed[0] if needed else []) if all(name in others for others in needed)]
    result = dict(base)
    result["properties"] = {**joined, **(base.get("properties") or {})}
    result["required"] = list(dict.fromkeys([*(base.get("required") or ()), *required]))
    if branches and all(branch.get("additionalProperties") is False for branch in branches):
        result.setdefault("additionalProperties", False)
    return result
