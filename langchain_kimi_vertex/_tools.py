"""What `bind_tools` and `with_structured_output` send: tools, tool choice and response format in OpenAI's form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from kimi_vertex import InvalidRequestError
from kimi_vertex.schemas import rooted
from langchain_kimi_vertex._schemas import first_line, is_recursive, read_schema

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool
else:
    BaseTool = Any  # LangChain loads its tools when they are used, not when annotations are read

__all__ = [
    "DEFERRED",
    "Method",
    "Schema",
    "ToolLike",
    "added_tools",
    "format_tools",
    "response_format",
    "unmarked",
]

ToolLike: TypeAlias = dict[str, Any] | type | Callable[..., Any] | BaseTool
"""A tool as LangChain takes it: dict, pydantic class, TypedDict, function or `BaseTool`."""

Schema: TypeAlias = Any
"""A schema of structured output: pydantic class, dataclass, TypedDict, Enum, union, JSON schema or OpenAI function."""

DEFERRED: Final = "defer_loading"
"""LangChain's mark of a tool that is bound, but not offered before a message of the conversation adds it."""

Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode"]
"""How structured output is asked for."""


def format_tools(tools: Sequence[ToolLike], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Convert tools of any kind to OpenAI's form; `defer_loading` of their `extras` stays, as ChatOpenAI has it.

    Raises:
        InvalidRequestError: One of them is not a tool.
    """
    unchecked: Any = tools
    if isinstance(unchecked, str | bytes | Mapping) or not isinstance(unchecked, Iterable):
        raise InvalidRequestError(f"tools is a {type(unchecked).__name__}; pass a list of tools.")
    return [_format_tool(tool, f"tools[{index}]", strict=strict) for index, tool in enumerate(tools)]


def _format_tool(tool: ToolLike, place: str, *, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping) and _is_servers_own(tool):
        return dict(tool)
    formatted = _converted(tool, place, strict=strict)
    model = tool if isinstance(tool, type) else getattr(tool, "tool_call_schema", None)
    if isinstance(model, type) and issubclass(model, BaseModel):
        schema = model.model_json_schema()
        if is_recursive(schema):
            # LangChain writes all references out, and leaves a hole where a class contains itself.
            formatted["function"]["parameters"] = rooted(schema)
    if isinstance(tool, Mapping):
        deferred = tool.get(DEFERRED) or _mapping(tool.get("extras")).get(DEFERRED)
    else:
        deferred = _mapping(getattr(tool, "extras", None)).get(DEFERRED)
    return {**formatted, DEFERRED: True} if deferred is True else formatted


def _converted(tool: Any, place: str, *, strict: bool | None = None) -> dict[str, Any]:
    try:
        return convert_to_openai_tool(tool, strict=strict)
    except Exception as error:
        raise InvalidRequestError(
            f"{place} is not a tool: pass a function, a BaseTool, a pydantic class or a dict in OpenAI's form. "
            f"{first_line(error)}"
        ) from error


def _is_servers_own(tool: Mapping[str, Any]) -> bool:
    """Whether the server itself runs a tool: its type is a word that neither names a function nor belongs to JSON schema."""
    kind = tool.get("type")
    return (
        isinstance(kind, str) and kind not in ("function", "object", "custom") and "input_schema" not in tool
    )


def unmarked(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as it is sent: without `defer_loading`."""
    return {name: value for name, value in tool.items() if name != DEFERRED}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def added_tools(block: Mapping[str, Any], tools: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The tools that a block of a system message adds to the conversation; `None` if the block is another.

    There are two spellings of it: Anthropic's `tool_addition`, with a definition or a reference to a tool that is known,
    and OpenAI's `additional_tools`.

    Raises:
        InvalidRequestError: It takes a tool away, or names one that is not known.
    """
    kind = block.get("type")
    if kind == "additional_tools":
        return [_definition(tool) for tool in block.get("tools") or ()]
    if kind == "tool_removal":
        raise InvalidRequestError(
            "A system message takes a tool away, which Kimi cannot: what the conversation has declared stays."
        )
    if kind != "tool_addition":
        return None
    tool = _mapping(block.get("tool"))
    if tool.get("type") != "tool_reference":
        return [_definition(tool.get("definition"))]
    name = tool.get("name") or tool.get("tool_name")
    if not isinstance(name, str) or name not in tools:
        known = ", ".join(sorted(tools)) or "none"
        raise InvalidRequestError(
            f"A system message adds the tool {name!r}, which is not among those bound to the model: {known}."
        )
    return [tools[name]]


def _definition(tool: Any) -> dict[str, Any]:
    """A tool that a block defines, in OpenAI's form: from Anthropic's, from that of Responses, or as it is."""
    if isinstance(tool, Mapping) and tool.get("type") == "function" and "function" not in tool:
        function = {
            key: tool[key] for key in ("name", "description", "parameters", "strict") if tool.get(key)
        }
        return {"type": "function", "function": function}
    return unmarked(_converted(tool, "What a system message adds"))


def response_format(schema: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """A schema as the `response_format` of a request.

    Args:
        schema: A schema of any kind, or a finished `response_format`.
        strict: Sent if it is not `None`.

    Raises:
        InvalidRequestError: It cannot be a schema.
    """
    if isinstance(schema, Mapping) and schema.get("type") in ("json_schema", "json_object", "text"):
        return dict(schema)
    return read_schema(schema).response_format(strict=strict)
