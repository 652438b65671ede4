"""LlamaIndex's callbacks around a stream, without the work that nobody sees.

The framework's decorators make an in-progress event for each response, whether anybody listens or not. Here the
framework's own generator still does everything that it does; it is only spared the responses that nobody watches.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from functools import update_wrapper
from typing import Any, TypeAlias

from llama_index.core.llms.callbacks import dispatcher
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers import NullEventHandler

from ._lazy import Lazy

__all__ = ["astream_callback", "somebody_listens", "stream_callback"]

Hook: TypeAlias = Callable[[], Callable[..., Any]]
"""`llm_chat_callback` or `llm_completion_callback`."""


def somebody_listens(dispatcher: Dispatcher) -> bool:
    """Whether an event of this dispatcher would reach a handler that does something."""
    while True:
        for handler in dispatcher.event_handlers:
            if type(handler) is not NullEventHandler:
                return True
        if not dispatcher.propagate:
            return False
        dispatcher = dispatcher.parent


def stream_callback(hook: Hook) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a method that returns a generator, as `hook()` does."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(_self: Any, *args: Any, **kwargs: Any) -> Any:
            relay = _Relay()

            def start(_self: Any, *args: Any, **kwargs: Any) -> Any:
                relay.source = method(_self, *args, **kwargs)
                return relay.shown()

            return relay.responses(hook()(start)(_self, *args, **kwargs))

        return update_wrapper(wrapper, hook()(method))

    return wrap


def astream_callback(hook: Hook) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a coroutine method that returns an asynchronous generator, as `hook()` does."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(_self: Any, *args: Any, **kwargs: Any) -> Any:
            relay = _AsyncRelay()

            async def start(_self: Any, *args: Any, **kwargs: Any) -> Any:
                relay.source = await method(_self, *args, **kwargs)
                return relay.shown()

            return relay.responses(await hook()(start)(_self, *args, **kwargs))

        return update_wrapper(wrapper, hook()(method))

    return wrap


class _Shown:
    """Which responses the framework's generator has to see, and what it is given next.

    It has to see the first, to be on its way when the stream fails or is closed; those that somebody watches; and
    the last, which it reports at the end. The last one is not lazy.
    """

    __slots__ = ("item", "source", "started")

    source: Any
    """The stream itself."""

    def __init__(self) -> None:
        self.started = False
        self.item: Any = None

    def must_see(self, response: object) -> bool:
        """Whether this response must go through the framework's generator."""
        return not self.started or not isinstance(response, Lazy) or somebody_listens(dispatcher)

    def take(self) -> Any:
        """What comes next; `None` at the end."""
        self.started = True
        if isinstance(self.item, BaseException):
            raise self.item
        return self.item


class _Relay(_Shown):
    __slots__ = ()

    def shown(self) -> Generator[Any, None, None]:
        """What the framework's generator reads."""
        while (response := self.take()) is not None:
            yield response

    def responses(self, reported: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """What the caller reads, given the framework's generator."""
        with closing(self.source), closing(reported):
            try:
                for response in self.source:
                    if self.must_see(response):
                        self.item = response
                        yield next(reported)
                    else:
                        yield response
            except BaseException as error:
                if self.started:
                    reported.throw(error)
                self.item = error
                next(reported)
                raise
            self.item = None
            next(reported, None)


class _AsyncRelay(_Shown):
    __slots__ = ()

    async def shown(self) -> AsyncGenerator[Any, None]:
        """What the framework's generator reads."""
        while (response := self.take()) is not None:
            yield response

    async def responses(self, reported: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """What the caller reads, given the framework's generator."""
        async with aclosing(self.source), aclosing(reported):
            try:
                async for response in self.source:
                    if self.must_see(response):
                        self.item = response
                        yield await anext(reported)
                    else:
                        yield response
            except BaseException as error:
                if self.started:
                    await reported.athrow(error)
                self.item = error
                await anext(reported)
                raise
            self.item = None
            await anext(reported, None)
