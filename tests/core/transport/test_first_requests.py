"""The first request of a process, where it is least expected: while the process forks, and without asyncio."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kimi_vertex import ConfigurationError, KimiVertexClient
from kimi_vertex_emulator import Emulator

FORKING = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore")
from kimi_vertex import KimiVertexClient
client = KimiVertexClient(base_url=sys.argv[1])
threads = [threading.Thread(target=client.complete, args=("Hi",)) for _ in range(4)]
for thread in threads:
    thread.start()
children = []
for _ in range(12):
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        signal.alarm(15)
        os._exit(not client.complete("Hi").text)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 12
for thread in threads:
    thread.join()
"""


@pytest.mark.timeout(180)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_in_the_middle_of_the_first_request(emulator: Emulator) -> None:
    """Children that are forked while threads make the first requests make theirs.

    Tried up to three times: a fork can still meet a lock of a library that is not ours to hold.
    """
    command = [sys.executable, "-c", FORKING, emulator.base_url]
    runs = (subprocess.run(command, capture_output=True, check=False).returncode for _ in range(3))
    assert any(status == 0 for status in runs)


def test_without_asyncio() -> None:
    """Under trio and the like, requests are refused in words that say what works there."""
    client = KimiVertexClient(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigurationError, match=r"trio\.to_thread"):
        client.acomplete("Hi").send(None)
    with pytest.raises(ConfigurationError, match="asyncio"):
        client.astream("Hi").__anext__().send(None)
    with pytest.raises(StopIteration):
        client.aclose().send(None)
