"""LlamaIndex's own callbacks around a stream, where they would reach a handler.

The framework's decorators make an event for each response even if no handler receives it, which costs as much as the
response itself. Without a handler and a rate limiter they do nothing that can be seen, so the method is called directly.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
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


def where_handled(hook: Callable[[MethodT], Any]) -> Callable[[MethodT], MethodT]:
    """Decorate a method as `hook` does, but only for requests whose callbacks reach a handler when they begin."""

    def wrap(method: MethodT) -> MethodT:
        hooked = hook(method)

        def choose(llm: LLM) -> Callable[..., Any]:
            limited = llm.rate_limiter is not None
            return hooked if limited or llm.callback_manager.handlers or has_handler(dispatcher) else method

        def call(_self: LLM, *args: Any, **kwargs: Any) -> Any:
            return choose(_self)(_self, *args, **kwargs)

        async def acall(_self: LLM, *args: Any, **kwargs: Any) -> Any:
            return await choose(_self)(_self, *args, **kwargs)

        return cast(MethodT, update_wrapper(acall if inspect.iscoroutinefunction(method) else call, hooked))

    return wrap
