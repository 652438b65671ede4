"""Server data in, typed events out: one code path for streamed and whole answers.

Fed with the data of server-sent events, or with one decoded body. Never sees a socket, a clock or a thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kimi_vertex import _wire
from kimi_vertex._json import loads
from kimi_vertex._surrogates import without_surrogates
from kimi_vertex._tools import DeclaredTools, History
from kimi_vertex.completion import Accumulator, Completion
from kimi_vertex.events import EmptyTurn, Event, Finish, FinishReason, TextDelta, ThinkingDelta
from kimi_vertex.messages import Message
from kimi_vertex.options import ToolValidation

from .channels import ContentChannel, ThinkingChannel
from .tool_calls import ToolCallAssembler

__all__ = ["Decoder", "StreamErrorEvent", "UnreadableData"]


class StreamErrorEvent(Exception):
    """The stream holds an error in place of a chunk."""

    def __init__(self, error: _wire.WireError) -> None:
        super().__init__(error.message)
        self.error = error


class UnreadableData(Exception):
    """The stream holds something that is neither a chunk nor an error."""


class Decoder:
    """Reads one turn.

    Call `feed` for each event's data and `finish` at the end, or `feed_body` and `finish` for a whole body.
    """

    def __init__(
        self,
        *,
        tools: DeclaredTools | None = None,
        history: History | None = None,
        implicit_thinking: bool = False,
        validation: ToolValidation = "off",
    ) -> None:
        """Start a turn.

        Args:
            tools: The tools that the request declares.
            history: What earlier turns used up.
            implicit_thinking: Whether text before a lone `</think>` is thinking. Text that comes before any
                thinking is then held back until that is decided.
            validation: Whether calls are judged by their tools' schemas, and repaired.
        """
        tools = tools or DeclaredTools()
        self._thinking = ThinkingChannel()
        self._content = ContentChannel(implicit=implicit_thinking, tool_names=tools.names)
        self._calls = ToolCallAssembler(tools, history or History(), validation=validation)
        self._accumulator = Accumulator()
        self._separate = False
        self._thinking_named = False  # the server sent the field, if only to say that it is empty
        self._usage: Mapping[str, Any] | None = None
        self._source: str | bytes | None = None  # of the last chunk
        self._raw_reason: str | None = None
        self._response_id: str | None = None
        self._model: str | None = None
        self._refusal: list[str] = []
        self._logprobs: list[Any] = []
        self._metadata: dict[str, Any] = {}
        self._chunks = 0
        self._noted = False  # a chunk's id, model and metadata have been read
        self.done = False
        """Whether the server has sent `[DONE]`."""
        self.failure: StreamErrorEvent | None = None
        """The error that the last chunk held beside its events."""
        self.correction: tuple[Message, ...] = ()
        """After `finish`: messages to ask again with, because this answer is not to be used."""

    @property
    def complete(self) -> bool:
        """Whether the server has said, in one way or the other, that the answer is whole."""
        return (self.done and self._chunks > 0) or self._raw_reason is not None

    @property
    def has_chunks(self) -> bool:
        """Whether anything that is a chunk has come."""
        return self._chunks > 0

    @property
    def completion(self) -> Completion:
        """What the caller has been given so far; the whole answer after `finish`."""
        return self._accumulator.completion()

    def feed(self, data: str) -> list[Event]:
        """Take the data of one server-sent event. An error beside a delta is left in `failure`.

        Raises:
            StreamErrorEvent: It is an error.
            UnreadableData: It is not JSON, or JSON of another shape.
        """
        try:
            chunk = loads(data)
        except ValueError as error:
            words = data.strip()
            if words and words != "[DONE]":
                raise UnreadableData(f"not JSON ({error})") from None
            self.done = self.done or bool(words)
            return []
        except RecursionError:
            raise UnreadableData("nested too deeply") from None
        if type(chunk) is not dict or "choices" not in chunk:
            return self._feed_odd(chunk)
        self._source = data
        return self._chunk(chunk, whole=False)

    def feed_body(self, body: Any, source: bytes | None = None) -> list[Event]:
        """Take a whole, decoded answer.

        Args:
            body: The answer.
            source: What it was decoded from.

        Raises:
            StreamErrorEvent: It is an error, although the status was 200.
            UnreadableData: It is something else.
        """
        error = _wire.find_error(body)
        if error is not None:
            raise StreamErrorEvent(error)
        body = _wire.unwrapped(body)
        if not isinstance(body, dict):
            raise UnreadableData("not a JSON object")
        if _wire.first_choice(body.get("choices")) is None:
            raise UnreadableData("there is no choice in it")
        self.done = True
        self._source = source
        return self._chunk(body, whole=True)

    def _feed_odd(self, chunk: Any) -> list[Event]:
        error = _wire.find_error(chunk)
        if error is not None:
            raise StreamErrorEvent(error)
        if isinstance(chunk, dict):
            self._note(chunk, None)
        elif chunk is not None:
            raise UnreadableData(f"a JSON {type(chunk).__name__} in place of a chunk")
        return []

    def _chunk(self, chunk: dict[str, Any], *, whole: bool) -> list[Event]:
        if chunk.get("error"):
            self._raise_error(chunk)
        choice = _wire.first_choice(chunk["choices"])
        self._chunks += 1
        if choice is None:
            self._note(chunk, None)
            return []
        delta = _wire.delta_of(choice, whole=whole)
        events: list[Event] = []
        if type(delta) is dict:
            try:
                events = self._delta(delta, whole=whole)
            except RecursionError:
                raise UnreadableData("nested too deeply") from None
            if events:
                self._give(events)
        reason = choice.get("finish_reason")
        if reason or not self._noted or chunk.get("usage") or choice.get("usage"):
            self._note(chunk, choice)
        if choice.get("logprobs"):
            self._logprobs += _wire.logprobs(choice["logprobs"])
        if reason or choice.get("error"):
            try:
                self._end(choice, reason)
            except StreamErrorEvent as failure:
                if whole or not events:
                    raise
                self.failure = failure
        return events

    def _end(self, choice: dict[str, Any], reason: Any) -> None:
        if choice.get("error"):
            self._raise_error(choice)
        if not isinstance(reason, str):
            return
        if _wire.is_broken(reason):
            raise StreamErrorEvent(_wire.WireError(f"the server ended the answer with {reason!r}"))
        # The first counts, unless a later one says that the answer was cut.
        if self._raw_reason is None or _wire.finish_reason(reason) in ("length", "content_filter"):
            self._raw_reason = reason

    def _raise_error(self, holder: Mapping[str, Any]) -> None:
        error = _wire.find_error(holder)
        if error is not None:
            raise StreamErrorEvent(error)

    def _note(self, chunk: Mapping[str, Any], choice: Mapping[str, Any] | None) -> None:
        self._noted = True
        usage = _wire.find_usage(chunk, choice)
        if usage is not None:
            self._usage = usage
        identity, model = chunk.get("id"), chunk.get("model")
        if isinstance(identity, str) and identity:
            self._response_id = identity
        if isinstance(model, str) and model:
            self._model = model
        self._metadata.update(_wire.metadata_of(chunk, choice, usage))

    def _delta(self, delta: dict[str, Any], *, whole: bool) -> list[Event]:
        events: list[Event] = []
        thinking = _wire.thinking_text(delta)
        if thinking is not None:
            self._thinking_named = True
            if thinking:
                if not self._separate:
                    self._separate = True
                    events += self._content.separate_thinking()
                events += self._thinking.feed(thinking)
        content = delta.get("content")
        if content and type(content) is not str:
            content = _wire.content_text(content)
        if content:
            events += self._content.feed(content)
        calls = delta.get("tool_calls")
        if calls:
            if self._source is not None and _wire.are_structured(calls):
                calls = self._exact_calls(whole=whole)
            events += self._content.decide()
            events += self._calls.feed(calls, whole=whole)
        refusal = delta.get("refusal")
        if refusal and type(refusal) is str:
            self._refusal.append(refusal)
        return events

    def _exact_calls(self, *, whole: bool) -> Any:
        """The calls of the last chunk as Python's parser reads them: with integers of any length."""
        source = self._source
        assert source is not None
        text = source if isinstance(source, str) else source.decode("utf-8-sig", "replace")
        chunk = _wire.unwrapped(json.loads(text))
        choice = _wire.first_choice(chunk["choices"])
        return _wire.delta_of(choice or {}, whole=whole)["tool_calls"]

    def _give(self, events: list[Event]) -> list[Event]:
        for event in events:
            self._accumulator.add(event)
        return events

    @property
    def undecided(self) -> bool:
        """Whether text is being held back because it may be thinking."""
        return self._content.undecided

    def finish(self, *, promote: bool = False) -> list[Event]:
        """The answer is whole: return the rest of its events, `Usage` and `Finish` last.

        Args:
            promote: Show the thinking as the answer if there is nothing else and the model stopped by itself.
        """
        reason = _wire.finish_reason(self._raw_reason)
        events: list[Event] = [*self._thinking.finish(), *self._content.finish()]
        events += self._calls.finish([*self._thinking.leaked, *self._content.leaked], reason)
        thought = self._accumulator.has_thinking or any(type(event) is ThinkingDelta for event in events)
        if not thought and (self._thinking_named or self._content.inline):
            events.append(ThinkingDelta(""))
        self._give(events)
        corrected = self._corrected(reason)
        empty = self._empty(corrected)
        last: list[Event] = []
        if promote and empty == "thinking_only" and corrected == "stop":
            last.append(TextDelta((self._accumulator.completion().thinking or "").strip()))
        if self._usage is not None:
            last.append(_wire.read_usage(self._usage, thought=thought))
        last.append(self._finish(corrected, empty))
        return events + self._give(last)

    def flush(self) -> list[Event]:
        """The answer broke off: return the text that was held back, so that nothing is lost."""
        return self._give([*self._thinking.finish(), *self._content.finish(), *self._calls.flush()])

    def _finish(self, reason: FinishReason, empty: EmptyTurn | None) -> Finish:
        if self._logprobs:
            self._metadata["logprobs"] = {"content": self._logprobs}
        if self._calls.repaired:
            self._metadata["repaired_tool_calls"] = self._calls.repaired
        return Finish(
            reason=reason,
            raw_reason=self._raw_reason,
            response_id=self._response_id,
            model=self._model,
            invalid_calls=self._calls.errors,
            empty=empty,
            refusal=without_surrogates("".join(self._refusal)) or None,
            metadata=self._metadata,
        )

    def _corrected(self, reason: FinishReason | None) -> FinishReason:
        if self._calls.any and reason in (None, "stop"):
            return "tool_calls"
        if reason == "tool_calls" and not self._calls.any:
            return "stop"
        return reason or "stop"

    def _empty(self, reason: FinishReason) -> EmptyTurn | None:
        if self._calls.any or self._refusal or reason == "content_filter":
            return None
        if _wire.finish_reason(self._raw_reason) == "tool_calls":
            return "missing_tool_calls"  # also after a text, which then only announces the call
        partial = self._accumulator.completion()
        if partial.text.strip():
            return None
        return "thinking_only" if (partial.thinking or "").strip() else "nothing"
