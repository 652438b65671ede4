"""The core's events and answers to LlamaIndex's responses. Pure: no I/O, no callbacks.

Blocks come as Thinking, one Text, ToolCalls. What core's own code and chat stores still read in
`additional_kwargs` is mirrored there as plain JSON values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import ToolSelection
from pydantic import PrivateAttr

from kimi_vertex import (
    Completion,
    Event,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

from ._messages import arguments_text, legacy_tool_calls
from ._partial import PartialObject, parse_object, parse_prefix

__all__ = ["ResponseBuilder", "chat_response", "keep_first_call", "tool_selections", "with_calls"]

_EXACT_THINKING: Final = 65_536
_THINKING_GROWTH: Final = 256


class StreamedResponse(ChatResponse):
    """A response on its way, which knows its calls' arguments as far as they can be read."""

    _selections: list[ToolSelection] = PrivateAttr(default_factory=list)

    def take_selections(self, selections: list[ToolSelection]) -> None:
        """Set the calls as far as they can be read."""
        self._selections = selections

    def selections(self) -> list[ToolSelection]:
        """The calls as far as they can be read."""
        return list(self._selections)


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
        kwargs["dropped_tool_calls"] = [_call_dict(call) for call in calls[1:]]
        calls = calls[:1]
    message = _message(completion, calls)
    return ChatResponse(message=message, raw=_raw(completion), delta="", additional_kwargs=kwargs)


def _message(completion: Completion, calls: tuple[ToolCall, ...]) -> ChatMessage:
    blocks: list[ContentBlock] = []
    kwargs: dict[str, Any] = {}
    if completion.thinking is not None:
        kwargs["reasoning_content"] = completion.thinking
    if completion.thinking:
        tokens = completion.usage.thinking_tokens if completion.usage else None
        blocks.append(ThinkingBlock(content=completion.thinking, num_tokens=tokens or None))
    if completion.text or not calls:
        blocks.append(TextBlock(text=completion.text))
    if calls:
        blocks.extend(_call_block(call) for call in calls)
        kwargs["tool_calls"] = [_call_dict(call) for call in calls]
    if completion.invalid_tool_calls:
        kwargs["invalid_tool_calls"] = [dataclasses.asdict(call) for call in completion.invalid_tool_calls]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=kwargs)


def _call_block(call: ToolCall) -> ToolCallBlock:
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments)


def _call_dict(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


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
        message["tool_calls"] = [_call_dict(call) for call in completion.tool_calls]
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


class _Call:
    """One call on its way."""

    __slots__ = ("arguments", "id", "name", "partial")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.arguments = ""
        self.partial = PartialObject()


class ResponseBuilder:
    """Turns the events of one stream into the cumulative responses that LlamaIndex expects.

    The last response comes from `finish`, so a stream ends with what the whole call would have returned.
    """

    def __init__(self, *, single_call: bool = False, names: Mapping[str, str] = MappingProxyType({})) -> None:
        self._single_call = single_call
        self._names = names
        self._thinking = ""
        self._unseen_thinking: list[str] = []
        self._unseen_length = 0
        self._has_thinking = False
        self._text = ""
        self._calls: list[_Call] = []

    def add(self, event: Event) -> ChatResponse | None:
        """Take the next event; return the response to hand out, if the event has something to show."""
        if isinstance(event, ThinkingDelta):
            self._add_thinking(event.text)
            return self._partial("", event.text) if event.text else None
        if isinstance(event, TextDelta):
            self._text += event.text
            return self._partial(event.text, None)
        if isinstance(event, ToolCallDelta):
            return self._partial("", None) if self._add_call(event) else None
        return None

    def finish(self, completion: Completion) -> ChatResponse:
        """The last response, made from the whole answer."""
        return chat_response(completion, single_call=self._single_call, names=self._names)

    def _add_thinking(self, text: str) -> None:
        self._has_thinking = True
        self._unseen_thinking.append(text)
        self._unseen_length += len(text)
        length = len(self._thinking)
        # Joined on every delta, very long thinking would cost the square of its length.
        if length < _EXACT_THINKING or self._unseen_length * _THINKING_GROWTH >= length:
            self._join_thinking()

    def _join_thinking(self) -> None:
        if self._unseen_thinking:
            self._thinking += "".join(self._unseen_thinking)
            self._unseen_thinking.clear()
            self._unseen_length = 0

    def _add_call(self, event: ToolCallDelta) -> bool:
        if self._single_call and event.index > 0:
            return False
        if event.index == len(self._calls):
            name = event.name or ""
            self._calls.append(_Call(event.id or "", self._names.get(name, name)))
        self._calls[event.index].arguments += event.arguments
        return True

    def _partial(self, delta: str, thinking_delta: str | None) -> ChatResponse:
        if thinking_delta is None:
            self._join_thinking()
        blocks: list[ContentBlock] = []
        kwargs: dict[str, Any] = {}
        if self._has_thinking:
            kwargs["reasoning_content"] = self._thinking
            if self._thinking:
                blocks.append(ThinkingBlock(content=self._thinking))
        if self._text or not self._calls:
            blocks.append(TextBlock(text=self._text))
        response = (StreamedResponse if self._calls else ChatResponse)(
            message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=kwargs),
            delta=delta,
            raw={"choices": [{"index": 0, "delta": {"content": delta} if delta else {}}]},
            additional_kwargs={"thinking_delta": thinking_delta} if thinking_delta else {},
        )
        if isinstance(response, StreamedResponse):
            self._put_calls(response)
        return response

    def _put_calls(self, response: StreamedResponse) -> None:
        calls = [ToolCall(call.id, call.name, call.arguments) for call in self._calls]
        response.message.blocks.extend(_call_block(call) for call in calls)
        response.message.additional_kwargs["tool_calls"] = [_call_dict(call) for call in calls]
        response.take_selections(
            [
                ToolSelection(
                    tool_id=call.id, tool_name=call.name, tool_kwargs=call.partial.update(call.arguments)
                )
                for call in self._calls
            ]
        )


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The calls of a response. Half-streamed arguments are read as far as they are certain; nothing raises."""
    if isinstance(response, StreamedResponse):
        return response.selections()
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
        blocks=[*blocks, *(_call_block(call) for call in calls)],
        additional_kwargs={**message.additional_kwargs, "tool_calls": [_call_dict(call) for call in calls]},
    )
    return response.model_copy(update={"message": changed})
