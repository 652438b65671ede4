"""Tells `on_thinking` what no request has told it: the answer came out of LangChain's cache, or must not be streamed."""

from __future__ import annotations

from langchain_core.outputs import ChatResult

from kimi_vertex import ThinkingCallback, ThinkingListener
from langchain_kimi_vertex._keys import THINKING_KEY

__all__ = ["Untold"]


class Untold:
    """Stands for a callback until a request tells it, and so knows whether one did."""

    def __init__(self, callback: ThinkingCallback | None) -> None:
        self._callback = callback
        self._begun = False

    def begin(self) -> ThinkingCallback | None:
        """The callback, for a request that tells it itself."""
        self._begun = True
        return self._callback

    def tell(self, result: ChatResult) -> None:
        """Tell all of the thinking at once, if no request has."""
        if self._callback is not None and (thinking := self._missed(result)):
            with ThinkingListener(self._callback) as listener:
                listener.notify(thinking)

    async def atell(self, result: ChatResult) -> None:
        """The asynchronous twin of `tell`."""
        if self._callback is not None and (thinking := self._missed(result)):
            await ThinkingListener(self._callback).anotify(thinking)

    def _missed(self, result: ChatResult) -> str:
        if self._begun:
            return ""
        pieces = [generation.message.additional_kwargs.get(THINKING_KEY) for generation in result.generations]
        return "".join(piece for piece in pieces if isinstance(piece, str))
