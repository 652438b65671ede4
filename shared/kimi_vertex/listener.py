"""`on_thinking`: tells a function or a coroutine function each piece of thinking, and never breaks the request.

May have to run an event loop, and so is not one of the modules that do no I/O.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, closing
from typing import Any, Self

from .events import Event, ThinkingDelta
from .options import ThinkingCallback

__all__ = ["ThinkingListener", "atell", "tell"]

logger = logging.getLogger("kimi_vertex")


class ThinkingListener:
    """Calls a callback with each piece of thinking of one request, in order.

    What the callback raises is logged, once for each request, and goes no further. Close the listener when the
    request is over.

    Args:
        callback: What to call. A coroutine function is awaited by `anotify`. `notify` runs it to its end before it
            returns; where the calling thread has a running event loop, which cannot be waited for, it becomes a
            task of that loop.
        name: What the user calls the callback, for the log.
    """

    __slots__ = ("_callback", "_failed", "_name", "_runner", "_tasks")

    def __init__(self, callback: Callable[[Any], Any], *, name: str = "on_thinking") -> None:
        self._callback = callback
        self._name = name
        self._failed = False
        self._runner: asyncio.Runner | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def notify(self, text: Any) -> None:
        """Pass on a piece from synchronous code."""
        try:
            outcome = self._callback(text)
            if inspect.isawaitable(outcome):
                self._drive(outcome)
        except Exception as error:  # noqa: BLE001  # whatever a callback raises
            self._report(error)

    async def anotify(self, text: str) -> None:
        """Pass on a piece from the event loop."""
        try:
            outcome = self._callback(text)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as error:  # noqa: BLE001  # whatever a callback raises
            self._report(error)

    def close(self) -> None:
        """Release the loop that a coroutine function needed, if any."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            runner.close()
        else:
            # The request began outside of a loop and was left inside of one, where a runner cannot run.
            runner.get_loop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drive(self, outcome: Awaitable[Any]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                # With a factory of its own, a runner leaves the thread's current loop alone.
                self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            self._runner.run(_finish(outcome), context=contextvars.copy_context())
            return
        task = loop.create_task(_finish(outcome))
        self._tasks.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._report(error)

    def _report(self, error: Exception) -> None:
        """Log the first failure; the following ones would only repeat it."""
        if not self._failed:
            self._failed = True
            logger.warning("%s raised %r; the request goes on.", self._name, error, exc_info=error)


async def _finish(outcome: Awaitable[Any]) -> None:
    await outcome


def tell(events: Generator[Event, None, None], callback: ThinkingCallback) -> Generator[Event, None, None]:
    """Pass on the events of one request, each piece of thinking after the callback has had it."""
    with closing(events), ThinkingListener(callback) as listener:
        for event in events:
            if isinstance(event, ThinkingDelta) and event.text:
                listener.notify(event.text)
            yield event


async def atell(
    events: AsyncGenerator[Event, None], callback: ThinkingCallback
) -> AsyncGenerator[Event, None]:
    """The asynchronous twin of `tell`."""
    async with aclosing(events):
        with ThinkingListener(callback) as listener:
            async for event in events:
                if isinstance(event, ThinkingDelta) and event.text:
                    await listener.anotify(event.text)
                yield event
