"""Whoever watches a stream sees exactly what LlamaIndex's own decorator would show, in the same order.

The same script runs twice: on `KimiVertex`, and on a subclass whose methods have the framework's decorator.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest
from llama_index.core.base.llms.generic_utils import (
    astream_chat_to_completion_decorator,
    stream_chat_to_completion_decorator,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
)
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler, NullEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionInProgressEvent,
)
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index_instrumentation import get_dispatcher
from pydantic import Field, PrivateAttr

from kimi_vertex import StreamInterruptedError
from kimi_vertex_emulator import Call, Emulator, Raw, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import MakeLLM

PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"Hello fr"},"finish_reason":null}]}\n\n'
WHOLE = Turn(
    thinking=["I must ", "add."],
    text=["Let me ", "see."],
    tool_calls=[Call("add", {"a": 1, "b": 2})],
    usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
)
ANSWERS: dict[str, Any] = {
    "whole": WHOLE,
    "broken": Raw([PIECE, PIECE, "cut"]),
    "refused": Raw([b'{"error": {"code": 400, "message": "No."}}'], status=400),
}
_IDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+|emulator-\d+")
_TIMES = re.compile(r"datetime\.datetime\([^)]*\)|(?<='created': )\d+")
CHILD = llm_chat_callback.__module__


class Decorated(KimiVertex):
    """As it would be with the framework's decorator."""

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream_chat(messages, **kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return await self._astream_chat(messages, **kwargs)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return stream_chat_to_completion_decorator(self._stream_chat)(prompt, **kwargs)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        return await astream_chat_to_completion_decorator(self._astream_chat)(prompt, **kwargs)


METHODS = ["stream_chat", "astream_chat", "stream_complete", "astream_complete"]


def argument(method: str) -> Any:
    return [ChatMessage("Hi")] if "chat" in method else "Hi"


class Tape(list[Any]):
    """What was seen, in order, without what differs from run to run."""

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, str] = {}

    def note(self, *what: Any) -> None:
        text = repr(what).replace("Decorated", "KimiVertex")
        for found in _IDS.findall(text):
            text = text.replace(found, self._names.setdefault(found, f"<{len(self._names)}>"))
        self.append(_TIMES.sub("<when>", text))


class Events(BaseEventHandler):
    tape: Any
    quiet: bool = False

    @classmethod
    def class_name(cls) -> str:
        return "Events"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        shown = type(event).__name__ if self.quiet else event.model_dump()
        self.tape.note("event", shown)
        if not self.quiet and isinstance(event, LLMChatInProgressEvent | LLMCompletionInProgressEvent):
            self.tape.note("response", event.response)


class Spans(BaseSpanHandler[BaseSpan]):
    _tape: Any = PrivateAttr()

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape = tape

    @classmethod
    def class_name(cls) -> str:
        return "Spans"

    def new_span(self, id_: str, bound_args: Any, instance: Any = None, **kwargs: Any) -> BaseSpan:  # type: ignore[override]
        self._tape.note("span", id_, bound_args.arguments, kwargs)
        return BaseSpan(id_=id_)

    def prepare_to_exit_span(self, id_: str, bound_args: Any, result: Any = None, **kwargs: Any) -> BaseSpan:  # type: ignore[override]
        self._tape.note("span ends", id_, bound_args.arguments, type(result).__name__)
        return self.open_spans[id_]

    def prepare_to_drop_span(self, id_: str, bound_args: Any, err: Any = None, **kwargs: Any) -> BaseSpan:  # type: ignore[override]
        self._tape.note("span drops", id_, repr(err))
        return self.open_spans[id_]


class Callbacks(BaseCallbackHandler):
    def __init__(self, tape: Tape) -> None:
        super().__init__([], [])
        self._tape = tape

    def on_event_start(
        self, event_type: CBEventType, payload: Any = None, event_id: str = "", parent_id: str = "", **_: Any
    ) -> str:
        self._tape.note("start", event_type, payload, event_id, parent_id)
        return event_id

    def on_event_end(
        self, event_type: CBEventType, payload: Any = None, event_id: str = "", **_: Any
    ) -> None:
        self._tape.note("end", event_type, payload, event_id)

    def start_trace(self, trace_id: str | None = None) -> None:
        self._tape.note("trace", trace_id)

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None:
        self._tape.note("trace ends", trace_id, trace_map)


@contextmanager
def listening(handler: BaseEventHandler, name: str = "root", *, propagate: bool = True) -> Iterator[None]:
    """Attach a handler to a dispatcher, and let the framework's own LLM dispatcher pass events on or not."""
    dispatcher, child = get_dispatcher(name), get_dispatcher(CHILD)
    before = dispatcher.event_handlers
    dispatcher.event_handlers = [*before, handler]
    child.propagate = propagate
    try:
        yield
    finally:
        dispatcher.event_handlers = before
        child.propagate = True


@contextmanager
def watched_spans(tape: Tape) -> Iterator[None]:
    root = get_dispatcher()
    before = root.span_handlers
    root.span_handlers = [*before, Spans(tape)]
    try:
        yield
    finally:
        root.span_handlers = before


Act: TypeAlias = Callable[[int], Any]
"""What the reader does after a response: nothing, leave (`"close"`), or throw an exception into the stream."""


def read(llm: KimiVertex, method: str, tape: Tape, act: Act) -> None:
    try:
        stream = getattr(llm, method)(argument(method), temperature=0.5)
        for number, response in enumerate(stream):
            tape.note("given", response)
            if (done := act(number)) == "close":
                stream.close()
            elif done is not None:
                stream.throw(done)
    except Exception as error:
        tape.note("raised", type(error).__name__, str(error))


async def aread(llm: KimiVertex, method: str, tape: Tape, act: Act) -> None:
    try:
        stream = await getattr(llm, method)(argument(method), temperature=0.5)
        number = 0
        async for response in stream:
            tape.note("given", response)
            if (done := act(number)) == "close":
                await stream.aclose()
            elif done is not None:
                await stream.athrow(done)
            number += 1
    except Exception as error:
        tape.note("raised", type(error).__name__, str(error))


Run: TypeAlias = Callable[..., list[Tape]]


@pytest.fixture(params=METHODS)
def run(request: pytest.FixtureRequest, emulator: Emulator) -> Run:
    """Plays one script on both classes, with spans and callbacks watched; gives both tapes."""

    def play(
        answer: Any, attach: Callable[[Tape], Any], act: Callable[[Tape], Act] = lambda _: lambda _: None
    ) -> list[Tape]:
        tapes = []
        for kind in (KimiVertex, Decorated):
            emulator.enqueue(answer)
            tapes.append(tape := Tape())
            manager = CallbackManager([Callbacks(tape)])
            llm = kind(base_url=emulator.base_url, max_retries=0, callback_manager=manager)
            with watched_spans(tape), attach(tape):
                if request.param.startswith("stream"):
                    read(llm, request.param, tape, act(tape))
                else:
                    asyncio.run(aread(llm, request.param, tape, act(tape)))
        return tapes

    return play


def heard(tape: Tape, kind: str = "InProgress") -> int:
    return sum(entry.startswith("('event'") and kind in entry for entry in tape)


PLACES = [
    *(pytest.param(answer, "root", True, True, id=f"{answer}, root") for answer in ANSWERS),
    pytest.param("whole", CHILD, True, True, id="child"),
    pytest.param("whole", CHILD, False, True, id="child that does not propagate"),
    pytest.param("whole", "root", False, False, id="root behind one that does not propagate"),
]


@pytest.mark.parametrize(("answer", "name", "propagate", "reached"), PLACES)
def test_a_listener_sees_what_the_decorator_shows(
    run: Run, answer: str, name: str, propagate: bool, reached: bool
) -> None:
    """Events, spans, callbacks and responses are the same, wherever the handler is and however the stream ends."""
    ours, theirs = run(ANSWERS[answer], lambda tape: listening(Events(tape=tape), name, propagate=propagate))
    assert ours == theirs
    assert bool(heard(ours)) == (reached and answer != "refused")


@pytest.mark.parametrize("answer", ANSWERS)
def test_without_a_listener_the_rest_is_the_same(run: Run, answer: str) -> None:
    """Spans, callbacks, responses and exceptions do not depend on whether in-progress events are made."""
    ours, theirs = run(ANSWERS[answer], lambda tape: listening(NullEventHandler()))
    assert ours == theirs
    assert heard(ours, "") == 0


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("method", METHODS)
def test_without_any_handler_the_responses_are_the_same(emulator: Emulator, answer: str, method: str) -> None:
    """Where no handler would receive a callback, the answer is the one that the decorated method gives."""
    tapes = []
    for kind in (KimiVertex, Decorated):
        emulator.enqueue(ANSWERS[answer])
        tapes.append(tape := Tape())
        llm = kind(base_url=emulator.base_url, max_retries=0)
        if method.startswith("stream"):
            read(llm, method, tape, lambda _: None)
        else:
            asyncio.run(aread(llm, method, tape, lambda _: None))
    assert tapes[0] == tapes[1]


def test_a_handler_that_comes_in_the_middle(emulator: Emulator, llm: KimiVertex) -> None:
    """A handler hears the streams that begin while it is there, not the rest of one that began without any."""
    emulator.enqueue(WHOLE, WHOLE)
    tape = Tape()
    running = llm.stream_chat([ChatMessage("Hi")])
    next(running)
    with listening(Events(tape=tape, quiet=True)):
        list(running)
        assert heard(tape) == 0
        list(llm.stream_chat([ChatMessage("Hi")]))
        assert heard(tape) > 0


@pytest.mark.parametrize("stop", ["close", ValueError("enough")], ids=["close", "throw"])
@pytest.mark.parametrize(("after", "listener"), [(0, True), (2, True), (2, False)])
def test_streams_that_the_reader_ends(run: Run, stop: Any, after: int, listener: bool) -> None:
    """Closing a stream, or throwing into it, is reported as the decorator reports it."""

    def attach(tape: Tape) -> Any:
        return listening(Events(tape=tape) if listener else NullEventHandler())

    def reader(tape: Tape) -> Act:
        return lambda number: stop if number == after else None

    ours, theirs = run(WHOLE, attach, reader)
    assert ours == theirs


@pytest.mark.parametrize(("added", "kept"), [(0, 1), (0, 9), (2, 1), (5, 1), (5, 9)])
def test_a_listener_that_comes_and_goes(run: Run, added: int, kept: int) -> None:
    """A handler that is attached in the middle, even after the last response, hears what comes while it is there."""
    root = get_dispatcher()

    def reader(tape: Tape) -> Act:
        handler = Events(tape=tape, quiet=True)

        def act(number: int) -> None:
            if number == added:
                root.event_handlers = [*root.event_handlers, handler]
            if number == added + kept:
                root.event_handlers = [other for other in root.event_handlers if other is not handler]

        return act

    ours, theirs = run(WHOLE, lambda tape: listening(NullEventHandler()), reader)
    assert ours == theirs
    last = sum(entry.startswith("('given'") for entry in ours) - 1
    assert heard(ours) == min(added + kept, last) - min(added, last)
    assert heard(ours, "EndEvent") == (added <= last < added + kept)


def test_the_methods_look_like_decorated_ones(make_llm: MakeLLM) -> None:
    """Names, documentation and signature are those that span handlers and help know."""
    for name in METHODS:
        ours, theirs = getattr(KimiVertex, name), getattr(Decorated, name)
        assert (ours.__name__, inspect.signature(ours)) == (name, inspect.signature(theirs))
        assert ours.__doc__.startswith("Answer a ")
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


@pytest.mark.parametrize("method", ["stream_chat", "stream_complete"])
def test_a_stream_that_nobody_starts(emulator: Emulator, make_llm: MakeLLM, method: str) -> None:
    """A generator that is dropped before its first response says nothing and sends nothing."""
    tape = Tape()
    with listening(Events(tape=tape, quiet=True)):
        getattr(make_llm(), method)(argument(method)).close()
    assert [entry for entry in tape if "StartEvent" not in entry] == []
    assert emulator.requests == []


@pytest.mark.parametrize("kind", [KimiVertex, Decorated])
async def test_a_cancelled_task_is_reported(emulator: Emulator, kind: type[KimiVertex]) -> None:
    """Cancelling the task that reads is an exception event, as with the decorator."""
    emulator.enqueue(Turn(thinking=["hm "] * 50, text="never", pause=0.05))
    tape = Tape()
    llm = kind(base_url=emulator.base_url, max_retries=0)

    async def consume() -> None:
        with listening(Events(tape=tape, quiet=True)):
            async for _ in await llm.astream_chat([ChatMessage("Hi")]):
                started.set()

    started = asyncio.Event()
    task = asyncio.create_task(consume())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "ExceptionEvent" in tape[-1]


class Nested(BaseEventHandler):
    """Answers the start of one call with a whole call of its own."""

    llm: Any
    texts: list[str | None] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if isinstance(event, LLMChatStartEvent) and not self.texts:
            self.texts.append("")
            self.texts.append([*self.llm.stream_chat([ChatMessage("Inner")])][-1].message.content)


def test_a_handler_may_make_a_call_of_its_own(emulator: Emulator, make_llm: MakeLLM) -> None:
    """A stream that begins while another one is about to begin does not take its place."""
    emulator.enqueue(Turn(text="inner"), Turn(text="outer"))
    llm = make_llm()
    handler = Nested(llm=llm)
    with listening(handler):
        responses = [*llm.stream_chat([ChatMessage("Outer")])]
    assert (handler.texts[-1], responses[-1].message.content) == ("inner", "outer")


@pytest.mark.parametrize("left_early", [False, True], ids=["broken", "left early"])
def test_a_stream_that_ended_badly_is_freed_at_once(
    emulator: Emulator, make_llm: MakeLLM, left_early: bool
) -> None:
    """The conversation does not have to wait for the garbage collector in a cycle with the exception."""
    emulator.enqueue(WHOLE if left_early else Raw([PIECE, PIECE, "cut"]))
    message = ChatMessage("Hi")
    freed = weakref.ref(message)
    llm = make_llm()
    gc.disable()
    try:
        stream = llm.stream_chat([message])
        next(stream)
        if left_early:
            stream.close()
        else:
            with pytest.raises(StreamInterruptedError):
                list(stream)
        del stream, message
        assert freed() is None
    finally:
        gc.enable()
