"""The first request of a process, which imports what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kimi_vertex_emulator import Emulator

_ON_A_LOOP = """
import asyncio, sys, threading
from kimi_vertex import KimiVertexClient
threads = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"httpx", "httpcore", "anyio"}:
            threads.append((threading.current_thread() is threading.main_thread(), name))
sys.meta_path.insert(0, Finder())
async def main():
    client = KimiVertexClient(base_url=sys.argv[1])
    if sys.argv[2] == "whole":
        assert (await client.acomplete("Hi")).text
    else:
        assert [event async for event in client.astream("Hi")]
asyncio.run(main())
on_the_loop = [name for is_main, name in threads if is_main]
assert threads
assert not on_the_loop, on_the_loop
"""


@pytest.mark.parametrize("method", ["whole", "stream"])
def test_imports_are_beside_the_event_loop(emulator: Emulator, method: str) -> None:
    """The HTTP client is imported in a thread, so that the event loop goes on with other things."""
    subprocess.run([sys.executable, "-c", _ON_A_LOOP, emulator.base_url, method], check=True)
