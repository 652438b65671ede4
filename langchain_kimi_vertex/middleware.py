"""Agent middleware that asks the model again for tool calls that cannot be executed. Needs the package langchain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

try:
    from langchain.agents.middleware.types import AgentMiddleware, AgentState, ModelRequest, ModelResponse
except ImportError as error:
    if error.name is None or error.name.partition(".")[0] != "langchain":
        raise
    raise ImportError(
        "ToolCallRepairMiddleware needs the package langchain: pip install langchain", name="langchain"
    ) from error
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata, add_usage

from kimi_vertex import ConfigurationError
from langchain_kimi_vertex._keys import CALL_ERRORS_KEY

__all__ = ["ToolCallRepairMiddleware"]

_Request: TypeAlias = ModelRequest[Any]
_Response: TypeAlias = ModelResponse[Any]

_CUT: Final = frozenset({"length", "content_filter", "max_tokens", "MAX_TOKENS"})
"""Ends that asking again does not help against, as providers spell them."""


class ToolCallRepairMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Asks the model again when it has made tool calls that cannot be executed.

    An agent takes an answer whose only calls are invalid for its last word and stops. With this middleware the model
    is told what is wrong with each call and answers anew; the conversation keeps the last answer only, whose
    `usage_metadata` counts all of them. It works with any chat model; with `ChatKimiVertex(tool_validation="flag")`
    or `"repair"`, calls that do not match their tool's schema are invalid, too. A call that the token limit or a
    content filter has cut is left as it is. `ChatKimiVertex(tool_validation="reask")` does the same without an agent.

    Args:
        max_retries: How often to ask again for one answer. Default 2.

    Raises:
        ConfigurationError: `max_retries` is no whole number, or negative.

    Example:
        ```python
        agent = create_agent(model, tools, middleware=[ToolCallRepairMiddleware()])
        ```
    """

    def __init__(self, *, max_retries: int = 2) -> None:
        super().__init__()
        if type(max_retries) is not int or max_retries < 0:
            raise ConfigurationError(f"max_retries is {max_retries!r}; it must be a whole number, 0 or more.")
        self.max_retries = max_retries
        self.tools = []

    def wrap_model_call(self, request: _Request, handler: Callable[[_Request], _Response]) -> _Response:
        """Call the model, as often as is needed and allowed."""
        repair = _Repair(request, self.max_retries)
        response = handler(request)
        while (again := repair.next_request(response)) is not None:
            response = handler(again)
        return repair.result(response)

    async def awrap_model_call(
        self, request: _Request, handler: Callable[[_Request], Awaitable[_Response]]
    ) -> _Response:
        """The asynchronous twin of `wrap_model_call`."""
        repair = _Repair(request, self.max_retries)
        response = await handler(request)
        while (again := repair.next_request(response)) is not None:
            response = await handler(again)
        return repair.result(response)


class _Repair:
    """The answers to one request."""

    def __init__(self, request: _Request, retries: int) -> None:
        self._request = request
        self._left = retries
        self._spent: UsageMetadata | None = None

    def next_request(self, response: _Response) -> _Request | None:
        """What to ask next; `None` if the answer stands."""
        message = _answer(response)
        if message is None or not self._left or not _can_be_corrected(message):
            return None
        self._left -= 1
        self._spent = _sum(self._spent, message.usage_metadata)
        self._request = self._request.override(messages=[*self._request.messages, *_correction(message)])
        return self._request

    def result(self, response: _Response) -> _Response:
        """The answer that stands, with the counts of all."""
        message = _answer(response)
        if message is None or self._spent is None:
            return response
        counted = message.model_copy(update={"usage_metadata": _sum(self._spent, message.usage_metadata)})
        return replace(response, result=[counted if m is message else m for m in response.result])


def _answer(response: _Response) -> AIMessage | None:
    return next((message for message in reversed(response.result) if isinstance(message, AIMessage)), None)


def _can_be_corrected(message: AIMessage) -> bool:
    metadata = message.response_metadata
    reason = metadata.get("finish_reason") or metadata.get("stop_reason")
    return bool(message.invalid_tool_calls) and reason not in _CUT


def _correction(message: AIMessage) -> list[AIMessage | ToolMessage]:
    """The answer itself, and for each of its calls why it was not executed."""
    reasons = message.response_metadata.get(CALL_ERRORS_KEY) or {}
    invalid = [
        # Where the provider gave no id, a result still has to name its call.
        {**call, "id": call["id"] or f"invalid_{index}", "name": call["name"] or "unknown"}
        for index, call in enumerate(message.invalid_tool_calls)
    ]
    turn = message.model_copy(update={"invalid_tool_calls": invalid})
    results: list[AIMessage | ToolMessage] = []
    for call in invalid:
        reason = call["error"] or reasons.get(call["id"]) or "the arguments cannot be read"
        text = f"Not executed: {reason}. Make the call again, with arguments that are valid for the tool."
        results.append(_result(call, text))
    for good in message.tool_calls:
        text = "Not executed, because another call of this turn is invalid. Make this call again, too."
        results.append(_result(good, text))
    return [turn, *results]


def _result(call: Any, text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"], status="error")


def _sum(one: UsageMetadata | None, other: UsageMetadata | None) -> UsageMetadata | None:
    return add_usage(one, other) if one or other else None
