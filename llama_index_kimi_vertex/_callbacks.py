"""LlamaIndex's own callbacks around a stream, where they would reach a handler.

The framework's decorators make an event for each response even if no handler receives it, which costs as much as the
response itself. Without a handler and a rate limiter they do nothing that can be seen, so the method is called directly.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from functools import update_wrapper
from typing import Any, TypeVar, cast

from llama_index.core.llms import LLM
from llama_index.core.llms.callbacks import dispatcher
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers import NullEventHandler

__all__ = ["has_handler", "where_handled"]

MethodT = TypeVar("MethodT", bound=Callable[..., Any])


def has_handler(dispatcher: Dispatcher) -> bool:
    """Whether an event of this dispatcher would reach a handler that does something with it."""
    while True:
        for handler in dispatcher.event_handlers:
            if type(handler) is not NullEventHandler:
                return True
        if not dispatcher.propagate:
            return False
        dispatcher = dispatcher.parent


def where_handled(hook: Callable[[Callable[..., Any]], Any]) -> Callable[[MethodT], MethodT]:
    """Decorate a streaming method as `hook` does, but only for requests that begin with a handler to call back."""

    def wrap(method: MethodT) -> MethodT:
        def call(_self: LLM, *args: Any, **kwargs: Any) -> Any:
            if not _is_handled(_self):
                return method(_self, *args, **kwargs)
            sources: list[Any] = []

            def begin(*args: Any, **kwargs: Any) -> Any:
                sources.append(method(*args, **kwargs))
                return sources[0]

            return _closed_together(hook(begin)(_self, *args, **kwargs), sources[0])

        async def acall(_self: LLM, *args: Any, **kwargs: Any) -> Any:
            if not _is_handled(_self):
                return await method(_self, *args, **kwargs)
            sources: list[Any] = []

            async def begin(*args: Any, **kwargs: Any) -> Any:
                sources.append(await method(*args, **kwargs))
                return sources[0]

            return _aclosed_together(await hook(begin)(_self, *args, **kwargs), sources[0])

        wrapper = acall if inspect.iscoroutinefunction(method) else call
        return cast(MethodT, update_wrapper(wrapper, hook(method)))

    return wrap


def _is_handled(llm: LLM) -> bool:
    return llm.rate_limiter is not None or bool(llm.callback_manager.handlers) or has_handler(dispatcher)


def _closed_together(
    shown: Generator[Any, None, None], source: Generator[Any, None, None]
) -> Generator[Any, None, None]:
    """Close the stream with the framework's generator, which only drops it.

    A handler that keeps the exception of a stream left early would otherwise keep its connection open.
    """
    with closing(source):
        yield from shown


async def _aclosed_together(
    shown: AsyncGenerator[Any, None], source: AsyncGenerator[Any, None]
) -> AsyncGenerator[Any, None]:
    """The asynchronous twin of `_closed_together`."""
    async with aclosing(source), aclosing(shown):
        async for response in shown:
            try:
                yield response
            except Exception as error:  # noqa: BLE001 - what the reader throws in is the framework's to report
                await shown.athrow(error)
