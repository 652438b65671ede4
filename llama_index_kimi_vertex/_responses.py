"""The core's events and answers to LlamaIndex's responses. Pure: no I/O, no callbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import ToolSelection

from kimi_vertex import (
    Completion,
    Event,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

from ._arriving import Arrival, ArrivingCall, GrowingText, StreamedResponse, arrival_of, arriving
from ._blocks import assistant_message, call_block, call_dict
from ._messages import arguments_text, legacy_tool_calls
from ._partial import parse_object, parse_prefix

__all__ = ["ResponseBuilder", "chat_response", "keep_first_call", "tool_selections", "with_calls"]


def chat_response(
    completion: Completion, *, single_call: bool = False, names: Mapping[str, str] = MappingProxyType({})
) -> ChatResponse:
    """Turn a finished answer into a response.

    Args:
        completion: The answer.
        single_call: Keep the first tool call only; the others are listed in
            `additional_kwargs["dropped_tool_calls"]`.
        names: Tools' own names by those that the model knows them by, where the two differ.
    """
    calls = tuple(
        dataclasses.replace(call, name=names.get(call.name, call.name)) for call in completion.tool_calls
    )
    kwargs = _response_kwargs(completion)
    if single_call and len(calls) > 1:
        kwargs["dropped_tool_calls"] = [call_dict(call) for call in calls[1:]]
        calls = calls[:1]
    message = _message(completion, calls)
    return ChatResponse(message=message, raw=_raw(completion), delta="", additional_kwargs=kwargs)


def _message(completion: Completion, calls: tuple[ToolCall, ...]) -> ChatMessage:
    tokens = completion.usage.thinking_tokens if completion.usage else None
    message = assistant_message(completion.thinking, completion.text, calls, thinking_tokens=tokens or None)
    if completion.invalid_tool_calls:
        invalid = [dataclasses.asdict(call) for call in completion.invalid_tool_calls]
        message.additional_kwargs["invalid_tool_calls"] = invalid
    return message


def _response_kwargs(completion: Completion) -> dict[str, Any]:
    """What is known of the turn besides its message; only what is known."""
    usage = completion.usage
    known: dict[str, Any] = {
        "finish_reason": completion.finish_reason,
        "empty_turn": completion.empty,
        "refusal": completion.refusal,
    }
    if usage is not None:
        known |= {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "reasoning_tokens": usage.thinking_tokens,
            "cached_tokens": usage.cached_tokens,
        }
    if completion.invalid_tool_calls:
        known["invalid_tool_calls"] = [dataclasses.asdict(call) for call in completion.invalid_tool_calls]
    return {key: value for key, value in known.items() if value is not None}


def _raw(completion: Completion) -> dict[str, Any]:
    """The answer in the form of OpenAI's response body, which counters and tracers know how to read."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.text}
    if completion.thinking is not None:
        message["reasoning_content"] = completion.thinking
    if completion.tool_calls:
        message["tool_calls"] = [call_dict(call) for call in completion.tool_calls]
    raw: dict[str, Any] = {
        **completion.metadata,
        "id": completion.response_id,
        "model": completion.model,
        "choices": [{"index": 0, "message": message, "finish_reason": completion.finish_reason}],
    }
    if completion.usage is not None:
        raw["usage"] = _raw_usage(completion.usage)
    return raw


def _raw_usage(usage: Usage) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        raw["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.thinking_tokens is not None:
        raw["completion_tokens_details"] = {"reasoning_tokens": usage.thinking_tokens}
    return raw


class ResponseBuilder:
    """Turns the events of one stream into the cumulative responses that LlamaIndex expects.

    The last response comes from `finish`, so a stream ends with what the whole call would have returned.
    """

    def __init__(self, *, single_call: bool = False, names: Mapping[str, str] = MappingProxyType({})) -> None:
        self._single_call = single_call
        self._names = names
        self._thinking = GrowingText()
        self._has_thinking = False
        self._text = GrowingText()
        self._calls: tuple[tuple[ArrivingCall, int], ...] = ()

    def add(self, event: Event) -> StreamedResponse | None:
        """Take the next event; return the response to hand out, if the event has something to show."""
        if isinstance(event, ThinkingDelta):
            self._has_thinking = True
            self._thinking.add(event.text)
            return self._so_far("", {"thinking_delta": event.text}) if event.text else None
        if isinstance(event, TextDelta):
            self._text.add(event.text)
            return self._so_far(event.text, {})
        if isinstance(event, ToolCallDelta):
            return self._so_far("", {}) if self._add_call(event) else None
        return None

    def finish(self, completion: Completion) -> ChatResponse:
        """The last response, made from the whole answer."""
        return chat_response(completion, single_call=self._single_call, names=self._names)

    def _add_call(self, event: ToolCallDelta) -> bool:
        if self._single_call and event.index > 0:
            return False
        index = event.index
        if index == len(self._calls):
            name = event.name or ""
            call = ArrivingCall(event.id or "", self._names.get(name, name))
        else:
            call, _ = self._calls[index]
        call.arguments.add(event.arguments)
        self._calls = (*self._calls[:index], (call, call.arguments.length), *self._calls[index + 1 :])
        return True

    def _so_far(self, delta: str, additional_kwargs: dict[str, Any]) -> StreamedResponse:
        thinking = self._thinking
        length = thinking.length if self._has_thinking else -1
        arrival = Arrival(thinking, length, self._text, self._text.length, self._calls)
        return arriving(delta, additional_kwargs, arrival)


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The calls of a response. Half-streamed arguments are read as far as they are certain; nothing raises."""
    if (arrival := arrival_of(response)) is not None:
        return arrival.selections()
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    calls = [
        ToolCall(block.tool_call_id or "", block.tool_name, arguments_text(block.tool_kwargs))
        for block in blocks
    ] or legacy_tool_calls(response.message.additional_kwargs)
    return [
        ToolSelection(
            tool_id=call.id or f"functions.{call.name}:{index}",
            tool_name=call.name,
            tool_kwargs=_read_arguments(call.arguments),
        )
        for index, call in enumerate(calls)
    ]


def _read_arguments(text: str) -> dict[str, Any]:
    value = parse_object(text)
    return parse_prefix(text) if value is None else value


def keep_first_call(response: ChatResponse) -> ChatResponse:
    """The same response with no more than one tool call; the given one is not changed."""
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) < 2:
        return response
    kept = calls[0]
    call = ToolCall(kept.tool_call_id or "", kept.tool_name, arguments_text(kept.tool_kwargs))
    return with_calls(response, [call])


def with_calls(response: ChatResponse, calls: list[ToolCall], *, drop_text: bool = False) -> ChatResponse:
    """The same response with exactly these calls; the given one is not changed.

    Args:
        response: The response to start from.
        calls: The calls that it is to have.
        drop_text: Leave out the text, because the calls were read from it.
    """
    message = response.message
    dropped = (ToolCallBlock, TextBlock) if drop_text else (ToolCallBlock,)
    blocks = [block for block in message.blocks if not isinstance(block, dropped)]
    changed = ChatMessage(
        role=message.role,
        blocks=[*blocks, *(call_block(call) for call in calls)],
        additional_kwargs={**message.additional_kwargs, "tool_calls": [call_dict(call) for call in calls]},
    )
    return response.model_copy(update={"message": changed})
