"""Server data in, typed events out: one code path for streamed and whole answers.

Takes the data of server-sent events, or one decoded body. Knows no socket, clock or thread, and no wire field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kimi_vertex._json import loads
from kimi_vertex._signs import SIGN, mend_json, mend_text
from kimi_vertex._surrogates import without_surrogates
from kimi_vertex._tools import DeclaredTools, History
from kimi_vertex._wire import (
    Chunk,
    Notes,
    StreamErrorEvent,
    UnreadableData,
    finish_reason,
    read_body,
    read_chunk,
    read_usage,
)
from kimi_vertex.completion import Accumulator, Completion
from kimi_vertex.events import EmptyTurn, Event, Finish, FinishReason, TextDelta, ThinkingDelta
from kimi_vertex.models import Server
from kimi_vertex.options import ToolValidation

from .channels import ContentChannel, ThinkingChannel
from .forced import written_call
from .leaked_calls import LeakedCall
from .left_arguments import LeftArguments
from .lost_tag import LostTag
from .markers import KIMI, Markers
from .mending import TextMender
from .quotations import Quotations
from .reask import Rejected, sum_usage
from .tool_calls import ToolCallAssembler

__all__ = ["Decoder", "StreamErrorEvent", "UnreadableData"]


_ESCAPED_SIGN: Final = f"u{ord(SIGN):04x}"
_STRIPPED_ENDS: Final = ("response", "tools", "responsemessage", "toolsmessage")


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
        forced: DeclaredTools | None = None,
        rejected: Rejected | None = None,
        markers: Markers = KIMI,
        texts: Iterable[str] = (),
        recovers: bool = True,
        split_by_usage: bool = True,
        thought: Accumulator | None = None,
    ) -> None:
        """Start a turn.

        Args:
            tools: The tools that the request declares.
            history: What earlier turns have used up.
            implicit_thinking: Whether text before a lone `</think>` is thinking. Text that comes before any
                thinking is then held back until that is decided.
            validation: Whether calls are judged by their tools' schemas, and repaired.
            forced: The tools of which one has to be called. The call may come as JSON text.
            rejected: The answer that this one corrects. The events of both make one turn.
            markers: The model's special tokens.
            texts: The request's texts. A call that stands there is a quotation where it stands in the answer's text.
            recovers: Whether a call in the answer's text can be one at all.
            split_by_usage: Whether the counts of a chunk are those of its text, so that they can tell where thinking
                ends whose closing tag is lost.
            thought: An earlier answer that was thinking alone, and was shown: it stands for this answer's own.
        """
        tools = tools or DeclaredTools()
        quotations = Quotations(texts, tools, markers, recovers=recovers and bool(tools.schemas))
        self._markers = markers
        self._quotations = quotations
        self._thinking = ThinkingChannel(markers, quotations)
        self._content = ContentChannel(
            markers, quotations, implicit=implicit_thinking, tool_names=tools.names
        )
        self._left: LeftArguments | None = None  # holds the content behind a call
        self._after_call = False
        earlier = Completion() if rejected is None else rejected.answer
        self._calls = ToolCallAssembler(
            tools,
            history or History(),
            validation=validation,
            first=len(earlier.tool_calls) + len(earlier.invalid_tool_calls),
        )
        self._border = LostTag(provable=split_by_usage)
        self._muted = thought is not None
        self._mends = False
        self._mender: TextMender | None = None  # from the first sign on
        self.thinking_field = ""
        """The field in which the server writes thinking, once it is known."""
        self._forced = forced
        self._rejected = rejected
        self._earlier = earlier
        self._accumulator = thought or Accumulator()
        if rejected is not None:
            self._accumulator = rejected.accumulator.continued(rejected.invalid_calls)
        self._separate = False
        self._thinking_named = False  # the server sent the field, if only to say that it is empty
        self._usage: Mapping[str, Any] | None = None
        self._raw_reason: str | None = None
        self._response_id: str | None = None
        self._model: str | None = None
        self._refusal: list[str] = []
        self._logprobs: list[Any] = []
        self._metadata: dict[str, Any] = {}
        self._chunks = 0
        self._noted = False  # a chunk's id, model and metadata have been read
        self.server: Server | None = None
        """The kind of server, as far as the answer shows it."""
        self.stripped = False
        """Whether the answer is K3's markup, out of which the server took the tokens."""
        self.lost_closing_tag = False
        """Whether the answer is inside the thinking, because the server dropped the closing tag."""
        self.done = False
        """Whether the server has sent `[DONE]`."""
        self.failure: StreamErrorEvent | None = None
        """The error that the last chunk held beside its events."""

    @property
    def complete(self) -> bool:
        """Whether the server has said, in one way or another, that the answer is whole."""
        return (self.done and self._chunks > 0) or self._raw_reason is not None

    @property
    def split_by_usage(self) -> bool:
        """Whether the counts told where thinking ended whose closing tag was lost."""
        return self._border.found

    @property
    def quotations(self) -> list[dict[str, str]]:
        """What looked like calls and was taken for quotations, so far."""
        found = self._quotations.found
        mend = mend_json if self._mends else str
        return [{"name": self._quotations.name(call), "arguments": mend(call.arguments)} for call in found]

    @property
    def has_chunks(self) -> bool:
        """Whether a chunk has come."""
        return self._chunks > 0

    @property
    def accumulator(self) -> Accumulator:
        """The sum of what the caller has been given so far."""
        return self._accumulator

    @property
    def completion(self) -> Completion:
        """What the caller has been given so far; the whole answer after `finish`."""
        return self._accumulator.completion()

    def mend(self) -> None:
        """Note that signs were put into the request's texts (`_signs`): they are taken out of the answer."""
        self._mends = self._calls.mends = self._quotations.mends = True

    def feed(self, data: str) -> list[Event]:
        """Take the data of one server-sent event. An error beside a delta is kept in `failure`.

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
        if self._mends and self._mender is None and (SIGN in data or _ESCAPED_SIGN in data):
            self._mender = TextMender(self._accumulator.last)
        return self._take(read_chunk(chunk, data, noted=self._noted), whole=False)

    def feed_body(self, body: Any, source: bytes | None = None) -> list[Event]:
        """Take a whole, decoded answer.

        Args:
            body: The answer.
            source: What it was decoded from.

        Raises:
            StreamErrorEvent: It is an error, although the status was 200.
            UnreadableData: It is something else.
        """
        chunk = read_body(body, source)
        self.done = True
        if self._mends:
            self._mender = TextMender(())
        return self._take(chunk, whole=True)

    def _take(self, chunk: Chunk, *, whole: bool) -> list[Event]:
        self._chunks += chunk.holds_choices
        events: list[Event] = []
        try:
            if chunk.thinking is not None:
                self._thinking_named = True
                if chunk.thinking:
                    if not self._separate:
                        self._separate, self.thinking_field = True, chunk.field
                        events += self._content.separate_thinking()
                    events += self._thinking.feed(chunk.thinking)
            if chunk.content and chunk.notes is not None and chunk.notes.usage is not None and not whole:
                events += self._find_border(chunk.content, chunk.notes.usage)
            if chunk.content and chunk.calls:
                events += self._read_both(chunk, whole=whole)
            else:
                if chunk.content:
                    if self._after_call:
                        events += self._behind(chunk.content)
                    else:
                        events += self._content.feed(chunk.content)
                if chunk.calls:
                    if self._left is not None:
                        events += self._content.feed(self._left.release())
                    events += self._content.decide()
                    events += self._calls.feed(chunk.calls, whole=whole)
                    self._left, self._after_call = None, not whole
        except RecursionError:
            raise UnreadableData("nested too deeply") from None
        if self._muted:
            events = [event for event in events if type(event) is not ThinkingDelta]
        if self._mender is not None:
            events = self._mender.mend(events)
        for event in events:
            self._accumulator.add(event)
        if chunk.refusal:
            self._refusal.append(chunk.refusal)
        if chunk.notes is not None:
            self._note(chunk.notes)
        if chunk.error is not None:
            failure = StreamErrorEvent(chunk.error)
            if whole or not events:
                raise failure
            self.failure = failure
        elif chunk.reason is not None and (
            # The first counts, unless a later one says that the answer was cut.
            self._raw_reason is None or finish_reason(chunk.reason) in ("length", "content_filter")
        ):
            self._raw_reason = chunk.reason
        return events

    def _find_border(self, content: str, usage: Mapping[str, Any]) -> list[Event]:
        thinks = self._content.opened_by_tag
        ends = self._border.before(content, read_usage(usage, thought=False), thinks=thinks)
        return [*self._content.close_thinking()] if ends else []

    def _behind(self, content: str) -> list[Event]:
        """Read content that follows a call."""
        if self._left is None:
            self._left = self._calls.left_behind(self._markers)
        arguments: str | None = None
        if self._left is not None:
            arguments, content = self._left.feed(content)
        if self._left is None or not self._left.open:
            self._left, self._after_call = None, False
        return self._apart(arguments, content)

    def _read_both(self, chunk: Chunk, *, whole: bool) -> list[Event]:
        """Read text and calls that come together: the arguments of the last call may stand in the text."""
        earlier = [] if self._left is None else self._content.feed(self._left.release())
        calls, arguments, content = self._calls.feed(chunk.calls, whole=whole), None, chunk.content
        left = self._calls.left_behind(self._markers, together=True)
        if left is not None:
            cut = whole and finish_reason(chunk.reason) in ("length", "content_filter")
            arguments, content = left.in_body(content, cut=cut)
        self._left, self._after_call = None, not whole and arguments is None
        added = self._apart(arguments, "")
        return [*earlier, *self._content.feed(content), *self._content.decide(), *calls, *added]

    def _apart(self, arguments: str | None, content: str) -> list[Event]:
        added = [] if arguments is None else self._calls.add_left(arguments)
        return [*added, *(self._content.feed(content) if content else ())]

    def _note(self, notes: Notes) -> None:
        self._noted = True
        self._usage = notes.usage or self._usage
        self._response_id = notes.response_id or self._response_id
        self._model = notes.model or self._model
        self._logprobs += notes.logprobs
        self.server = notes.server or self.server
        self._metadata.update(notes.metadata)

    def _give(self, events: list[Event]) -> list[Event]:
        if self._muted:
            events = [event for event in events if type(event) is not ThinkingDelta]
        if self._mender is not None:
            events = self._mender.mend(events)
        for event in events:
            self._accumulator.add(event)
        return events

    @property
    def undecided(self) -> bool:
        """Whether text is being held back because it may be thinking."""
        return self._content.undecided

    def finish(self, *, promote: bool = False) -> list[Event]:
        """End a whole answer: return the rest of its events, `Usage` and `Finish` last.

        Args:
            promote: Whether to show the thinking as the answer, if there is nothing else and the model was not cut off.
        """
        reason = finish_reason(self._raw_reason)
        cut = reason in ("length", "content_filter")
        left = [] if self._left is None else self._apart(*self._left.finish(cut=cut))
        events: list[Event] = self._give(
            [*left, *self._thinking.finish(cut=cut), *self._content.finish(cut=cut)]
        )
        if self._thinking.skipped:
            own, thinking = self._own_words()
            if not own.strip():
                # It was shown as thinking before its end told that it is the answer.
                events += self._give([TextDelta(thinking)])
        calls = self._calls.finish(self._calls_in_text(reason), reason)
        events += self._give([*calls])
        thought = self._accumulator.has_thinking
        if not thought and (self._thinking_named or self._content.inline):
            events += self._give([ThinkingDelta("")])
        corrected = self._corrected(reason)
        text, thinking = self._own_words()
        self.stripped = text.partition("thinkresponse")[2].endswith(_STRIPPED_ENDS)
        empty = self._empty(corrected, text, thinking)
        counts = None if self._usage is None else read_usage(self._usage, thought=False)
        if empty == "thinking_only" and corrected == "stop" and self._content.opened_by_tag:
            self.lost_closing_tag = self._border.must_have_been(counts)
        last: list[Event] = []
        if promote and empty == "thinking_only" and corrected == "stop":
            last.append(TextDelta(thinking.strip()))
        usage = None if self._usage is None else read_usage(self._usage, thought=thought)
        usage = sum_usage(self._earlier.usage, usage)
        if usage is not None:
            last.append(usage)
        last.append(self._finish(corrected, empty))
        return events + self._give(last)

    def _calls_in_text(self, reason: FinishReason | None) -> list[LeakedCall]:
        leaked = [*self._thinking.leaked, *self._content.leaked]
        asked = self._forced if self._quotations.recovers else None
        if asked and not (leaked or self._calls.begun or reason in ("length", "content_filter")):
            call = written_call(self._own_words()[0], asked)
            return [] if call is None else [call]
        return leaked

    def _own_words(self) -> tuple[str, str]:
        """The text and the thinking of this answer alone."""
        given, earlier = self._accumulator.completion(), self._earlier
        return given.text[len(earlier.text) :], (given.thinking or "")[len(earlier.thinking or "") :]

    def flush(self) -> list[Event]:
        """End an answer that broke off: return what was held back, so that nothing is lost."""
        left = [] if self._left is None else self._content.feed(self._left.release())
        events = self._give([*left, *self._thinking.finish(), *self._content.finish(), *self._calls.flush()])
        self._accumulator.invalidate(self._calls.errors)
        return events

    def _finish(self, reason: FinishReason, empty: EmptyTurn | None) -> Finish:
        metadata, invalid = self._metadata, self._calls.errors
        if self._logprobs:
            metadata["logprobs"] = {"content": self._logprobs}
        if self._calls.repaired:
            metadata["repaired_tool_calls"] = self._calls.repaired
        if self.lost_closing_tag:
            metadata["lost_closing_tag"] = True
        if self._quotations.found:
            metadata["quoted_tool_calls"] = self.quotations
        if self._rejected is not None:
            metadata["reasked"] = 1
            invalid = {**self._rejected.invalid_calls, **invalid}
        return Finish(
            reason=reason,
            raw_reason=self._raw_reason,
            response_id=self._response_id,
            model=self._model,
            invalid_calls=invalid,
            unfit_calls=frozenset(self._calls.unfit),
            replaced=0 if self._rejected is None else len(self._rejected.invalid_calls),
            empty=empty,
            refusal=self._refusal_text() or None,
            metadata=metadata,
        )

    def _refusal_text(self) -> str:
        text = without_surrogates("".join(self._refusal))
        return mend_text(text) if self._mends else text

    def _corrected(self, reason: FinishReason | None) -> FinishReason:
        if self._calls.any and reason in (None, "stop"):
            return "tool_calls"
        if reason == "tool_calls" and not self._calls.any:
            return "stop"
        return reason or "stop"

    def _empty(self, reason: FinishReason, text: str, thinking: str) -> EmptyTurn | None:
        if self._calls.any or self._refusal or reason == "content_filter":
            return None
        if finish_reason(self._raw_reason) == "tool_calls":
            return "missing_tool_calls"  # also after a text, which then only announces the call
        if text.strip():
            return None
        return "thinking_only" if thinking.strip() else "nothing"
