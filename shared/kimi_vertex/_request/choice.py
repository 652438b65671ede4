"""Reads which tool has to be called, in any form that users know, into the one that is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from kimi_vertex._text import shown
from kimi_vertex._tools import DeclaredTools, tool_name
from kimi_vertex.errors import InvalidRequestError

__all__ = ["allowed_tools", "check_tool_choice", "forbids_parallel_calls", "forced_tools", "tool_choice"]

_ALLOWED: Final = "allowed_tools"


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
    if allowed_tools(choice, tools) is not None:
        choice = _allowed(choice).get("mode") or "auto"
    if isinstance(choice, Mapping):
        named = _name_of(choice)
        if choice.get("type") in _own_types(tools):
            return dict(choice)
        choice = choice.get("type") if named is None else choice
    word = "required" if choice is True else choice if isinstance(choice, str) else None
    if word in ("any", "required"):
        if not tools:
            _refuse("required", tools)
        return "required"
    if word in ("auto", "none"):
        return str(word)
    if not isinstance(named, str) or named not in DeclaredTools.of(tools).names:
        _refuse(choice if named is None else named, tools)
    return {"type": "function", "function": {"name": named}}


def allowed_tools(choice: Any, tools: Sequence[Mapping[str, Any]]) -> frozenset[str] | None:
    """The names of the only tools that may be called, if the choice is OpenAI's `allowed_tools`; else `None`.

    Servers of Kimi do not know this choice: the others are not offered, then, which means the same.
    https://platform.openai.com/docs/guides/function-calling#tool-choice

    Raises:
        InvalidRequestError: It allows tools that are not there, or has another mode than `auto` and `required`.
    """
    if not (isinstance(choice, Mapping) and choice.get("type") == _ALLOWED):
        return None
    allowed = _allowed(choice)
    listed, mode = allowed.get("tools"), allowed.get("mode", "auto")
    if mode not in ("auto", "required") or not isinstance(listed, Sequence) or not listed:
        raise InvalidRequestError(
            'tool_choice of type allowed_tools needs a mode ("auto" or "required") and a list of tools, such as '
            '{"type": "function", "function": {"name": "search"}}.'
        )
    names = {_name_of(tool) for tool in listed}
    known = DeclaredTools.of(tools).names
    if unknown := [name for name in names if name not in known]:
        _refuse(unknown[0], tools)
    return frozenset(name for name in names if name is not None)


def _allowed(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the choice says, in the form of chat completions or of responses."""
    inner = choice.get(_ALLOWED)
    return inner if isinstance(inner, Mapping) else choice


def _name_of(tool: Any) -> str | None:
    """A tool's name in the form of chat completions, or in that of responses and of Anthropic."""
    name = tool.get("name") if isinstance(tool, Mapping) else None
    return tool_name(tool) or (name if isinstance(name, str) else None)


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
    raise InvalidRequestError(f"tool_choice={shown(choice)} demands a call that cannot be made: {known}.")
