"""Tells `on_thinking` the thinking of an answer that came out of LangChain's cache, for which there was no request."""

from __future__ import annotations

from typing import Self

from langchain_core.outputs import ChatResult

from kimi_vertex import ThinkingCallback
from langchain_kimi_vertex._keys import THINKING_KEY

__all__ = ["Uncached"]


class Uncached:
    """Stands for a callback until a request begins, and so knows whether one did."""

    def __init__(self, callback: ThinkingCallback) -> None:
        self.callback = callback
        self._begun = False

    @classmethod
    def of(cls, callback: ThinkingCallback | None) -> Self | None:
        """One for a callback, if there is one."""
        return None if callback is None else cls(callback)

    def begin(self) -> ThinkingCallback:
        """The callback, for a request that tells it itself."""
        self._begun = True
        return self.callback

    def missed(self, result: ChatResult) -> str:
        """The thinking that the callback was not told, because there was no request."""
        if self._begun:
            return ""
        pieces = [generation.message.additional_kwargs.get(THINKING_KEY) for generation in result.generations]
        return "".join(piece for piece in pieces if isinstance(piece, str))
