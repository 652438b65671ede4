"""Rewrites tool schemas into the JSON-schema dialect that Moonshot's own API accepts.

Opt-in: most servers take any schema. The dialect (https://github.com/MoonshotAI/walle) wants an object at the
root and a `type` everywhere, and has no `oneOf`, `allOf`, `const`, `pattern`, `format` or tuple items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["moonshot_tools"]

_DROPPED: Final = frozenset({"$schema", "$id", "pattern", "format", "default", "examples", "title", "strict"})
_MAPS: Final = frozenset({"properties", "$defs", "definitions"})


def moonshot_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copy tools in OpenAI's form with their parameters rewritten for Moonshot's dialect."""
    copies: list[dict[str, Any]] = []
    for tool in tools:
        function = dict(tool.get("function") or {})
        parameters = function.get("parameters")
        function["parameters"] = _root(parameters if isinstance(parameters, Mapping) else {})
        function.pop("strict", None)
        copies.append({**tool, "function": function})
    return copies


def _root(schema: Mapping[str, Any]) -> dict[str, Any]:
    root = _schema(schema)
    if root.get("type") != "object":
        root = {"type": "object", "properties": {}} if not schema else {**root, "type": "object"}
    root.setdefault("properties", {})
    return root


def _schema(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        return {"type": "string"}
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    schema = _without_all_of(schema)
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _DROPPED:
            continue
        if key == "const":
            result["enum"] = [value]
        elif key in ("oneOf", "anyOf"):
            result["anyOf"] = [_schema(branch) for branch in value]
        elif key in _MAPS and isinstance(value, Mapping):
            result[key] = {name: _schema(child) for name, child in value.items()}
        elif key in ("items", "prefixItems"):
            first = value[0] if isinstance(value, list) and value else value
            result["items"] = _schema(first)
        elif key == "additionalProperties" and isinstance(value, Mapping):
            result[key] = _schema(value)
        else:
            result[key] = value
    if "anyOf" in result:
        # The type belongs into the branches.
        kind = result.pop("type", None)
        if kind is not None:
            result["anyOf"] = [{"type": kind, **branch} for branch in result["anyOf"]]
    elif isinstance(result.get("type"), list):
        result["anyOf"] = [{"type": kind} for kind in result.pop("type")]
    elif "type" not in result:
        result["type"] = _type_of(result)
    return result


def _without_all_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    branches = schema.get("allOf")
    if not isinstance(branches, list):
        return schema
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for branch in branches:
        if not isinstance(branch, Mapping):
            continue
        for key, value in branch.items():
            known = merged.get(key)
            if isinstance(known, Mapping) and isinstance(value, Mapping):
                merged[key] = {**known, **value}
            elif isinstance(known, list) and isinstance(value, list):
                merged[key] = [*known, *(item for item in value if item not in known)]
            else:
                merged[key] = value
    return merged


def _type_of(schema: Mapping[str, Any]) -> str:
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    values = schema.get("enum")
    if isinstance(values, list) and values:
        for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
            if all(isinstance(value, kind) for value in values):
                return name
    return "string"
