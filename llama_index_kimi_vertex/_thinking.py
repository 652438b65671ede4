"""Where thinking leaves the adapter: the user's `on_thinking` and the instrumentation dispatcher.

Nothing that a listener does may break the call.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeAlias

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers import NullEventHandler

from .events import ThinkingDeltaEvent

__all__ = ["OnThinking", "ThinkingOut"]

OnThinking: TypeAlias = Callable[[str], Any]
"""A function or coroutine function that takes the next piece of thinking."""

_logger = logging.getLogger(__name__)
_dispatcher = get_dispatcher(__name__)


def _somebody_listens() -> bool:
    dispatcher: Dispatcher | None = _dispatcher
    while dispatcher is not None:
        if any(type(handler) is not NullEventHandler for handler in dispatcher.event_handlers):
            return True
        dispatcher = dispatcher.parent if dispatcher.propagate else None
    return False


async def _finish(awaitable: Awaitable[Any]) -> None:
    await awaitable


class ThinkingOut:
    """Hands the thinking of one call to its listeners, in order. Close it when the call ends."""

    __slots__ = ("_callback", "_failed", "_model", "_runner", "_tasks")

    def __init__(self, callback: OnThinking | None, model: str | None) -> None:
        self._callback = callback
        self._model = model
        self._failed = False
        self._runner: asyncio.Runner | None = None
        self._tasks: set[asyncio.Future[None]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def emit(self, text: str) -> None:
        """Deliver one piece from a synchronous call.

        A coroutine function runs to its end before this returns; if the calling thread has a running event
        loop, which cannot be waited for, it becomes a task of that loop.
        """
        if not text:
            return
        self._dispatch(text)
        if self._callback is None:
            return
        try:
            result = self._callback(text)
            if inspect.isawaitable(result):
                self._drive(result)
        except Exception as error:  # noqa: BLE001 - whatever a listener raises
            self._report(error)

    async def aemit(self, text: str) -> None:
        """Deliver one piece from an asynchronous call; a coroutine function is awaited."""
        if not text:
            return
        self._dispatch(text)
        if self._callback is None:
            return
        try:
            result = self._callback(text)
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001 - whatever a listener raises
            self._report(error)

    def _dispatch(self, text: str) -> None:
        if _somebody_listens():
            _dispatcher.event(ThinkingDeltaEvent(delta=text, model=self._model))

    def _drive(self, awaitable: Awaitable[Any]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                # With a factory of its own, a runner leaves the thread's current loop alone.
                self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            self._runner.run(_finish(awaitable))
            return
        task = loop.create_task(_finish(awaitable))
        self._tasks.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._report(error)

    def _report(self, error: Exception) -> None:
        """Log the first failure of a call; the following ones would only repeat it."""
        if not self._failed:
            self._failed = True
            _logger.warning("on_thinking raised %r; the call goes on.", error, exc_info=error)
