"""Tools as servers take them, and the names that they have there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.tools.types import BaseTool

from kimi_vertex import InvalidRequestError

__all__ = ["renamed_tools", "tool_dicts", "wire_name"]

_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]")


def tool_dicts(tools: Any) -> list[dict[str, Any]]:
    """Tools in OpenAI's form.

    Raises:
        InvalidRequestError: They are not a list, or one of them is a bare function.
    """
    if isinstance(tools, str | bytes) or not isinstance(tools, Sequence):
        raise InvalidRequestError(f"tools is a {type(tools).__name__}; pass a list of tools.")
    return [_tool_dict(tool) for tool in tools]


def _tool_dict(tool: Any) -> dict[str, Any]:
    if isinstance(tool, BaseTool):
        # Kimi's servers have no limit for a description's length.
        return tool.metadata.to_openai_tool(skip_length_check=True)
    if callable(tool):
        name = getattr(tool, "__name__", "fn")
        raise InvalidRequestError(
            f"A tool is a function: wrap it with FunctionTool.from_defaults({name}) from llama_index.core.tools."
        )
    described: dict[str, Any] = tool
    return described


def wire_name(name: str) -> str:
    """A tool's name as servers take it: characters other than letters, digits, `_` and `-` become underscores."""
    return name if name.isidentifier() and name.isascii() else _NOT_IN_NAMES.sub("_", name)


def renamed_tools(
    tools: Sequence[BaseTool | dict[str, Any]], offered: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """The tools' own names, by which LlamaIndex finds them, by those that they are offered under, where they differ."""
    pairs = [
        (entry["function"]["name"], tool.metadata.get_name())
        for tool, entry in zip(tools, offered, strict=True)
        if isinstance(tool, BaseTool)
    ]
    return {offered_name: own for offered_name, own in pairs if offered_name != own}
