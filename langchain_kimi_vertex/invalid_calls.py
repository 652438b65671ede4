"""Middleware for agents: the model hears of its calls that cannot be executed, and can correct them.

LangChain's agent loop looks at valid calls only. A turn whose calls were cut off or do not fit would end it, as if the model
had nothing more to do.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain_core.messages import AIMessage, ToolMessage

from langchain_kimi_vertex._keys import CALL_ERRORS_KEY, REPLACED_CALLS_KEY

__all__ = ["InvalidToolCallMiddleware"]

_logger: Final = logging.getLogger(__name__)


class InvalidToolCallMiddleware(AgentMiddleware[Any, Any, Any]):
    """Answer calls that cannot be executed with an error, which the model gets as their result.

    Valid calls of the same turn are executed as usual. A turn without any goes back to the model, a few times in a row.

    Example:
        ```python
        agent = create_agent(ChatKimiVertex(), [get_weather], middleware=[InvalidToolCallMiddleware()])
        ```
    """

    def __init__(self, *, limit: int = 3) -> None:
        """Make the middleware.

        Args:
            limit: How many turns in a row may have no other calls than invalid ones before the run ends.
        """
        super().__init__()
        self._limit = limit

    @hook_config(can_jump_to=["model"])
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Add the errors, and go back to the model if there is nothing to execute."""
        messages: list[Any] = state["messages"]
        last = messages[-1]
        results = _results(last)
        if not results:
            return None
        _logger.warning("The model's calls of %s are invalid.", ", ".join(str(r.name) for r in results))
        again = not last.tool_calls and _invalid_turns(messages) <= self._limit
        return {"messages": results, **({"jump_to": "model"} if again else {})}

    @hook_config(can_jump_to=["model"])
    async def aafter_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """The asynchronous twin of `after_model`."""
        return self.after_model(state, runtime)


def _results(message: Any) -> list[ToolMessage]:
    """An error for each call of a message that cannot be executed, and has not been replaced by another."""
    if not isinstance(message, AIMessage):
        return []
    replaced = message.response_metadata.get(REPLACED_CALLS_KEY) or ()
    errors = message.response_metadata.get(CALL_ERRORS_KEY) or {}
    return [
        ToolMessage(
            f"Error: the call was not executed, because its arguments are invalid: "
            f"{call.get('error') or errors.get(call.get('id')) or 'they cannot be read'}. Call the tool again.",
            tool_call_id=call.get("id") or "",
            name=call.get("name") or "unknown",
            status="error",
        )
        for call in message.invalid_tool_calls
        if call.get("id") not in replaced
    ]


def _invalid_turns(messages: list[Any]) -> int:
    """How many turns at the end of a conversation have invalid calls only."""
    count = 0
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            if message.tool_calls or not _results(message):
                break
            count += 1
        elif not isinstance(message, ToolMessage):
            break
    return count
