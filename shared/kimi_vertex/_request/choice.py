"""Reads which tool has to be called, in any form that users know, into the one that is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from kimi_vertex._tools import DeclaredTools
from kimi_vertex.errors import InvalidRequestError

__all__ = ["check_tool_choice", "forbids_parallel_calls", "forced_tools", "tool_choice"]


def tool_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> str | dict[str, Any] | None:
    """The wire's form of a tool choice, from OpenAI's forms, Anthropic's, a name or a word; `None` leaves it to the server.

    Args:
        choice: The choice.
        tools: The tools that are offered. A server's own tools have a type of their own, and perhaps no name.

    Raises:
        InvalidRequestError: It demands a call that is not possible.
    """
    if choice is None or choice is False:
        return None
    named: Any = choice
    if isinstance(choice, Mapping):
        function = choice.get("function")
        named = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        if choice.get("type") in _own_types(tools):
            return dict(choice)
        choice = choice.get("type") if named is None else choice
    if choice is True or choice in ("any", "required"):
        if not tools:
            _refuse("required", tools)
        return "required"
    if choice in ("auto", "none"):
        return str(choice)
    if not isinstance(named, str) or named not in DeclaredTools.of(tools).names:
        _refuse(choice if named is None else named, tools)
    return {"type": "function", "function": {"name": named}}


def check_tool_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a tool choice that cannot be kept, before there is a request.

    Args:
        choice: The choice, in any form that `RequestOptions` takes.
        tools: The tools in OpenAI's form.

    Raises:
        InvalidRequestError: It demands a call that is not possible.
    """
    tool_choice(choice, tools)


def forbids_parallel_calls(choice: Any) -> bool:
    """Whether a tool choice in Anthropic's form asks for one call at a time."""
    return isinstance(choice, Mapping) and choice.get("disable_parallel_tool_use") is True


def forced_tools(choice: Any, tools: DeclaredTools) -> DeclaredTools | None:
    """The tools of which a choice in the wire's form demands a call."""
    if choice == "required":
        return tools
    function: Any = choice.get("function") if isinstance(choice, Mapping) else None
    name: Any = function.get("name") if isinstance(function, Mapping) else None
    return DeclaredTools({name: tools.schemas[name]}) if name in tools.schemas else None


def _own_types(tools: Sequence[Mapping[str, Any]]) -> set[Any]:
    return {tool.get("type") for tool in tools} - {None, "function"}


def _refuse(choice: Any, tools: Sequence[Mapping[str, Any]]) -> NoReturn:
    names = sorted(DeclaredTools.of(tools).names)
    known = f"the tools are {', '.join(names)}" if names else "there are no tools"
    raise InvalidRequestError(f"tool_choice={choice!r} demands a call that cannot be made: {known}.")
