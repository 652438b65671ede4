"""Where thinking leaves the adapter: the user's `on_thinking` and the instrumentation dispatcher.

Nothing that a listener does may break the call.
"""

from __future__ import annotations

from typing import Self

from llama_index_instrumentation import get_dispatcher

from kimi_vertex import ThinkingCallback, ThinkingListener

from ._callbacks import has_handler
from .events import ThinkingDeltaEvent

__all__ = ["ThinkingOut"]

_dispatcher = get_dispatcher(__name__)


class ThinkingOut:
    """Hands the thinking of one call to its listeners, in order. Close it when the call ends."""

    __slots__ = ("_listener", "_model")

    def __init__(self, callback: ThinkingCallback | None, model: str | None) -> None:
        self._listener = None if callback is None else ThinkingListener(callback, name="on_thinking")
        self._model = model

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()

    def emit(self, text: str) -> None:
        """Deliver one piece from a synchronous call."""
        if text:
            self._dispatch(text)
            if self._listener is not None:
                self._listener.notify(text)

    async def aemit(self, text: str) -> None:
        """Deliver one piece from an asynchronous call."""
        if text:
            self._dispatch(text)
            if self._listener is not None:
                await self._listener.anotify(text)

    def _dispatch(self, text: str) -> None:
        if has_handler(_dispatcher):
            _dispatcher.event(ThinkingDeltaEvent(delta=text, model=self._model))
