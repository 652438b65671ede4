"""Chunks that LangChain keeps until their stream ends, without the messages that it has handed out.

A chunk with its message is nine objects that Python's garbage collector walks through again and again. One that
nobody but LangChain holds is needed for the sum at the end only: it keeps the text that it was made from, and makes
its message again for whoever looks at it.
"""

from __future__ import annotations

from typing import Any, Final

from langchain_core.messages import AIMessageChunk
from pydantic import BaseModel

from kimi_vertex import ToolCallDelta
from langchain_kimi_vertex._joining import METADATA, JoiningChunk, Part, is_continuation, is_thinking
from langchain_kimi_vertex._keys import THINKING_KEY
from langchain_kimi_vertex._pieces import call_chunk, parsed, text_chunk, thinking_chunk

__all__ = ["let_go"]

# What stands in place of the fields. No attribute has such a name. The values are texts and numbers: a dict of those,
# up to Python 3.13, is none that the garbage collector walks through.
_ID: Final = " id"
_TEXT: Final = " text"
_THINKING: Final = " thinking"
_INDEX: Final = " index"
_ARGUMENTS: Final = " arguments"
_MADE: Final = " made"

_fields: Final[Any] = vars(BaseModel)["__dict__"]
"""The descriptor of an instance's own `__dict__`, which `_Remaking` covers."""
_set: Final = object.__setattr__


def let_go(chunk: JoiningChunk) -> None:
    """Let a chunk forget its message, once LangChain has handed that out.

    Whoever holds the message goes on doing so; whoever asks the chunk for it gets an equal one. A message in which
    something has been changed stays.
    """
    kept = _kept(chunk)
    if kept is not None:
        # In this order, since other threads may look at the chunk at any moment.
        _set(chunk, "__class__", _HandedOut)
        _fields.__set__(chunk, kept)


class _Remaking:
    """First base of a class whose instances have let go of their fields; any look brings them back."""

    __slots__ = ()

    @property
    def __dict__(self) -> dict[str, Any]:
        # Pydantic and its serialisers read an instance's `__dict__`, so that is a look like any other.
        fields: dict[str, Any] = _fields.__get__(self)
        return _remade(self, fields) if _TEXT in fields else fields

    @__dict__.setter
    def __dict__(self, fields: dict[str, Any]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        _fields.__set__(self, fields)

    def __getattr__(self, name: str) -> Any:
        # Reached for what is not there yet, which another thread may have brought back in the meantime.
        fields = self.__dict__
        return fields[name] if name in fields else super().__getattr__(name)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        _ = self.__dict__
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        _ = self.__dict__
        super().__delattr__(name)


class _HandedOut(_Remaking, JoiningChunk):
    """A chunk that has let go of its message."""

    def __repr_name__(self) -> str:
        return JoiningChunk.__name__

    def part(self) -> Part | None:
        kept = _fields.__get__(self)
        if _TEXT not in kept:
            return super().part()
        pieces = ((kept[_INDEX], kept[_ARGUMENTS]),) if _INDEX in kept else ()
        return kept[_ID], kept[_TEXT], kept.get(_THINKING), pieces


def _kept(chunk: JoiningChunk) -> dict[str, Any] | None:
    """What a chunk can be made from again; `None` if it has become more than that.

    Pydantic notes in `__pydantic_fields_set__` what is assigned; what may be changed in place is compared.
    """
    message = chunk.message
    if type(message) is not AIMessageChunk or not message.__pydantic_fields_set__ <= _MAY_BE_SET:
        return None
    own, fields = chunk.__dict__, message.__dict__
    if len(own) != _COUNT or len(fields) != _MESSAGE_COUNT:
        return None
    content, extra, pieces = fields["content"], fields["additional_kwargs"], fields["tool_call_chunks"]
    if (
        own["text"] != content
        or own["generation_info"] is not None
        or fields["response_metadata"] != METADATA
    ):
        return None
    if pieces:
        piece = pieces[0]
        if content or extra or len(pieces) > 1 or not is_continuation(piece):
            return None
        calls, invalid = parsed(_continuation(piece["index"], piece["args"]))
        if fields["tool_calls"] != calls or fields["invalid_tool_calls"] != invalid:
            return None
        return {_ID: fields["id"], _TEXT: "", _INDEX: piece["index"], _ARGUMENTS: piece["args"]}
    if fields["tool_calls"] or fields["invalid_tool_calls"]:
        return None
    if not extra:
        return {_ID: fields["id"], _TEXT: content}
    if content or not is_thinking(extra):
        return None
    return {_ID: fields["id"], _TEXT: "", _THINKING: extra[THINKING_KEY]}


def _remade(chunk: object, kept: dict[str, Any]) -> dict[str, Any]:
    """Give a chunk its fields back. Threads that look at the same time get the same message."""
    if _INDEX in kept:
        made = call_chunk(_continuation(kept[_INDEX], kept[_ARGUMENTS]))
    elif _THINKING in kept:
        made = thinking_chunk(kept[_THINKING])
    else:
        made = text_chunk(kept[_TEXT])
    if kept[_ID] is not None:
        made.message.id = kept[_ID]
    fields: dict[str, Any] = vars(kept.setdefault(_MADE, made))
    _fields.__set__(chunk, fields)
    return fields


def _continuation(index: int, arguments: str) -> ToolCallDelta:
    return ToolCallDelta(index, None, None, arguments)


_examples: Final = (text_chunk(""), thinking_chunk(""), call_chunk(_continuation(0, "")))
_COUNT: Final = len(vars(_examples[0]))
_MESSAGE_COUNT: Final = len(vars(_examples[0].message))
_MAY_BE_SET: Final = frozenset({"id"}).union(*(chunk.message.model_fields_set for chunk in _examples))
