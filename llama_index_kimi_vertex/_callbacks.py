"""LlamaIndex's callbacks around a stream, without the work that nobody sees.

The framework's decorators make an in-progress event for each response, whether anybody listens or not. Here the
framework's own generator still does everything that it does; it is only spared the responses that nobody watches.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from contextvars import ContextVar
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
        current: ContextVar[_Relay] = ContextVar("current")

        def start(_self: Any, *args: Any, **kwargs: Any) -> Any:
            relay = current.get()
            relay.source = method(_self, *args, **kwargs)
            return relay.shown()

        hooked = hook()(start)

        def wrapper(_self: Any, *args: Any, **kwargs: Any) -> Any:
            relay = _Relay()
            token = current.set(relay)
            try:
                return relay.responses(hooked(_self, *args, **kwargs))
            finally:
                current.reset(token)

        return update_wrapper(wrapper, hook()(method))

    return wrap


def astream_callback(hook: Hook) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a coroutine method that returns an asynchronous generator, as `hook()` does."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        current: ContextVar[_AsyncRelay] = ContextVar("current")

        async def start(_self: Any, *args: Any, **kwargs: Any) -> Any:
            relay = current.get()
            relay.source = await method(_self, *args, **kwargs)
            return relay.shown()

        hooked = hook()(start)

        async def wrapper(_self: Any, *args: Any, **kwargs: Any) -> Any:
            relay = _AsyncRelay()
            token = current.set(relay)
            try:
                return relay.responses(await hooked(_self, *args, **kwargs))
            finally:
                current.reset(token)

        return update_wrapper(wrapper, hook()(method))

    return wrap


class _Inlet:
    """Where the framework's generator takes its responses from: only those that it has to see.

    They are those that somebody watches, and the last, which it reports at the end. An exception, and the end, it
    sees in any case.
    """

    __slots__ = ("item", "source")

    source: Any
    """The stream itself."""
    item: Any
    """What comes next: a response, an exception, or `None` for the end."""

    def take(self) -> Any:
        """What comes next; raises if that is an exception."""
        if isinstance(self.item, BaseException):
            raise self.item
        return self.item


def _must_see(response: object) -> bool:
    # The last one is not lazy.
    return not isinstance(response, Lazy) or somebody_listens(dispatcher)


class _Relay(_Inlet):
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
                    if _must_see(response):
                        self.item = response
                        yield next(reported)
                    else:
                        yield response
            except BaseException as error:
                self.item = error
                next(reported, None)
                raise
            finally:
                self.item = None  # an exception's traceback holds this frame
            next(reported, None)


class _AsyncRelay(_Inlet):
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
                    if _must_see(response):
                        self.item = response
                        yield await anext(reported)
                    else:
                        yield response
            except BaseException as error:
                self.item = error
                await anext(reported, None)
                raise
            finally:
                self.item = None  # an exception's traceback holds this frame
            await anext(reported, None)
