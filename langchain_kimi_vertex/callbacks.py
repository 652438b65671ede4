"""Callbacks for the tokens of the model's thinking, and of its answer, on every one of LangChain's paths.

`ThinkingCallbackHandler` is a callback handler like any other (`config={"callbacks": [...]}`);
`on_thinking=` of `ChatKimiVertex` is the short form. Neither can break a call.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

from langchain_kimi_vertex._thinking_runs import Action, ThinkingRuns

__all__ = ["AsyncThinkingCallbackHandler", "ThinkingCallbackHandler"]

_logger = logging.getLogger(__name__)


class _Accounting(BaseCallbackHandler):
    """Feeds both kinds of callbacks, of chunks and of protocol events, into one account per run."""

    run_inline = True
    """LangChain would use a thread, or a task, for every piece of an asynchronous call."""

    def __init__(self) -> None:
        super().__init__()
        self._runs = ThinkingRuns()


class ThinkingCallbackHandler(_Accounting):
    """Receives the model's thinking, piece by piece, and then its answer.

    Subclass it and override what you need, or pass functions. Works with `invoke` (for which `ChatKimiVertex`
    then streams behind the scenes), `stream`, `astream_events` and LangGraph, sync and async, and with any other
    model that has standard `reasoning` blocks. One handler may serve many runs at a time; tell them apart by
    `run_id`. An exception in a hook is logged and does not disturb the call. In asynchronous calls the hooks run on
    the event loop, so they must not block; `handler.run_inline = False` gives each a thread, which costs more.

    Example:
        >>> handler = ThinkingCallbackHandler(thinking=lambda text: print(text, end=""))
        >>> model.invoke("Why is the sky blue?", config={"callbacks": [handler]})

    Args:
        thinking: Called with each piece of thinking.
        answer: Called with each piece of the answer.
    """

    def __init__(
        self,
        *,
        thinking: Callable[[str], Any] | None = None,
        answer: Callable[[str], Any] | None = None,
    ) -> None:
        super().__init__()
        self._thinking = thinking
        self._answer = answer

    def on_thinking_start(
        self, *, run_id: UUID, parent_run_id: UUID | None, tags: list[str], metadata: dict[str, Any]
    ) -> None:
        """The model begins to think, or resumes thinking after a part of its answer."""

    def on_thinking_token(
        self,
        token: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: list[str],
        metadata: dict[str, Any],
    ) -> None:
        """A piece of thinking has arrived."""
        if self._thinking is not None:
            self._thinking(token)

    def on_thinking_end(
        self,
        thinking: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: list[str],
        metadata: dict[str, Any],
    ) -> None:
        """The answer or a tool call begins, or the call is over; `thinking` is what was thought since the start."""

    def on_answer_token(
        self,
        token: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: list[str],
        metadata: dict[str, Any],
    ) -> None:
        """A piece of the answer has arrived."""
        if self._answer is not None:
            self._answer(token)

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            getattr(self, action.hook)(*action.arguments, **action.context)

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Open the account of a run."""
        self._runs.begin(run_id, kwargs)

    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Open the account of a run."""
        self._runs.begin(run_id, kwargs)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        """Take a chunk of `stream`, `invoke` or events v1 and v2."""
        self._act(self._runs.chunk(run_id, token, chunk))

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Take a protocol event of v3."""
        self._act(self._runs.event(run_id, event))

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Close the account; deliver the whole if nothing was streamed."""
        self._act(self._runs.end(run_id, response))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Close the account."""
        self._act(self._runs.end(run_id, None))


class AsyncThinkingCallbackHandler(_Accounting, AsyncCallbackHandler):
    """`ThinkingCallbackHandler` with coroutine hooks, for `ainvoke`, `astream` and the like.

    Args:
        thinking: Coroutine function called with each piece of thinking.
        answer: Coroutine function called with each piece of the answer.
    """

    def __init__(
        self,
        *,
        thinking: Callable[[str], Awaitable[Any]] | None = None,
        answer: Callable[[str], Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__()
        self._thinking = thinking
        self._answer = answer

    async def on_thinking_start(
        self, *, run_id: UUID, parent_run_id: UUID | None, tags: list[str], metadata: dict[str, Any]
    ) -> None:
        """The model begins to think, or resumes thinking after a part of its answer."""

    async def on_thinking_token(
        self,
        token: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: list[str],
        metadata: dict[str, Any],
    ) -> None:
        """A piece of thinking has arrived."""
        if self._thinking is not None:
            await self._thinking(token)

    async def on_thinking_end(
        self,
        thinking: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: list[str],
        metadata: dict[str, Any],
    ) -> None:
        """The answer or a tool call begins, or the call is over; `thinking` is what was thought since the start."""

    async def on_answer_token(
        self,
        token: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None,
        tags: list[str],
        metadata: dict[str, Any],
    ) -> None:
        """A piece of the answer has arrived."""
        if self._answer is not None:
            await self._answer(token)

    async def _act(self, actions: list[Action]) -> None:
        for action in actions:
            await getattr(self, action.hook)(*action.arguments, **action.context)

    async def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Open the account of a run."""
        self._runs.begin(run_id, kwargs)

    async def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Open the account of a run."""
        self._runs.begin(run_id, kwargs)

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        """Take a chunk of `astream`, `ainvoke` or events v1 and v2."""
        await self._act(self._runs.chunk(run_id, token, chunk))

    async def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Take a protocol event of v3."""
        await self._act(self._runs.event(run_id, event))

    async def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Close the account; deliver the whole if nothing was streamed."""
        await self._act(self._runs.end(run_id, response))

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Close the account."""
        await self._act(self._runs.end(run_id, None))
