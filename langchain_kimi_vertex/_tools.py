"""What `bind_tools` and `with_structured_output` send: tools, tool choice and response format in OpenAI's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool
else:
    BaseTool = Any  # LangChain loads its tools when they are used, not when annotations are read

__all__ = ["Method", "Schema", "ToolLike", "format_tools", "response_format"]

ToolLike: TypeAlias = dict[str, Any] | type | Callable[..., Any] | BaseTool
"""A tool as LangChain takes it: dict, pydantic class, TypedDict, function or `BaseTool`."""

Schema: TypeAlias = dict[str, Any] | type
"""A schema of structured output: pydantic class, TypedDict, JSON schema or OpenAI function."""

Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode"]
"""How structured output is asked for."""


def format_tools(tools: Sequence[ToolLike], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Convert tools of any kind to OpenAI's form."""
    return [convert_to_openai_tool(tool, strict=strict) for tool in tools]


def response_format(schema: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """A schema as the `response_format` of a request.

    Args:
        schema: A pydantic class, TypedDict, JSON schema or OpenAI function, or a finished `response_format`.
        strict: Sent if it is not `None`.
    """
    if isinstance(schema, Mapping):
        if schema.get("type") in ("json_schema", "json_object", "text"):
            return dict(schema)
        if isinstance(schema.get("function"), Mapping):
            schema = dict(schema["function"])
        elif "title" not in schema and "name" not in schema:
            schema = {"title": "response", **schema}
    function = convert_to_openai_function(schema, strict=strict)
    described: dict[str, Any] = {"name": function["name"], "schema": function["parameters"]}
    if function.get("description"):
        described["description"] = function["description"]
    if strict is not None:
        described["strict"] = strict
    return {"type": "json_schema", "json_schema": described}
