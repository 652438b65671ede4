"""The core's events and completions as LangChain's chunks and messages.

Pure functions and one small state; no callbacks, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import (
    ToolCall,
    ToolCallChunk,
    invalid_tool_call,
    tool_call,
    tool_call_chunk,
)
from langchain_core.outputs import ChatGeneration, ChatResult

from kimi_vertex import Completion, Event, Finish, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from langchain_kimi_vertex._invalid import refusing_fragment
from langchain_kimi_vertex._joining import JoiningChunk
from langchain_kimi_vertex._keys import CALL_ERRORS_KEY, PROVIDER, THINKING_KEY
from langchain_kimi_vertex._pieces import call_chunk, text_chunk, thinking_chunk

__all__ = [
    "THINKING_KEY",
    "ChunkBuilder",
    "chat_result",
    "finish_metadata",
    "to_message",
    "usage_metadata",
]


class ChunkBuilder:
    """Turns the events of one turn into chunks whose sum is the message that `invoke` returns."""

    __slots__ = ("_arguments", "_ids", "_requested_model", "_usage")

    def __init__(self, requested_model: str | None) -> None:
        self._requested_model = requested_model
        self._arguments: list[list[str]] = []
        self._ids: list[str | None] = []
        self._usage: Usage | None = None

    def add(self, event: Event) -> JoiningChunk | None:
        """The chunk for an event; `None` for usage, which rides on the last chunk."""
        if isinstance(event, ThinkingDelta):
            return thinking_chunk(event.text)
        if isinstance(event, TextDelta):
            return text_chunk(event.text)
        if isinstance(event, ToolCallDelta):
            return self._call(event)
        if isinstance(event, Usage):
            self._usage = event
            return None
        return self._last(event)

    def _call(self, event: ToolCallDelta) -> JoiningChunk:
        if event.index == len(self._arguments):
            self._arguments.append([])
            self._ids.append(event.id)
        self._arguments[event.index].append(event.arguments)
        return call_chunk(event)

    def _last(self, finish: Finish) -> JoiningChunk:
        refusals: list[ToolCallChunk] = [
            tool_call_chunk(args=refusing_fragment("".join(self._arguments[index])), index=index)
            for index in finish.invalid_calls
            if index < len(self._arguments)
        ]
        message = AIMessageChunk(
            content="",
            additional_kwargs={"refusal": finish.refusal} if finish.refusal else {},
            response_metadata=finish_metadata(finish, self._requested_model, self._ids),
            usage_metadata=usage_metadata(self._usage),
            tool_call_chunks=refusals,
            chunk_position="last",
        )
        return JoiningChunk(message=message, generation_info={"finish_reason": finish.reason})


def usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    """Token counts in LangChain's standard form; details only where the server gave them."""
    if usage is None:
        return None
    counts = UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
    if usage.cached_tokens is not None:
        counts["input_token_details"] = {"cache_read": usage.cached_tokens}
    if usage.thinking_tokens is not None:
        counts["output_token_details"] = {"reasoning": usage.thinking_tokens}
    return counts


def finish_metadata(
    turn: Finish | Completion, requested_model: str | None, call_ids: Sequence[str | None] = ()
) -> dict[str, Any]:
    """`response_metadata` of a whole turn, the same for a stream's last chunk and for a message.

    Args:
        turn: The end of a stream, or a whole turn.
        requested_model: The model's name, for a server that does not report it.
        call_ids: The ids of the calls, for the end of a stream, which knows only their positions.
    """
    metadata: dict[str, Any] = dict(turn.metadata)
    metadata["model_provider"] = PROVIDER
    model = turn.model or requested_model
    if model:
        metadata["model_name"] = model
    reason = turn.reason if isinstance(turn, Finish) else turn.finish_reason
    if reason:
        metadata["finish_reason"] = reason
    if turn.response_id:
        metadata["id"] = turn.response_id
    if turn.empty:
        metadata["empty_turn"] = turn.empty
    errors = _call_errors(turn, call_ids)
    if errors:
        metadata[CALL_ERRORS_KEY] = errors
    return metadata


def _call_errors(turn: Finish | Completion, call_ids: Sequence[str | None]) -> dict[str, str]:
    if isinstance(turn, Completion):
        return {call.id: call.error for call in turn.invalid_tool_calls}
    return {
        call_ids[index] or "": error for index, error in turn.invalid_calls.items() if index < len(call_ids)
    }


def to_message(completion: Completion, requested_model: str | None = None) -> AIMessage:
    """The message for a finished (or, from an error, partial) turn."""
    extra: dict[str, Any] = {}
    if completion.thinking is not None:
        extra[THINKING_KEY] = completion.thinking
    if completion.refusal:
        extra["refusal"] = completion.refusal
    calls, invalid = _calls(completion)
    return AIMessage(
        content=completion.text,
        additional_kwargs=extra,
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=usage_metadata(completion.usage),
        response_metadata=finish_metadata(completion, requested_model),
    )


def _calls(completion: Completion) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    calls: list[ToolCall] = []
    invalid = [
        invalid_tool_call(id=call.id, name=call.name, args=call.arguments, error=call.error)
        for call in completion.invalid_tool_calls
    ]
    for call in completion.tool_calls:
        arguments = json.loads(call.arguments or "{}", strict=False)
        calls.append(tool_call(id=call.id, name=call.name, args=arguments))
    return calls, invalid


def chat_result(completion: Completion, requested_model: str | None) -> ChatResult:
    """What `_generate` returns for a finished turn."""
    generation = ChatGeneration(
        message=to_message(completion, requested_model),
        generation_info={"finish_reason": completion.finish_reason},
    )
    return ChatResult(generations=[generation])
