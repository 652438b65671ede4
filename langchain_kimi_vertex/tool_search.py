"""Middleware for agents with many tools: the model searches for them, and those found join the conversation.

LangChain's `ProviderToolSearchMiddleware` does this with a search that runs at Anthropic or OpenAI; Kimi's servers have
none, so this one searches here. It speaks LangChain's words: deferred tools carry `extras["defer_loading"]`, and a system
message with an `additional_tools` block adds them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import SystemMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool
from langgraph.types import Command

from langchain_kimi_vertex._tools import DEFERRED, format_tools, unmarked

__all__ = ["ToolSearchMiddleware"]

_NAME: Final = "search_tools"
_WORD: Final = re.compile(r"[^\W_]+")


class ToolSearchMiddleware(AgentMiddleware[Any, Any, Any]):
    """Offer some of an agent's tools only once the model has searched for them.

    The tools are given to the agent as usual, which executes them. Those found are added behind the search's result, so
    that the prompt up to there stays the same, for Kimi K3; for earlier models they join the tools of the request.

    Example:
        ```python
        agent = create_agent(
            ChatKimiVertex(endpoint=..., model="kimi-k3"),
            tools=[get_weather, send_email, look_up_order],
            middleware=[ToolSearchMiddleware(searchable_tools=[send_email, look_up_order])],
        )
        ```
    """

    def __init__(self, *, searchable_tools: Sequence[str | BaseTool], limit: int = 5) -> None:
        """Make the middleware.

        Args:
            searchable_tools: The tools to search for, or their names; they have to be the agent's, too.
            limit: How many tools a search adds at most.
        """
        super().__init__()
        self._names = {tool if isinstance(tool, str) else tool.name for tool in searchable_tools}
        self._searchable: list[BaseTool] = []
        self._limit = limit
        self.tools = [
            StructuredTool.from_function(
                self._search,
                name=_NAME,
                description="Find further tools. Those found can be called from then on.",
            )
        ]

    def _search(self, query: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Add the tools that fit the query."""
        found = self._found(query)
        names = ", ".join(tool.name for tool in found)
        text = f"You can now call: {names}." if found else "No tool fits; try other words."
        messages: list[Any] = [ToolMessage(text, tool_call_id=tool_call_id, name=_NAME)]
        if found:
            tools = [unmarked(tool) for tool in format_tools(found)]
            messages.append(
                SystemMessage([{"type": "additional_tools", "role": "developer", "tools": tools}])
            )
        return Command(update={"messages": messages})

    def _found(self, query: str) -> list[BaseTool]:
        """The tools that share most words with the query, a name's words counting double."""
        wanted = _words(query)

        def score(tool: BaseTool) -> int:
            name = _words(tool.name)
            return 2 * len(wanted & name) + len(wanted & (_words(tool.description) - name))

        ranked = sorted(self._searchable, key=score, reverse=True)
        return [tool for tool in ranked if score(tool)][: self._limit]

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Mark the tools to search for, so that they are not offered."""
        return handler(self._prepare(request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Mark the tools to search for, so that they are not offered."""
        return await handler(self._prepare(request))

    def _prepare(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        known = {tool.name: tool for tool in request.tools if isinstance(tool, BaseTool)}
        if unknown := sorted(self._names - known.keys()):
            raise ValueError(f"searchable_tools has {', '.join(unknown)}, which the agent does not have.")
        self._searchable = [tool for name, tool in known.items() if name in self._names]
        return request.override(tools=[_deferred(tool, self._names) for tool in request.tools])


def _deferred(tool: Any, names: set[str]) -> Any:
    if not (isinstance(tool, BaseTool) and tool.name in names):
        return tool
    return tool.model_copy(update={"extras": {**(tool.extras or {}), DEFERRED: True}})


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}
