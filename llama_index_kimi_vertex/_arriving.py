"""Responses on their way. What they hold so far is joined only when somebody looks at it.

LlamaIndex's responses are cumulative: made at once, each would copy all the text before it, and a stream would cost
the square of its length. Most readers look at `delta` and `additional_kwargs` alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llama_index.core.base.llms.generic_utils import stream_chat_response_to_completion_response
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.llms.llm import ToolSelection

from kimi_vertex import ToolCall

from ._blocks import assistant_message
from ._lazy import Lazy, lazy, source_of
from ._partial import PartialObject, parse_prefix

__all__ = [
    "Arrival",
    "ArrivingCall",
    "GrowingText",
    "StreamedCompletion",
    "StreamedResponse",
    "arrival_of",
    "arriving",
    "completion_of",
]


class GrowingText:
    """Text that arrives in pieces, any beginning of which can be had at any time, in any thread."""

    __slots__ = ("_joined", "_pieces", "length")

    def __init__(self) -> None:
        self.length = 0
        self._pieces: list[str] = []
        # How many pieces, and their text: one value, so that no thread sees half of it.
        self._joined = (0, "")

    def add(self, piece: str) -> None:
        """Take the next piece."""
        self._pieces.append(piece)
        self.length += len(piece)

    def upto(self, length: int) -> str:
        """The first `length` characters."""
        count, text = self._joined
        if length > len(text):
            new = self._pieces[count:]
            text += "".join(new)
            self._joined = (count + len(new), text)
        return text[:length]


class ArrivingCall:
    """One tool call on its way."""

    __slots__ = ("_partial", "arguments", "id", "name")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.arguments = GrowingText()
        self._partial = PartialObject()

    def upto(self, length: int) -> ToolCall:
        """The call as it was when so many characters of its arguments were there."""
        return ToolCall(self.id, self.name, self.arguments.upto(length))

    def selection(self, length: int) -> ToolSelection:
        """The call as it was then, its arguments read as far as they are certain."""
        text = self.arguments.upto(length)
        # The partial object reads a text that grows; whoever looks back reads for himself.
        arguments = self._partial.update(text) if length >= self._partial.length else parse_prefix(text)
        return ToolSelection(tool_id=self.id, tool_name=self.name, tool_kwargs=arguments)


class Arrival(NamedTuple):
    """How far a turn had come at one moment."""

    thinking: GrowingText
    thinking_length: int
    """-1 as long as the model has said nothing of its thinking, not even that there is none."""
    text: GrowingText
    text_length: int
    calls: tuple[tuple[ArrivingCall, int], ...]
    """The calls, with the lengths of their arguments."""

    def ordinary(self, shown: dict[str, Any]) -> ChatResponse:
        """The response of this moment, made the ordinary way."""
        delta = shown["delta"]
        return ChatResponse(
            message=self._message(),
            delta=delta,
            raw={"choices": [{"index": 0, "delta": {"content": delta} if delta else {}}]},
            additional_kwargs=shown["additional_kwargs"],
        )

    def _message(self) -> ChatMessage:
        thinking = self.thinking.upto(self.thinking_length) if self.thinking_length >= 0 else None
        calls = [call.upto(length) for call, length in self.calls]
        return assistant_message(thinking, self.text.upto(self.text_length), calls)

    def selections(self) -> list[ToolSelection]:
        """The calls of this moment, their arguments read as far as they are certain."""
        return [call.selection(length) for call, length in self.calls]


class StreamedResponse(Lazy, ChatResponse):
    """A response on its way: `delta`, `additional_kwargs`, and the rest when somebody looks."""


class StreamedCompletion(Lazy, CompletionResponse):
    """A completion on its way: `delta`, and the rest when somebody looks."""


class _Completed(NamedTuple):
    chat: ChatResponse

    def ordinary(self, shown: dict[str, Any]) -> CompletionResponse:
        [made] = stream_chat_response_to_completion_response(response for response in [self.chat])
        return made


def arriving(delta: str, additional_kwargs: dict[str, Any], arrival: Arrival) -> StreamedResponse:
    """Make a response on its way."""
    return lazy(StreamedResponse, {"delta": delta, "additional_kwargs": additional_kwargs}, arrival)


def arrival_of(response: ChatResponse) -> Arrival | None:
    """How far the turn had come; `None` for an ordinary response, or one that has become one."""
    source = source_of(response)
    return source if isinstance(source, Arrival) else None


def completion_of(response: ChatResponse) -> CompletionResponse:
    """The completion that LlamaIndex makes of a streamed response; on its way, if the response is."""
    completed = _Completed(response)
    if not isinstance(response, StreamedResponse):
        return completed.ordinary({})
    return lazy(StreamedCompletion, {"delta": response.delta}, completed)
