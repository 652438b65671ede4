"""What `bind_tools` and `with_structured_output` send: tools, tool choice and response format in OpenAI's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool

from kimi_vertex import InvalidRequestError

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["Method", "Schema", "ToolLike", "format_tools", "response_format", "tool_choice_for"]

ToolLike: TypeAlias = "dict[str, Any] | type | Callable[..., Any] | BaseTool"
"""A tool as LangChain takes it: dict, pydantic class, TypedDict, function or `BaseTool`."""

Schema: TypeAlias = dict[str, Any] | type
"""A schema of structured output: pydantic class, TypedDict, JSON schema or OpenAI function."""

Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode"]
"""How structured output is asked for."""

_WORDS = frozenset({"auto", "none", "any", "required"})


def format_tools(tools: Sequence[ToolLike], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Convert tools of any kind to OpenAI's form."""
    return [convert_to_openai_tool(tool, strict=strict) for tool in tools]


def tool_choice_for(choice: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """Check a tool choice against the tools that it can mean.

    Args:
        choice: `None` or `False` (not sent), `True`, `"auto"`, `"none"`, `"any"`, `"required"`, a tool's name, or
            a dict in OpenAI's or Anthropic's form.
        tools: The bound tools in OpenAI's form.

    Raises:
        InvalidRequestError: The choice names a tool that is not bound, or is nothing of the above.
    """
    if choice is None or choice is False:
        return None
    if choice is True or choice == "any":
        return "required"
    name = choice
    if isinstance(choice, Mapping):
        name = choice.get("type")
        if name in ("function", "tool"):
            function = choice.get("function", choice)
            name = function.get("name") if isinstance(function, Mapping) else None
    if name == "any":
        return "required"
    names = [tool["function"]["name"] for tool in tools]
    if isinstance(name, str) and name in names:
        return {"type": "function", "function": {"name": name}}
    if isinstance(name, str) and name in _WORDS:
        return name
    raise InvalidRequestError(
        f"tool_choice={choice!r} fits no bound tool (bound: {', '.join(names) or 'none'}); use a bound tool's name, "
        '"auto", "none" or "any".'
    )


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
