"""Imports slow packages where that disturbs no event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, TypeVar

from kimi_vertex._auth.imports import IMPORTING

__all__ = ["ON_LOOPS", "aside"]

T = TypeVar("T")


def aside(load: Callable[[], object]) -> None:
    """Import now; on an event loop, in a thread that nothing waits for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        load()
    else:
        threading.Thread(target=load, name="kimi-vertex-import", daemon=True).start()


class _OnLoops:
    """What the first request on an event loop imports, a hundred modules of httpx and its own."""

    loaded = False

    def _load(self) -> None:
        with IMPORTING:
            from . import drivers  # noqa: F401, PLC0415  # httpx is loaded by the first request
            from .clients import load_late  # noqa: PLC0415

            load_late()
            load_late(on_loop=True)
        self.loaded = True

    async def then(self, make: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        """Import in a thread, then make a generator and give what it gives."""
        await asyncio.to_thread(self._load)
        async with aclosing(make()) as items:
            async for item in items:
                yield item


ON_LOOPS: Final = _OnLoops()
