"""Streams as callers hold them: iterators of events that free their connection when they are left."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Self

from ._exchange.state import Exchange
from .completion import Completion
from .events import Event

__all__ = ["AsyncEventStream", "EventStream"]


class _Stream:
    """What both kinds of stream share."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def completion(self) -> Completion:
        """The answer as far as it has arrived; whole once the stream has ended."""
        return self._exchange.completion


class EventStream(_Stream, Iterator[Event]):
    """The events of one turn, as they arrive. Leaving it early closes the connection.

    Use it as an iterator, or in a `with` block that may be left early.
    """

    def __init__(self, exchange: Exchange, events: Generator[Event, None, None]) -> None:
        super().__init__(exchange)
        self._events = events

    def __iter__(self) -> Iterator[Event]:  # noqa: PYI034  # the generator itself is faster than a detour
        return self._events

    def __next__(self) -> Event:
        return next(self._events)

    def close(self) -> None:
        """Stop reading and free the connection at once. Only the thread that reads may call it."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncEventStream(_Stream, AsyncIterator[Event]):
    """The asynchronous twin of `EventStream`."""

    def __init__(self, exchange: Exchange, events: AsyncGenerator[Event, None]) -> None:
        super().__init__(exchange)
        self._events = events

    def __aiter__(self) -> AsyncIterator[Event]:  # noqa: PYI034  # see EventStream
        return self._events

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def aclose(self) -> None:
        """Stop reading and free the connection at once."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
