"""A callback handler for the tokens of the model's thinking, and of its answer, on every one of LangChain's paths.

`ThinkingCallbackHandler` is a callback handler like any other (`config={"callbacks": [...]}`);
`on_thinking=` of `ChatKimiVertex` is the short form. Neither can break a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, Unpack
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_kimi_vertex._keys import THINKING_KEY
from langchain_kimi_vertex._translator import is_prose

__all__ = ["RunContext", "ThinkingCallbackHandler"]


class RunContext(TypedDict):
    """Which run a hook is called for, as LangChain tells its own handlers."""

    run_id: UUID
    parent_run_id: UUID | None
    tags: list[str]
    metadata: dict[str, Any]


class ThinkingCallbackHandler(BaseCallbackHandler):
    """Receives the model's thinking, piece by piece, and then its answer.

    Subclass it and override what you need, or pass functions. Works with `invoke` (for which `ChatKimiVertex`
    then streams behind the scenes), `stream`, `astream_events` and LangGraph, sync and async, and with any other
    model that has standard `reasoning` blocks. One handler may serve many runs at a time; tell them apart by
    `run_id`. An exception in a hook is logged and does not disturb the request. In asynchronous runs the hooks run on
    the event loop, so they must not block; `handler.run_inline = False` gives each a thread, which costs more. For a
    coroutine function, use `on_thinking=` of `ChatKimiVertex`.

    Example:
        >>> handler = ThinkingCallbackHandler(thinking=lambda text: print(text, end=""))
        >>> model.invoke("Why is the sky blue?", config={"callbacks": [handler]})

    Args:
        thinking: Called with each piece of thinking.
        answer: Called with each piece of the answer.
    """

    run_inline = True
    """LangChain would use a thread for every piece of an asynchronous run."""

    def __init__(
        self,
        *,
        thinking: Callable[[str], Any] | None = None,
        answer: Callable[[str], Any] | None = None,
    ) -> None:
        super().__init__()
        self._thinking = thinking
        self._answer = answer
        self._runs: dict[UUID, _Run] = {}

    def on_thinking_start(self, **context: Unpack[RunContext]) -> None:
        """The model begins to think, or resumes thinking after a part of its answer."""

    def on_thinking_token(self, token: str, **context: Unpack[RunContext]) -> None:
        """A piece of thinking has arrived."""
        if self._thinking is not None:
            self._thinking(token)

    def on_thinking_end(self, thinking: str, **context: Unpack[RunContext]) -> None:
        """The answer or a tool call begins, or the turn is over; `thinking` is everything since the start."""

    def on_answer_token(self, token: str, **context: Unpack[RunContext]) -> None:
        """A piece of the answer has arrived."""
        if self._answer is not None:
            self._answer(token)

    # LangChain's hooks

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note what the start of a run says about it."""
        self._runs[run_id] = _Run(self, run_id, kwargs)

    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note what the start of a run says about it."""
        self._runs[run_id] = _Run(self, run_id, kwargs)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        """Take a chunk of `stream`, `invoke` or events v1 and v2."""
        run = self._run(run_id)
        if run.listens_to("chunk"):
            run.chunk(token, getattr(chunk, "message", None))

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Take a protocol event of v3."""
        run = self._run(run_id)
        if run.listens_to("event"):
            run.event(event)

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End the run's thinking; deliver the whole answer if nothing was streamed."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            message = _message(response) if run.source is None else None
            if message is not None:
                run.blocks(message)
            run.stop_thinking()

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the run's thinking."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            run.stop_thinking()

    def _run(self, run_id: UUID) -> _Run:
        if run_id not in self._runs:
            self._runs[run_id] = _Run(self, run_id, {})
        return self._runs[run_id]


class _Run:
    """One run: calls the hook that is due, from chunks or from protocol events.

    Some models fire `on_llm_new_token` and `on_stream_event` for the same piece. The kind that delivers first counts.
    """

    __slots__ = ("_context", "_handler", "_thinking", "source")

    def __init__(self, handler: ThinkingCallbackHandler, run_id: UUID, details: Mapping[str, Any]) -> None:
        self._handler = handler
        self._context: RunContext = {
            "run_id": run_id,
            "parent_run_id": details.get("parent_run_id"),
            "tags": list(details.get("tags") or ()),
            "metadata": dict(details.get("metadata") or {}),
        }
        self._thinking: list[str] | None = None
        self.source: Literal["chunk", "event"] | None = None

    def listens_to(self, source: Literal["chunk", "event"]) -> bool:
        if self.source is None:
            self.source = source
        return self.source == source

    def chunk(self, token: Any, message: Any) -> None:
        # Most pieces are chunks of this model, which need not be made into blocks to be read.
        if isinstance(message, AIMessageChunk) and is_prose(message):
            self._think(message.additional_kwargs.get(THINKING_KEY))
            self._say(str(message.content))
        elif isinstance(message, BaseMessage):
            self.blocks(message)
        elif isinstance(token, str):
            self._say(token)

    def blocks(self, message: BaseMessage) -> None:
        for block in message.content_blocks:
            if block["type"] == "reasoning":
                self._think(block.get("reasoning"))
            elif block["type"] == "text":
                self._say(block["text"])
            else:
                self.stop_thinking()

    def event(self, event: Mapping[str, Any]) -> None:
        kind = event.get("event")
        if kind == "content-block-delta":
            delta = event.get("delta") or {}
            if delta.get("type") == "reasoning-delta":
                self._think(delta.get("reasoning"))
            elif delta.get("type") == "text-delta":
                self._say(delta.get("text"))
            return
        thinks = (event.get("content") or {}).get("type") == "reasoning"
        if (kind == "content-block-finish" and thinks) or (kind == "content-block-start" and not thinks):
            self.stop_thinking()

    def _think(self, text: str | None) -> None:
        if not text:
            return
        if self._thinking is None:
            self._thinking = []
            self._handler.on_thinking_start(**self._context)
        self._thinking.append(text)
        self._handler.on_thinking_token(text, **self._context)

    def _say(self, text: str | None) -> None:
        if text:
            self.stop_thinking()
            self._handler.on_answer_token(text, **self._context)

    def stop_thinking(self) -> None:
        if self._thinking is not None:
            thinking, self._thinking = "".join(self._thinking), None
            self._handler.on_thinking_end(thinking, **self._context)


def _message(response: Any) -> AIMessage | None:
    if isinstance(response, LLMResult) and response.generations and response.generations[0]:
        generation = response.generations[0][0]
        if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
            return generation.message
    return None
