"""Rewrites tool schemas into the JSON-schema dialect that Moonshot's own API accepts.

Opt-in: most servers take any schema. The dialect has an object at the root, a `type` in every schema or in each
branch of its `anyOf`, definitions at the root only, and no `oneOf`, `allOf`, `const`, `pattern`, `format` or tuples:
https://github.com/MoonshotAI/walle/blob/main/docs/mfjs-spec.md. What it cannot say is left out, so that a rewritten
schema admits more than the original, not less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from kimi_vertex.errors import InvalidRequestError

from .schema_merge import merge, union

__all__ = ["moonshot_schema", "moonshot_tools"]

_Schema: TypeAlias = dict[str, Any]

_ANY: Final = ("string", "number", "boolean", "object", "array", "null")
_HINTS: Final = (
    ("object", ("properties", "required", "additionalProperties", "patternProperties", "propertyNames")),
    ("array", ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains")),
    ("string", ("minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


def moonshot_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copy tools in OpenAI's form with their parameters rewritten for Moonshot's dialect.

    Raises:
        InvalidRequestError: A schema contains itself.
    """
    copies: list[dict[str, Any]] = []
    for index, tool in enumerate(tools):
        if not isinstance(tool.get("function"), Mapping):
            copies.append(dict(tool))
            continue
        function = {key: value for key, value in tool["function"].items() if key != "strict"}
        try:
            function["parameters"] = moonshot_schema(function.get("parameters"))
        except RecursionError:
            raise InvalidRequestError(
                f"The schema of tools[{index}] contains itself; use $defs and $ref for recursion."
            ) from None
        copies.append({**tool, "function": function})
    return copies


def moonshot_schema(schema: Any) -> dict[str, Any]:
    """Rewrite the schema of a tool's parameters; anything that is no schema becomes an object without properties."""
    return _Rewriter(schema if isinstance(schema, Mapping) else {}).root()


class _Rewriter:
    """Rewrites one document; collects the definitions that it uses."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self._definitions: dict[str, _Schema] = {}

    def root(self) -> _Schema:
        """The whole document, as an object."""
        node = self._flat(self._followed(self._document))
        branches = _branches(node)
        if branches is not None:
            rest = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf")}
            node = union(rest, [self._flat(self._followed(b)) for b in branches if isinstance(b, Mapping)])
        result = {**self._object(node), **_description(node)}
        result.setdefault("properties", {})
        if self._definitions:
            result["$defs"] = self._definitions
        return result

    def _schema(self, node: Any) -> _Schema:
        if not isinstance(node, Mapping):
            return self._typed({}, _ANY)
        node = self._flat(node)
        if isinstance(node.get("$ref"), str):
            return self._reference(node)
        branches = _branches(node)
        if branches is not None:
            return self._any_of(node, branches)
        return self._typed(node, _types(node))

    def _typed(self, node: Mapping[str, Any], types: Iterable[str]) -> _Schema:
        """A schema for one type, or `anyOf` with one branch for each."""
        values = _values(node)
        shapes = [shape for kind in types if (shape := self._of_type(kind, node, values)) is not None]
        if not shapes:
            # No value of `enum` is of the type: the type stays.
            shapes = [shape for kind in types if (shape := self._of_type(kind, node, None)) is not None]
        if len(shapes) != 1:
            return {"anyOf": shapes, **_description(node)}
        default = {"default": node["default"]} if "default" in node else {}
        return {**shapes[0], **_description(node), **default}

    def _of_type(self, kind: str, node: Mapping[str, Any], values: list[Any] | None) -> _Schema | None:
        """The keywords that count for one type; `None` if `values` has none of the type."""
        if values is not None:
            values = [value for value in values if _is_a(kind, value)]
            if not values:
                return None
        if kind == "object":
            return self._object(node)
        if kind == "array":
            return self._array(node)
        shape: _Schema = {"type": kind}
        if values is not None and kind in ("string", "number", "integer"):
            shape["enum"] = values
        elif kind == "string":
            shape |= _range(node, "minLength", "maxLength")
        elif kind in ("number", "integer"):
            shape |= _numeric_range(node, whole=kind == "integer")
        return shape

    def _object(self, node: Mapping[str, Any]) -> _Schema:
        shape: _Schema = {"type": "object"}
        properties = node.get("properties")
        if isinstance(properties, Mapping):
            shape["properties"] = {
                name: self._schema(child) for name, child in properties.items() if child is not False
            }
        required = node.get("required")
        if isinstance(required, list | tuple):
            known = [name for name in dict.fromkeys(required) if name in shape.get("properties", {})]
            if known:
                shape["required"] = known
        others = node.get("additionalProperties")
        if isinstance(others, Mapping):
            shape["additionalProperties"] = self._schema(others) if others else True
        elif isinstance(others, bool) and not (others is False and node.get("patternProperties")):
            shape["additionalProperties"] = others
        return shape

    def _array(self, node: Mapping[str, Any]) -> _Schema:
        shape: _Schema = {"type": "array"}
        items = node.get("items")
        tuples = items if isinstance(items, list | tuple) else node.get("prefixItems")
        if isinstance(tuples, list | tuple) and tuples:
            rest = [items] if isinstance(items, Mapping) and items else []
            shape["items"] = _alternatives([self._schema(child) for child in (*tuples, *rest)])
        elif isinstance(items, Mapping) and items:
            shape["items"] = self._schema(items)
        return shape | _range(node, "minItems", "maxItems")

    def _any_of(self, node: Mapping[str, Any], branches: Sequence[Any]) -> _Schema:
        """Alternatives; what stands beside them goes into each, but for references, which stand alone."""
        beside = {"anyOf", "oneOf", "description", "title", "default", "nullable"}
        rest = {key: value for key, value in node.items() if key not in beside}
        shapes: list[_Schema] = []
        for branch in branches:
            if branch is False:
                continue
            flat = self._flat(branch) if isinstance(branch, Mapping) else {}
            alone = isinstance(flat.get("$ref"), str) or not rest
            shapes.append(self._schema(flat if alone else merge(flat, rest)))
        if node.get("nullable") is True:
            shapes.append({"type": "null"})
        if not shapes:
            return self._typed(node, _ANY)
        return {**_alternatives(shapes), **_description(node)}

    def _reference(self, node: Mapping[str, Any]) -> _Schema:
        reference = node["$ref"]
        if reference == "#":
            return {"$ref": "#", **_description(node)}
        if reference not in self._names:
            target = self._target(reference)
            if target is None:
                return self._typed(_description(node), _ANY)
            base = reference.rpartition("/")[2].replace("~1", "_").replace("~0", "~") or "definition"
            name, number = base, 2
            while name in self._definitions:
                name, number = f"{base}_{number}", number + 1
            self._names[reference] = name
            self._definitions[name] = {}
            self._definitions[name] = self._schema(target)
        return {"$ref": f"#/$defs/{self._names[reference]}", **_description(node)}

    def _target(self, reference: str) -> Mapping[str, Any] | None:
        """What a reference inside the document points to."""
        if reference == "#":
            return self._document
        if not reference.startswith("#/"):
            return None
        found: Any = self._document
        for escaped in reference[2:].split("/"):
            token = escaped.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and token.isdecimal() and int(token) < len(found):
                found = found[int(token)]
            elif isinstance(found, Mapping) and token in found:
                found = found[token]
            else:
                return None
        return found if isinstance(found, Mapping) else None

    def _followed(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema itself in place of a reference to it."""
        for _ in range(16):
            reference = node.get("$ref")
            if not isinstance(reference, str):
                break
            rest = {key: value for key, value in node.items() if key != "$ref"}
            node = merge(rest, self._target(reference) or {})
        return node

    def _flat(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema with the parts of its `allOf` merged into it."""
        parts = node.get("allOf")
        if not isinstance(parts, list):
            return node
        merged: Mapping[str, Any] = {key: value for key, value in node.items() if key != "allOf"}
        parts = [part for part in parts if isinstance(part, Mapping)]
        if len(parts) == 1 and set(merged) <= {"description", "title", "default"}:
            return {**self._flat(parts[0]), **merged}
        for part in parts:
            merged = merge(merged, self._flat(self._followed(part)))
        return merged


def _branches(node: Mapping[str, Any]) -> Sequence[Any] | None:
    for key in ("anyOf", "oneOf"):
        branches = node.get(key)
        if isinstance(branches, list | tuple) and branches:
            return branches
    return None


def _alternatives(shapes: Sequence[_Schema]) -> _Schema:
    """`anyOf` without nesting and repetition; the schema itself if there is but one."""
    distinct: list[_Schema] = []
    for shape in shapes:
        inner = shape["anyOf"] if set(shape) == {"anyOf"} else [shape]
        distinct += [one for one in inner if one not in distinct]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _description(node: Mapping[str, Any]) -> _Schema:
    text = node.get("description")
    return {"description": text} if isinstance(text, str) else {}


def _types(node: Mapping[str, Any]) -> list[str]:
    """The types that a schema admits: declared, or told by its other keywords."""
    declared = node.get("type")
    listed = [declared] if isinstance(declared, str) else list(declared or ())
    types = [kind for kind in dict.fromkeys(listed) if kind in _ANY or kind == "integer"]
    values = _values(node)
    if not types and values is not None:
        types = list(dict.fromkeys(_type_of(value) for value in values))
        if "number" in types and "integer" in types:
            types.remove("integer")
    if not types:
        types = [kind for kind, keywords in _HINTS if any(keyword in node for keyword in keywords)][:1] or [
            *_ANY
        ]
    if node.get("nullable") is True and "null" not in types:
        types.append("null")
    return types


def _values(node: Mapping[str, Any]) -> list[Any] | None:
    if "const" in node:
        return [node["const"]]
    values = node.get("enum")
    return list(values) if isinstance(values, list | tuple) and values else None


def _type_of(value: Any) -> str:
    return next(kind for kind in ("integer", *_ANY) if _is_a(kind, value) or kind == "null")


def _is_a(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int)
    if kind == "number":
        return isinstance(value, int | float)
    if kind == "object":
        return isinstance(value, Mapping)
    if kind == "array":
        return isinstance(value, list | tuple)
    return isinstance(value, str) if kind == "string" else value is None and kind == "null"


def _range(node: Mapping[str, Any], lowest: str, highest: str) -> _Schema:
    """Bounds of a length: whole numbers from 0, and neither if no value can meet both."""
    bounds = {key: node[key] for key in (lowest, highest) if key in node}
    kept = {key: value for key, value in bounds.items() if _is_a("integer", value) and value >= 0}
    return {} if len(kept) == 2 and kept[lowest] > kept[highest] else kept


def _numeric_range(node: Mapping[str, Any], *, whole: bool) -> _Schema:
    """Bounds of a number; exclusive ones become the next whole number, or inclusive."""

    def given(key: str) -> list[Any]:
        value = node.get(key)
        return [value] if _is_a("number", value) and math.isfinite(value) else []  # type: ignore[arg-type]

    lowest, above = given("minimum"), given("exclusiveMinimum")
    highest, below = given("maximum"), given("exclusiveMaximum")
    if whole:
        lowest = [math.ceil(value) for value in lowest] + [math.floor(value) + 1 for value in above]
        highest = [math.floor(value) for value in highest] + [math.ceil(value) - 1 for value in below]
    else:
        lowest, highest = lowest + above, highest + below
    if lowest and highest and max(lowest) > min(highest):
        return {}
    return ({"minimum": max(lowest)} if lowest else {}) | ({"maximum": min(highest)} if highest else {})
