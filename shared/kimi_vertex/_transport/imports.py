"""Imports slow packages where that disturbs no event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["aside"]


def aside(load: Callable[[], object]) -> None:
    """Import now; on an event loop, in a thread that nothing waits for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        load()
    else:
        threading.Thread(target=load, name="kimi-vertex-import", daemon=True).start()
