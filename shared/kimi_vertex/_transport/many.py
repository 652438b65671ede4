"""Many requests at a time: a bounded number of rows in work, answers as they come, and one event loop for all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
)
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeAlias

from kimi_vertex.completion import Completion
from kimi_vertex.errors import ConfigurationError, KimiVertexError
from kimi_vertex.messages import MessageLike

__all__ = ["Answered", "Row", "acomplete_many", "complete_many"]

Messages: TypeAlias = Iterable[MessageLike] | str
Row: TypeAlias = tuple[Any, Messages] | tuple[Any, Messages, Mapping[str, Any]]
"""A key, a conversation, and perhaps options of its own."""
Answered: TypeAlias = tuple[Any, Completion | KimiVertexError]


Ask: TypeAlias = Callable[..., Awaitable[Completion]]


async def _answer(ask: Ask, row: Row) -> Answered:
    key, messages, *rest = row
    options: Any = rest[0] if rest else {}
    try:
        return key, await ask(messages, **options)
    except KimiVertexError as error:
        return key, error


async def _each(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncIterator[Row]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row


def _checked(concurrency: int) -> int:
    if not (type(concurrency) is int and concurrency >= 1):
        raise ConfigurationError(f"concurrency is {concurrency!r}; it must be a whole number, 1 or more.")
    return concurrency


async def acomplete_many(
    ask: Ask, rows: Iterable[Row] | AsyncIterable[Row], concurrency: int
) -> AsyncGenerator[Answered, None]:
    """See `KimiVertexClient.acomplete_many`."""
    # An answer keeps its place until it has been fetched, so memory does not grow with the rows.
    room = asyncio.Semaphore(_checked(concurrency))
    answers: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    running: set[asyncio.Task[Any]] = set()

    def end(task: asyncio.Task[Any]) -> None:
        running.discard(task)
        answers.put_nowait(task)

    async def take() -> None:
        source = _each(rows)
        while True:
            await room.acquire()
            row = await anext(source, None)
            if row is None:
                return
            task = asyncio.create_task(_answer(ask, row))
            running.add(task)
            task.add_done_callback(end)

    taking = asyncio.create_task(take())
    running.add(taking)
    taking.add_done_callback(end)
    try:
        while running or not answers.empty():
            task = await answers.get()
            answer = await task
            if task is not taking:
                yield answer
                room.release()
    finally:
        left = list(running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class _Loop(threading.Thread):
    """An event loop in a thread of its own; what still runs on it at the end is cancelled, and its connections closed."""

    def __init__(self) -> None:
        super().__init__(name="kimi-vertex-many", daemon=True)
        self._begun = threading.Event()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._begun.set()
        await self._over.wait()

    def __enter__(self) -> asyncio.AbstractEventLoop:
        self.start()
        self._begun.wait()
        return self.loop

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._over.set)
        self.join()


def complete_many(ask: Ask, rows: Iterable[Row], concurrency: int) -> Generator[Answered, None, None]:
    """See `KimiVertexClient.complete_many`."""
    most, running = _checked(concurrency), 0
    answers: SimpleQueue[Future[Answered]] = SimpleQueue()
    source, ended = iter(rows), False
    with _Loop() as loop:
        while running or not ended:
            if running < most and not ended:
                row = next(source, None)
                if row is None:
                    ended = True
                else:
                    running += 1
                    asyncio.run_coroutine_threadsafe(_answer(ask, row), loop).add_done_callback(answers.put)
            if answers.empty() and running < most and not ended:
                continue
            if running:
                answer = answers.get()
                running -= 1
                yield answer.result()
