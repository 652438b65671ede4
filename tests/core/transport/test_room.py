"""A process may open so many files, and each request needs one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kimi_vertex_emulator import Emulator, Turn

pytest.importorskip("resource", reason="Windows has no such limit")

SCRIPT = """
import asyncio, resource, socket, sys
from kimi_vertex import KimiVertexClient

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


async def main():
    client = KimiVertexClient(base_url=sys.argv[1], max_retries=0)
    answers = await asyncio.gather(*[client.acomplete("Hi") for _ in range(90)], return_exceptions=True)
    print(sum(not isinstance(answer, Exception) for answer in answers))
    await client.aclose()
    held = []
    try:
        while True:
            held.append(socket.socket())
    except OSError:
        pass
    for ask in (client.acomplete, lambda text: asyncio.to_thread(client.complete, text)):
        try:
            await ask("Hi")
        except Exception as error:
            print(error)


asyncio.run(main())
"""


def test_no_request_is_lost_for_want_of_files() -> None:
    """More requests at once than the process has room for wait for each other; where files are short, the error says so."""
    with Emulator() as emulator:
        emulator.on().always(Turn(text="Hello.", delay=0.05))
        command = [sys.executable, "-c", SCRIPT, emulator.base_url]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0] == "90"
    assert [line.partition(": ")[2][:39] for line in out[1:]] == [
        "this process may not open more files. R"
    ] * 2
