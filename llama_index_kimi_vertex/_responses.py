"""The core's events and answers as LlamaIndex's responses. Pure: no I/O, no callbacks.

A message has its blocks in the order one text, thinking, calls: code that takes the first block of an answer for its text,
as `DocumentContextExtractor` does, is right, and the other vendors' integrations read blocks in any order. Thinking stands
in `additional_kwargs`, too, because chat engines drop blocks. Calls stand there only while they arrive, where LlamaIndex's
programs look for them: in a finished message, Gemini's and OpenAI's integrations would send them a second time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import ToolSelection
from pydantic import BaseModel
from pydantic_core import from_json

from kimi_vertex import (
    Completion,
    Event,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    find_json_object,
)

from ._messages import ARGUMENTS, arguments_text, invalid_tool_calls, legacy_tool_calls

__all__ = [
    "PartialObject",
    "ResponseBuilder",
    "calls_of",
    "chat_response",
    "completion_response",
    "invalid_selections",
    "read_partial",
    "tool_selections",
]

_SAME_NAMES: Final[Mapping[str, str]] = MappingProxyType({})

_ModelT = TypeVar("_ModelT", bound=BaseModel)
_set: Final = object.__setattr__
_RESPONSE: Final = ChatResponse(message=ChatMessage(), raw={}, delta="", additional_kwargs={})
_ASSISTANT: Final = ChatMessage(role=MessageRole.ASSISTANT, blocks=[], additional_kwargs={})


def chat_response(
    completion: Completion, *, single_call: bool = False, names: Mapping[str, str] = _SAME_NAMES
) -> ChatResponse:
    """Turn a finished answer into a response.

    Args:
        completion: The answer.
        single_call: Keep the first tool call only; the others are listed in
            `additional_kwargs["dropped_tool_calls"]`.
        names: Tools' own names by those that the model knows them by, where the two differ.
    """
    calls = [
        dataclasses.replace(call, name=names.get(call.name, call.name)) for call in completion.tool_calls
    ]
    kwargs = _response_kwargs(completion)
    if single_call and len(calls) > 1:
        kwargs["dropped_tool_calls"] = [_call_dict(call) for call in calls[1:]]
        calls = calls[:1]
    tokens = completion.usage.thinking_tokens if completion.usage else None
    message = _assistant_message(
        completion.thinking, completion.text, calls, thinking_tokens=tokens or None, finished=True
    )
    if "invalid_tool_calls" in kwargs:
        message.additional_kwargs["invalid_tool_calls"] = kwargs["invalid_tool_calls"]
    return ChatResponse(message=message, raw=_raw(completion), delta="", additional_kwargs=kwargs)


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


def _raw_delta(event: ToolCallDelta) -> dict[str, Any]:
    """A piece of a call in OpenAI's form."""
    function = {"arguments": event.arguments} | ({"name": event.name} if event.name else {})
    identity = {"id": event.id, "type": "function"} if event.id else {}
    return {"index": event.index, **identity, "function": function}


class ResponseBuilder:
    """Turns the events of one stream into the cumulative responses that LlamaIndex expects.

    The last response comes from `finish`, so a stream ends with what the whole request would have returned.
    """

    def __init__(self, *, single_call: bool = False, names: Mapping[str, str] = _SAME_NAMES) -> None:
        self._single_call = single_call
        self._names = names
        self._thinking: str | None = None
        self._text = ""
        self._calls: list[ToolCall] = []

    def add(self, event: Event) -> ChatResponse | None:
        """Take the next event; return the response to give out, if the event has something to show."""
        if isinstance(event, ThinkingDelta):
            self._thinking = (self._thinking or "") + event.text
            if not event.text:
                return None
            return self._so_far("", {"reasoning_content": event.text}, {"thinking_delta": event.text})
        if isinstance(event, TextDelta):
            self._text += event.text
            return self._so_far(event.text, {"content": event.text}, {})
        if isinstance(event, ToolCallDelta) and not (self._single_call and event.index > 0):
            self._add_call(event)
            return self._so_far("", {"tool_calls": [_raw_delta(event)]}, {})
        return None

    def finish(self, completion: Completion) -> ChatResponse:
        """The last response, made from the whole answer."""
        return chat_response(completion, single_call=self._single_call, names=self._names)

    def _add_call(self, event: ToolCallDelta) -> None:
        if event.index == len(self._calls):
            name = event.name or ""
            self._calls.append(ToolCall(event.id or "", self._names.get(name, name), event.arguments))
        else:
            call = self._calls[event.index]
            self._calls[event.index] = ToolCall(call.id, call.name, call.arguments + event.arguments)

    def _so_far(self, delta: str, raw: dict[str, Any], additional_kwargs: dict[str, Any]) -> ChatResponse:
        return _like(
            _RESPONSE,
            message=_assistant_message(self._thinking, self._text, self._calls),
            delta=delta,
            raw={"choices": [{"index": 0, "delta": raw}]},
            additional_kwargs=additional_kwargs,
        )


def completion_response(response: ChatResponse) -> CompletionResponse:
    """The completion that LlamaIndex makes of a streamed response."""
    return CompletionResponse(
        text=response.message.content or "",
        additional_kwargs={**response.message.additional_kwargs, **response.additional_kwargs},
        delta=response.delta,
        raw=response.raw,
    )


def _assistant_message(
    thinking: str | None,
    text: str,
    calls: Sequence[ToolCall],
    *,
    thinking_tokens: int | None = None,
    finished: bool = False,
) -> ChatMessage:
    """Make the message.

    Args:
        thinking: `None` if the model has said nothing of its thinking, `""` if it said that it did not think.
        text: What the user sees.
        calls: The calls that can be executed, or may yet become so.
        thinking_tokens: What the service counted.
        finished: Whether the calls' arguments are whole. They are then objects, as other vendors' integrations send
            them on; until then they are text.
    """
    blocks: list[ContentBlock] = []
    kwargs: dict[str, Any] = {}
    if thinking is not None:
        kwargs["reasoning_content"] = thinking
    if text or not calls:
        blocks.append(TextBlock(text=text))
    if thinking:
        blocks.append(ThinkingBlock(content=thinking, num_tokens=thinking_tokens))
    if calls:
        blocks.extend(_call_block(call, finished=finished) for call in calls)
        kwargs |= _written(calls) if finished else {"tool_calls": [_call_dict(call) for call in calls]}
    return _like(_ASSISTANT, blocks=blocks, additional_kwargs=kwargs)


def _written(calls: Iterable[ToolCall]) -> dict[str, Any]:
    """The arguments as the model wrote them, to send back, and for `Memory`, which counts `additional_kwargs` only."""
    return {ARGUMENTS: {call.id: call.arguments for call in calls}}


def _like(template: _ModelT, **fields: Any) -> _ModelT:
    """Make another object like the template, with these fields, which must hold all that is not to be shared.

    Equal to what the constructor makes. The constructor would validate again what the core's types already promise,
    which takes longer than everything else that the adapter does for a delta.
    """
    made = template.__class__.__new__(template.__class__)
    _set(made, "__dict__", template.__dict__ | fields)
    _set(made, "__pydantic_fields_set__", template.__pydantic_fields_set__.copy())
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


def _call_block(call: ToolCall, *, finished: bool) -> ToolCallBlock:
    arguments = read_partial(call.arguments) if finished else call.arguments
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=arguments)


def _call_dict(call: ToolCall) -> dict[str, Any]:
    """The call in OpenAI's form."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def calls_of(response: ChatResponse) -> list[ToolCall]:
    """The calls of a response, whichever integration made it."""
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    return [
        ToolCall(block.tool_call_id or "", block.tool_name, arguments_text(block.tool_kwargs))
        for block in blocks
    ] or legacy_tool_calls(response.message.additional_kwargs)


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The calls of a response. Arguments that are still arriving are read as far as they go; nothing raises."""
    return [
        ToolSelection(
            tool_id=call.id or f"functions.{call.name}:{index}",
            tool_name=call.name,
            tool_kwargs=read_partial(call.arguments),
        )
        for index, call in enumerate(calls_of(response))
    ]


def invalid_selections(response: ChatResponse) -> list[ToolSelection]:
    """The calls of a response that cannot be executed, as calls of a tool that does not exist.

    An agent answers such a call with an error that repeats the tool's name, here with the reason, so that the model
    can make it again; with the tool's own name, the tool might run.
    """
    return [
        ToolSelection(
            tool_id=call.id,
            tool_name=f"{call.name} (not executed: {reason}; make the call again with valid arguments)",
            tool_kwargs={"invalid_arguments": call.arguments},
        )
        for call, reason in invalid_tool_calls(response.message.additional_kwargs)
    ]


def read_partial(text: str) -> dict[str, Any]:
    """Read as much as is certain of a JSON object that is still arriving; `{}` if that is nothing."""
    start = text.find("{")
    if start < 0:
        return {}
    try:
        value = from_json(text[start:], allow_partial="trailing-strings")
    except (TypeError, ValueError) as error:
        if "recursion" in str(error):
            return {}
        # Python reads some texts that pydantic refuses: halves of characters, written out (a TypeError) or as escapes, line
        # breaks in strings, words around it.
        return find_json_object(text) or {}
    return value if isinstance(value, dict) else {}


class PartialObject:
    """Reads a growing text over and over at linear cost.

    Short texts are read on every call; a longer one is read again only when it has grown by a fixed share.
    """

    _EXACT_UP_TO: Final = 256
    _GROWTH: Final = 32

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}
        self._next = 0

    def update(self, text: str) -> dict[str, Any]:
        """Take the text as far as it is known and return what is certain of its object."""
        length = len(text)
        if length >= self._next:
            self.value = read_partial(text)
            self._next = length + 1 if length < self._EXACT_UP_TO else length + length // self._GROWTH
        return self.value
