"""The core's events and completions as LangChain's chunks and messages.

Pure functions; no callbacks, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCall, invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.json import parse_partial_json
from pydantic import BaseModel

import kimi_vertex
from kimi_vertex import (
    Completion,
    Event,
    Finish,
    FinishReason,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from langchain_kimi_vertex._invalid import refusing_fragment
from langchain_kimi_vertex._keys import CALL_ERRORS_KEY, PROVIDER, REPLACED_CALLS_KEY, THINKING_KEY

__all__ = [
    "Chunks",
    "arguments_of",
    "chat_result",
    "finish_fields",
    "finish_metadata",
    "is_for_its_tool",
    "message_extras",
    "to_message",
    "usage_metadata",
]


_FINISH_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_call",
    "content_filter": "refusal",
}
"""The normalized reasons. langchain-core 1.8.4 (language_models/_finish_reason.py) has words for three: `stop`, `tool_call`,
and `refusal` where there is such a block, as there is for a content filter's stop. The others are for providers to name."""


class _Template:
    """Makes models that differ from an example in some fields, without validating them again.

    Validation is most of what a chunk costs. The example is made the ordinary way, so that fields which a newer
    LangChain adds appear with their defaults. A new model is filled as pydantic's `model_construct` fills it; tests
    compare every kind of chunk with one that was made the ordinary way.

    Args:
        example: A model in which exactly those fields are set that the new ones will have set.
    """

    __slots__ = ("_class", "_containers", "_extra", "_fields", "_fields_set", "_new", "_private")

    def __init__(self, example: BaseModel, *varying: str) -> None:
        self._class = type(example)
        self._new = self._class.__new__
        # Varying fields keep their place, because the order of fields shows in dumps and in `repr`.
        self._fields = dict(vars(example))
        self._containers = [
            (name, value.copy)
            for name, value in self._fields.items()
            if name not in varying and isinstance(value, (dict, list))
        ]
        self._fields_set = example.model_fields_set.copy()
        self._extra = example.__pydantic_extra__
        self._private = example.__pydantic_private__

    def fill(self, **values: Any) -> Any:
        """Make a model from the values of the varying fields, which must not be shared with another model."""
        fields = {**self._fields, **values}
        for name, copy in self._containers:
            fields[name] = copy()
        extra, private = self._extra, self._private
        model = self._new(self._class)
        _set_fields(model, fields)
        _set_fields_set(model, self._fields_set.copy())
        _set_extra(model, extra if extra is None else extra.copy())
        _set_private(model, private if private is None else private.copy())
        return model


_set_fields, _set_fields_set, _set_extra, _set_private = (
    BaseModel.__dict__[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
"""What `object.__setattr__` would look up by name, eight times for each delta."""
_metadata: Final = {"model_provider": PROVIDER}
_text: Final = AIMessageChunk(content="", response_metadata=_metadata)
_thinking: Final = AIMessageChunk(
    content="", additional_kwargs={THINKING_KEY: ""}, response_metadata=_metadata
)
_call: Final = AIMessageChunk(
    content="", tool_call_chunks=[tool_call_chunk(index=0)], response_metadata=_metadata
)

_TEXT: Final = _Template(_text, "content")
_THINKING: Final = _Template(_thinking, "additional_kwargs")
_CALL: Final = _Template(_call, "tool_call_chunks", "tool_calls", "invalid_tool_calls")
_TEXT_CHUNK: Final = _Template(ChatGenerationChunk(message=_text), "message", "text")
_SILENT_CHUNK: Final = _Template(ChatGenerationChunk(message=_thinking), "message")
_as_text: Final = type(ChatGenerationChunk(message=_text).text)
"""What LangChain makes of a message's text: a subclass of `str`."""


class Chunks:
    """Turns the events of one turn into chunks whose sum is the message that `invoke` returns.

    Args:
        requested_model: The model's name, for a server that does not report it.
    """

    __slots__ = ("_invalid", "_requested_model")

    def __init__(self, requested_model: str | None) -> None:
        self._requested_model = requested_model
        self._invalid: Iterable[int] = ()

    def add(self, event: Event) -> Sequence[ChatGenerationChunk]:
        """The chunk for a delta; nothing for the other events, of which `finish` makes the last chunk."""
        if isinstance(event, ThinkingDelta):
            return (_SILENT_CHUNK.fill(message=_THINKING.fill(additional_kwargs={THINKING_KEY: event.text})),)
        if isinstance(event, TextDelta):
            message = _TEXT.fill(content=event.text)
            return (_TEXT_CHUNK.fill(message=message, text=_as_text(event.text)),)
        if isinstance(event, ToolCallDelta):
            return (_SILENT_CHUNK.fill(message=_call_message(event)),)
        if isinstance(event, Finish):
            self._invalid = event.invalid_calls
        return ()

    def finish(self, completion: Completion) -> Sequence[ChatGenerationChunk]:
        """The last chunk: usage, metadata, and what makes invalid calls stay invalid in the sum."""
        message = AIMessageChunk(
            content="",
            additional_kwargs={"refusal": completion.refusal} if completion.refusal else {},
            response_metadata=finish_metadata(completion, self._requested_model),
            usage_metadata=usage_metadata(completion.usage),
            tool_call_chunks=[
                tool_call_chunk(args=refusing_fragment(call.arguments), index=index)
                for index, call in zip(sorted(self._invalid), completion.invalid_tool_calls, strict=False)
                if not is_for_its_tool(call, completion)
            ],
            chunk_position="last",
        )
        info = {"finish_reason": completion.finish_reason}
        return (ChatGenerationChunk(message=message, generation_info=info),)


def _call_message(delta: ToolCallDelta) -> AIMessageChunk:
    """A piece of a tool call, with what LangChain's validator reads into it."""
    calls, invalid = _parsed(delta)
    piece = tool_call_chunk(name=delta.name, args=delta.arguments, id=delta.id, index=delta.index)
    message: AIMessageChunk = _CALL.fill(
        tool_call_chunks=[piece], tool_calls=calls, invalid_tool_calls=invalid
    )
    return message


def _parsed(delta: ToolCallDelta) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """What a piece is as JSON of its own, which is seldom an object: calls and invalid calls."""
    arguments: object = None
    if not delta.arguments:
        arguments = {}
    elif delta.arguments.lstrip().startswith("{"):  # nothing else can be repaired into an object
        try:
            arguments = parse_partial_json(delta.arguments)
        except Exception:  # noqa: BLE001  # as LangChain's validator does
            arguments = None
    if isinstance(arguments, dict):
        return [tool_call(name=delta.name or "", args=arguments, id=delta.id)], []
    return [], [invalid_tool_call(name=delta.name, args=delta.arguments, id=delta.id)]


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


def finish_metadata(completion: Completion, requested_model: str | None) -> dict[str, Any]:
    """`response_metadata` of a whole turn, the same for a stream's last chunk and for a message."""
    metadata: dict[str, Any] = {**completion.metadata, "model_provider": PROVIDER}
    optional = {
        "model_name": completion.model or requested_model,
        **finish_fields(completion),
        "id": completion.response_id,
        "empty_turn": completion.empty,
        REPLACED_CALLS_KEY: [call.id for call in completion.invalid_tool_calls if call.replaced],
        CALL_ERRORS_KEY: {
            call.id: call.error
            for call in completion.invalid_tool_calls
            if not is_for_its_tool(call, completion)
        },
    }
    metadata.update((name, value) for name, value in optional.items() if value)
    return metadata


def finish_fields(completion: Completion) -> dict[str, str]:
    """Why a turn ended, under the names that langchain-core reads from 1.8.4 on; it has no words for `finish_state`."""
    reason = completion.finish_reason
    if reason is None:
        return {}
    normalized = "refusal" if completion.refusal else _FINISH_REASONS[reason]
    state = "complete" if reason in ("stop", "tool_calls") else "incomplete"
    return {"finish_reason": reason, "normalized_finish_reason": normalized, "finish_state": state}


def is_for_its_tool(call: kimi_vertex.InvalidToolCall, completion: Completion) -> bool:
    """Whether an invalid call goes on as a call: the model has been asked again, and its tool will say what is wrong.

    LangChain's tools check their arguments, and its agents let the model correct what they refuse. An invalid call would end
    the agent's loop. Only the arguments are in doubt: a call that was cut off, or cannot be read, stays invalid.
    """
    return call.unfit and not call.replaced and bool(completion.metadata.get("reasked"))


def arguments_of(call: kimi_vertex.ToolCall | kimi_vertex.InvalidToolCall) -> Any:
    """What a call that goes on as a call is made with; the core has read it, in JSON or as nothing at all."""
    return json.loads(call.arguments or "{}", strict=False)


def message_extras(completion: Completion) -> dict[str, Any]:
    """`additional_kwargs` of a whole turn: the thinking, and the refusal if there is one."""
    extras: dict[str, Any] = {}
    if completion.thinking is not None:
        extras[THINKING_KEY] = completion.thinking
    if completion.refusal:
        extras["refusal"] = completion.refusal
    return extras


def to_message(completion: Completion, requested_model: str | None = None) -> AIMessage:
    """The message for a finished (or, from an error, partial) turn."""
    handed_on = [call for call in completion.invalid_tool_calls if is_for_its_tool(call, completion)]
    calls: list[kimi_vertex.ToolCall | kimi_vertex.InvalidToolCall] = [*completion.tool_calls, *handed_on]
    return AIMessage(
        content=completion.text,
        additional_kwargs=message_extras(completion),
        tool_calls=[tool_call(id=call.id, name=call.name, args=arguments_of(call)) for call in calls],
        invalid_tool_calls=[
            invalid_tool_call(id=call.id, name=call.name, args=call.arguments, error=call.error)
            for call in completion.invalid_tool_calls
            if call not in handed_on
        ],
        usage_metadata=usage_metadata(completion.usage),
        response_metadata=finish_metadata(completion, requested_model),
    )


def chat_result(completion: Completion, requested_model: str | None) -> ChatResult:
    """What `_generate` returns for a finished turn."""
    generation = ChatGeneration(
        message=to_message(completion, requested_model),
        generation_info={"finish_reason": completion.finish_reason},
    )
    return ChatResult(generations=[generation])
