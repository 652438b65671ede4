"""LlamaIndex's methods for tools: what offers them, what reads the calls of an answer, and what executes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.calling import acall_tool_with_selection, call_tool_with_selection
from llama_index.core.tools.types import BaseTool, ToolOutput

from ._responses import invalid_selections, tool_selections
from ._tools import renamed_tools, tool_dicts, wire_name

__all__ = ["ToolCalls"]


class ToolCalls(FunctionCallingLLM):
    """The methods of a function-calling LLM."""

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The arguments for `chat`. The caller's history is not changed."""
        messages = list(chat_history or [])
        if user_msg is not None:
            messages.append(user_msg if isinstance(user_msg, ChatMessage) else ChatMessage(user_msg))
        offered = tool_dicts(tools)
        prepared: dict[str, Any] = {**kwargs, "messages": messages, "tools": offered}
        if names := renamed_tools(tools, offered):
            prepared["tool_names"] = names
        if tool_choice is None and tool_required:
            tool_choice = "required"
        if tool_choice is not None:
            prepared["tool_choice"] = wire_name(tool_choice) if isinstance(tool_choice, str) else tool_choice
        if not allow_parallel_tool_calls:
            prepared["allow_parallel_tool_calls"] = False
        return prepared

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Read the calls of a response, also of one that is still arriving.

        Args:
            response: Any response of this class, or of another integration.
            error_on_no_tool_call: Raise if the response has none that can be executed. Agents pass `False`; they
                get the other calls too, under a name that no tool has, and tell the model what is wrong.
            **kwargs: Ignored; part of the framework's signature.

        Raises:
            ValueError: The response has no call.
        """
        selections = tool_selections(response)
        if not error_on_no_tool_call:
            return [*selections, *invalid_selections(response)]
        if not selections:
            reason = response.additional_kwargs.get("finish_reason")
            invalid = response.message.additional_kwargs.get("invalid_tool_calls")
            detail = f" Calls that cannot be executed: {invalid}." if invalid else ""
            raise ValueError(
                f"Expected at least one tool call, but got none (finish_reason={reason}).{detail}"
            )
        return selections

    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Ask for calls and execute them. A call that cannot be executed has an error for its result.

        LlamaIndex's own method raises a bare `KeyError` for it.

        Raises:
            ValueError: There is no call, or a result is an error, and that is to be an exception.
        """
        response = self.chat_with_tools(
            tools,
            user_msg=user_msg,
            chat_history=chat_history,
            verbose=verbose,
            allow_parallel_tool_calls=allow_parallel_tool_calls,
            **kwargs,
        )
        calls = self.get_tool_calls_from_response(response, error_on_no_tool_call=error_on_no_tool_call)
        outputs = [
            _missing(call, tools) or call_tool_with_selection(call, tools, verbose=verbose)
            for call in (calls if allow_parallel_tool_calls else calls[:1])
        ]
        return _outcome(response, outputs, error_on_tool_error)

    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """The asynchronous twin of `predict_and_call`."""
        response = await self.achat_with_tools(
            tools,
            user_msg=user_msg,
            chat_history=chat_history,
            verbose=verbose,
            allow_parallel_tool_calls=allow_parallel_tool_calls,
            **kwargs,
        )
        calls = self.get_tool_calls_from_response(response, error_on_no_tool_call=error_on_no_tool_call)

        async def output(call: ToolSelection) -> ToolOutput:
            return _missing(call, tools) or await acall_tool_with_selection(call, tools, verbose=verbose)

        outputs = await asyncio.gather(*map(output, calls if allow_parallel_tool_calls else calls[:1]))
        return _outcome(response, outputs, error_on_tool_error)


def _missing(call: ToolSelection, tools: Sequence[BaseTool]) -> ToolOutput | None:
    """The result of a call that no tool can execute, in the words that an agent would use."""
    if any(tool.metadata.name == call.tool_name for tool in tools):
        return None
    return ToolOutput(
        content=f"Tool {call.tool_name} not found. Please select a tool that is available.",
        tool_name=call.tool_name,
        raw_input=call.tool_kwargs,
        raw_output=None,
        is_error=True,
    )


def _outcome(response: ChatResponse, outputs: Sequence[ToolOutput], raises: bool) -> AgentChatResponse:
    text = "\n\n".join(output.content for output in outputs)
    if raises and any(output.is_error for output in outputs):
        raise ValueError(text)
    return AgentChatResponse(
        response=text if outputs else response.message.content or "", sources=list(outputs)
    )
