"""A stream's chunks, made so that LangChain can keep all of them until the end, and add them up, at little cost.

LangChain adds up a stream's chunks by copying what it has so far once more for each piece of thinking and of a call's
arguments. So neighbours are joined first, where that changes nothing in the sum, and LangChain adds up the few that
are left.

Until then it holds every chunk, a dozen objects each, through which Python's garbage collector walks again and again.
So a chunk that has been handed out keeps only what it was made from, and makes its message again if somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from langchain_core.messages import AIMessageChunk, BaseMessageChunk
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from kimi_vertex import ToolCallDelta
from langchain_kimi_vertex._fast import Template
from langchain_kimi_vertex._keys import PROVIDER, THINKING_KEY
from langchain_kimi_vertex._pieces import call_message, text_message, thinking_message

__all__ = ["JoiningChunk", "call_chunk", "text_chunk", "thinking_chunk"]

_METADATA: Final = {"model_provider": PROVIDER}
_PIECE_KEYS: Final = tool_call_chunk().keys()
_fields: Final[Any] = vars(BaseModel)["__dict__"]
"""The descriptor of an instance's own `__dict__`, which `JoiningChunk` covers."""
_fields_set: Final[Any] = vars(BaseModel)["__pydantic_fields_set__"]


class _Kept(TypedDict):
    """What a chunk has in place of its fields once it has let go of its message.

    Strings and numbers only: a dict of those is none that the garbage collector walks through.
    """

    content: str
    thinking: str | None
    index: int | None
    arguments: str
    id: str | None


class _Remaking:
    """First base of a class whose instances may have let go of their fields; any look brings them back."""

    __slots__ = ()

    @property
    def __dict__(self) -> dict[str, Any]:
        # Pydantic and its serialisers read an instance's `__dict__`, so that is a look like any other.
        fields: dict[str, Any] = _fields.__get__(self)
        return _remade(self, fields) if _is_kept(fields) else fields

    @__dict__.setter
    def __dict__(self, fields: dict[str, Any]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        _fields.__set__(self, fields)

    def __getattr__(self, name: str) -> Any:
        fields = _fields.__get__(self)
        if _is_kept(fields) and name in _remade(self, fields):
            return getattr(self, name)
        return super().__getattr__(name)  # type: ignore[misc]


class JoiningChunk(_Remaking, ChatGenerationChunk):
    """A `ChatGenerationChunk` that adds a list of others in one go; the sum is an ordinary `ChatGenerationChunk`.

    It serialises as one, and has equal messages; pydantic does not take objects of two classes for equal.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """Serialised as what it is to everybody else."""
        return ChatGenerationChunk.lc_id()

    def __add__(self, other: ChatGenerationChunk | list[ChatGenerationChunk]) -> ChatGenerationChunk:
        return super().__add__(_joined(self, other) if isinstance(other, list) else other)

    def let_go(self) -> None:
        """Keep what the message was made from in place of the message, if it still is what it was made as.

        Whoever holds the message goes on doing so; whoever asks the chunk for it gets an equal one.
        """
        kept = _kept(self)
        if kept is not None:
            _fields_set.__set__(self, _FIELDS_SET)
            _fields.__set__(self, kept)  # last: another thread may look at once


def _is_kept(fields: Mapping[str, Any]) -> bool:
    return "arguments" in fields


def _kept(chunk: JoiningChunk) -> _Kept | None:
    """What a chunk can be made from again; `None` if that is more than one thing."""
    plain = _plain_fields(chunk)
    if plain is None or plain["name"] is not None or chunk.message.__pydantic_extra__:
        return None
    content, extra, pieces = plain["content"], plain["additional_kwargs"], plain["tool_call_chunks"]
    if content != chunk.text or len(extra) + len(pieces) + (content != "") > 1:
        return None
    return {
        "content": content,
        "thinking": extra[THINKING_KEY] if extra else None,
        "index": pieces[0]["index"] if pieces else None,
        "arguments": pieces[0]["args"] if pieces else "",
        "id": plain["id"],
    }


def _remade(chunk: object, kept: dict[str, Any]) -> dict[str, Any]:
    """Give a chunk its fields back. Threads that look at the same time find the same ones."""
    if kept["index"] is not None:
        made = call_chunk(ToolCallDelta(kept["index"], None, None, kept["arguments"]))
    elif kept["thinking"] is not None:
        made = thinking_chunk(kept["thinking"])
    else:
        made = text_chunk(kept["content"])
    if kept["id"] is not None:
        made.message.id = kept["id"]
    made = kept.setdefault("made", made)
    fields: dict[str, Any] = vars(made)
    _fields.__set__(chunk, fields)
    _fields_set.__set__(chunk, made.model_fields_set)
    return fields


def text_chunk(text: str) -> JoiningChunk:
    """A piece of the answer."""
    return _TEXT_CHUNK.fill({"message": text_message(text), "text": _as_text(text)})


def thinking_chunk(text: str) -> JoiningChunk:
    """A piece of the thinking."""
    return _SILENT_CHUNK.fill({"message": thinking_message(text)})


def call_chunk(delta: ToolCallDelta) -> JoiningChunk:
    """A piece of a tool call."""
    return _SILENT_CHUNK.fill({"message": call_message(delta)})


_SILENT_CHUNK: Final = Template(JoiningChunk(message=thinking_message("")), "message")
_TEXT_CHUNK: Final = Template(JoiningChunk(message=text_message("")), "message", "text")
_FIELDS_SET: Final = frozenset(JoiningChunk(message=text_message("")).model_fields_set)
"""The set fields of all chunks that have let go of their messages."""
_as_text: Final = type(JoiningChunk(message=text_message("")).text)
"""What LangChain makes of a message's text; a subclass of `str`."""


def _joined(first: ChatGenerationChunk, others: list[ChatGenerationChunk]) -> list[ChatGenerationChunk]:
    """Fewer chunks which, added to `first`, give the same sum as `others`."""
    if not _is_ours_or_nobodys(first):
        return others
    joined: list[ChatGenerationChunk | _Run] = []
    run: _Run | None = None
    for chunk in others:
        kept = _fields.__get__(chunk) if isinstance(chunk, JoiningChunk) else {}
        if _is_kept(kept):
            if run is None or run.id != kept["id"]:
                run = _Run(kept["id"])
                joined.append(run)
            run.add_kept(kept)
            continue
        plain = _plain_fields(chunk)
        if plain is None:
            if not _is_ours_or_nobodys(chunk):
                return others
            run = None
            joined.append(chunk)
            continue
        if run is None or run.id != plain["id"]:
            run = _Run(plain["id"])
            joined.append(run)
        run.add(plain)
    return [item.chunk() if isinstance(item, _Run) else item for item in joined]


def _is_ours_or_nobodys(chunk: ChatGenerationChunk) -> bool:
    # LangChain keeps equal providers once, but joins different ones as often as they come.
    message = getattr(chunk, "message", None)
    return (
        isinstance(message, BaseMessageChunk)
        and message.response_metadata.get("model_provider", PROVIDER) == PROVIDER
    )


def _plain_fields(chunk: ChatGenerationChunk) -> dict[str, Any] | None:
    """The fields of a message that has only text, thinking, and further pieces of calls."""
    message = getattr(chunk, "message", None)
    if type(message) is not AIMessageChunk or chunk.generation_info:
        return None
    fields = vars(message)  # several times as fast as pydantic's attributes
    extra, pieces = fields["additional_kwargs"], fields["tool_call_chunks"]
    if (
        isinstance(fields["content"], str)
        and fields["response_metadata"] == _METADATA
        and fields["usage_metadata"] is None
        and fields["chunk_position"] is None
        and (not extra or _is_thinking(extra))
        and (not pieces or all(map(_is_continuation, pieces)))
    ):
        return fields
    return None


def _is_thinking(extra: Mapping[Any, Any]) -> bool:
    return len(extra) == 1 and isinstance(extra.get(THINKING_KEY), str)


def _is_continuation(piece: ToolCallChunk) -> bool:
    return (
        piece.keys() == _PIECE_KEYS
        and piece["id"] is None
        and piece["name"] is None
        and type(piece["index"]) is int
        and isinstance(piece["args"], str)
    )


_MESSAGE: Final = Template(
    AIMessageChunk(
        content="", additional_kwargs={}, response_metadata=_METADATA, tool_call_chunks=[], id=None
    ),
    "content",
    "additional_kwargs",
    "tool_call_chunks",
    "id",
)
_CHUNK: Final = Template(ChatGenerationChunk(message=AIMessageChunk(content="")), "message")


class _Run:
    """Neighbouring plain chunks, as one.

    Pieces of several calls may change places in it: each has its own target in LangChain's sum, and targets appear in
    the order of their first pieces.
    """

    __slots__ = ("_calls", "_text", "_thinking", "id")

    def __init__(self, message_id: str | None) -> None:
        self.id = message_id
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def add(self, plain: Mapping[str, Any]) -> None:
        """Add what a message holds."""
        self._text.append(plain["content"])
        if plain["additional_kwargs"]:
            self._thinking.append(plain["additional_kwargs"][THINKING_KEY])
        for piece in plain["tool_call_chunks"]:
            self._calls.setdefault(piece["index"], []).append(piece["args"])

    def add_kept(self, kept: Mapping[str, Any]) -> None:
        """Add what a chunk that has let go of its message was made from."""
        self._text.append(kept["content"])
        if kept["thinking"] is not None:
            self._thinking.append(kept["thinking"])
        if kept["index"] is not None:
            self._calls.setdefault(kept["index"], []).append(kept["arguments"])

    def chunk(self) -> ChatGenerationChunk:
        """What is only good for being added: its calls are not parsed, since the sum parses them."""
        message = _MESSAGE.fill(
            {
                "content": "".join(self._text),
                "additional_kwargs": {THINKING_KEY: "".join(self._thinking)} if self._thinking else {},
                "tool_call_chunks": [
                    tool_call_chunk(args="".join(parts), index=index) for index, parts in self._calls.items()
                ],
                "id": self.id,
            }
        )
        return _CHUNK.fill({"message": message})
