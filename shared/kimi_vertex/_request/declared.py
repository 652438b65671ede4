"""Tools that a conversation declares in its middle: a system message with `tools` and nothing else.

Where the model knows such messages, they stay where they are, so that the prompt up to them is the same as before, and
the server's cache of it holds. Elsewhere their tools go to the others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from kimi_vertex._text import shown
from kimi_vertex._tools import tool_name
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message

from .rules import Rules

__all__ = ["Declarations", "read_declaration"]

Tool = Mapping[str, Any]

# https://github.com/MoonshotAI/Kimi-Vendor-Verifier (k3_features/test_dynamic_tools.py, August 2026)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,255}")


def read_declaration(tools: Any, position: int) -> tuple[Tool, ...]:
    """The tools of a message.

    Raises:
        InvalidRequestError: One of them cannot be sent.
    """
    if isinstance(tools, Mapping | str | bytes) or not isinstance(tools, Sequence):
        raise InvalidRequestError(
            f"Message {position} has tools of type {type(tools).__name__}; expected a list."
        )
    names: set[str] = set()
    for index, tool in enumerate(tools):
        name = tool_name(tool)
        if name is None or (isinstance(tool, Mapping) and tool.get("type") != "function"):
            raise InvalidRequestError(
                f"Message {position} has a tool, number {index}, that is not in OpenAI's form; expected "
                '{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}.'
            )
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(
                f"Message {position} declares a tool named {shown(name)}; a name begins with a letter or _, has only "
                "ASCII letters, digits, _ and -, and is at most 256 long."
            )
        if name in names:
            raise InvalidRequestError(f"Message {position} declares the tool {shown(name)} twice.")
        names.add(name)
    return tuple(tools)


class Declarations:
    """The tools of a request: those at the top, and those that messages declare."""

    def __init__(self, tools: Sequence[Tool], messages: Sequence[Message], rules: Rules) -> None:
        """Find a place for each tool, which is declared once.

        Args:
            tools: The tools at the top. What a message declares, too, is left to the message: the tool was added to
                the conversation and to what can be executed.
        """
        late = [(n, tool) for n, message in enumerate(messages) if message.tools for tool in message.tools]
        self._role = "developer" if rules.server == "vllm" else "system"
        self._by_position: dict[int, list[Tool]] = {}
        self.top = list(tools)
        self.all = self.top
        """Every tool that the model may call."""
        if late:
            self._place(late, rules)

    def _place(self, late: Sequence[tuple[int, Tool]], rules: Rules) -> None:
        known: set[str | None] = set()
        declared: list[Tool] = []
        for position, tool in late:
            if tool_name(tool) not in known:
                known.add(tool_name(tool))
                declared.append(tool)
                self._by_position.setdefault(position, []).append(tool)
        if not rules.info.mid_conversation_tools:
            top = {tool_name(tool) for tool in self.top}
            self.top += [tool for tool in declared if tool_name(tool) not in top]
            self._by_position = {}
            self.all = self.top
            return
        self.top = [tool for tool in self.top if tool_name(tool) not in known]
        if not self.top and rules.server == "vllm":
            # Without tools at the top, it reads no calls.
            self.top = self._by_position.pop(min(self._by_position))
        self.all = [*self.top, *(tool for tools in self._by_position.values() for tool in tools)]

    def narrow(self, names: Collection[str]) -> None:
        """Offer these tools alone, wherever they were declared."""
        self.all = self.top = [tool for tool in self.all if tool_name(tool) in names]
        self._by_position = {}

    def write(self, position: int) -> dict[str, Any] | None:
        """The message at this position; `None` if its tools are declared elsewhere."""
        tools = self._by_position.get(position)
        return {"role": self._role, "tools": tools} if tools else None
