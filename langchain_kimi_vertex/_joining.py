"""A stream's chunks whose sum costs what one join costs.

At the end of a stream LangChain adds up its chunks, and copies what it has so far once more for each piece of thinking
and of a call's arguments. So neighbours are joined first, where that changes nothing in the sum, and LangChain adds up
the few that are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from langchain_core.messages import AIMessageChunk, BaseMessageChunk
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_kimi_vertex._fast import Template
from langchain_kimi_vertex._keys import PROVIDER, THINKING_KEY

__all__ = ["METADATA", "JoiningChunk", "Part", "is_continuation", "is_thinking"]

METADATA: Final = {"model_provider": PROVIDER}
"""The `response_metadata` of every chunk but a stream's last."""
_PIECE_KEYS: Final = tool_call_chunk().keys()


Part: TypeAlias = tuple[str | None, str, str | None, Sequence[tuple[int, str]]]
"""What a chunk adds to the sum, if that is nothing else: its id, text, thinking, and further pieces of calls by their
index."""


class JoiningChunk(ChatGenerationChunk):
    """A `ChatGenerationChunk` that adds a list of others in one go; the sum is an ordinary `ChatGenerationChunk`.

    It serialises as one, and has equal messages; pydantic does not take objects of two classes for equal.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """Serialised as what it is to everybody else."""
        return ChatGenerationChunk.lc_id()

    def __add__(self, other: ChatGenerationChunk | list[ChatGenerationChunk]) -> ChatGenerationChunk:
        return super().__add__(_joined(self, other) if isinstance(other, list) else other)

    def part(self) -> Part | None:
        """What the chunk adds to a sum; `None` for more than a `Part`."""
        return _part(self)


def _joined(first: ChatGenerationChunk, others: list[ChatGenerationChunk]) -> list[ChatGenerationChunk]:
    """Fewer chunks which, added to `first`, give the same sum as `others`."""
    if not _is_ours_or_nobodys(first):
        return others
    joined: list[ChatGenerationChunk | _Run] = []
    run: _Run | None = None
    for chunk in others:
        part = chunk.part() if isinstance(chunk, JoiningChunk) else _part(chunk)
        if part is None:
            if not _is_ours_or_nobodys(chunk):
                return others
            run = None
            joined.append(chunk)
            continue
        message_id, text, thinking, pieces = part
        if run is None or run.id != message_id:
            run = _Run(message_id)
            joined.append(run)
        run.add(text, thinking, pieces)
    return [item.chunk() if isinstance(item, _Run) else item for item in joined]


def _is_ours_or_nobodys(chunk: ChatGenerationChunk) -> bool:
    # LangChain keeps equal providers once, but joins different ones as often as they come.
    message = getattr(chunk, "message", None)
    return (
        isinstance(message, BaseMessageChunk)
        and message.response_metadata.get("model_provider", PROVIDER) == PROVIDER
    )


def _part(chunk: ChatGenerationChunk) -> Part | None:
    message = getattr(chunk, "message", None)
    if (
        type(message) is AIMessageChunk
        and isinstance(message.content, str)
        and message.response_metadata == METADATA
        and message.usage_metadata is None
        and message.chunk_position is None
        and not chunk.generation_info
        and (not message.additional_kwargs or is_thinking(message.additional_kwargs))
        and (not message.tool_call_chunks or all(map(is_continuation, message.tool_call_chunks)))
    ):
        pieces = [(piece["index"] or 0, piece["args"] or "") for piece in message.tool_call_chunks]
        return message.id, message.content, message.additional_kwargs.get(THINKING_KEY), pieces
    return None


def is_thinking(extra: Mapping[Any, Any]) -> bool:
    """Whether a message's `additional_kwargs` are thinking and nothing else."""
    return len(extra) == 1 and isinstance(extra.get(THINKING_KEY), str)


def is_continuation(piece: ToolCallChunk) -> bool:
    """Whether a piece of a call is not its first one, but the next of a known call."""
    return (
        piece.keys() == _PIECE_KEYS
        and piece["id"] is None
        and piece["name"] is None
        and type(piece["index"]) is int
        and isinstance(piece["args"], str)
    )


_MESSAGE: Final = Template(
    AIMessageChunk(
        content="", additional_kwargs={}, response_metadata=METADATA, tool_call_chunks=[], id=None
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

    def add(self, text: str, thinking: str | None, pieces: Sequence[tuple[int, str]]) -> None:
        self._text.append(text)
        if thinking is not None:
            self._thinking.append(thinking)
        for index, arguments in pieces:
            self._calls.setdefault(index, []).append(arguments)

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
