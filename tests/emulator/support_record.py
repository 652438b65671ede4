"""What the tests of the recorder and of its https twin share: secrets, a tool, and a call."""

from __future__ import annotations

import signal
import subprocess
import sys

from kimi_vertex import Completion, KimiVertexClient

TOKEN = "ya29.a0-very-secret-token"
PROJECT = "acme-secret-42"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def ask(kimi: KimiVertexClient, words: str, stream: bool) -> Completion:
    """Ask in one of the two ways; the answer as a whole."""
    if not stream:
        return kimi.complete(words, tools=[TOOL])
    with kimi.stream(words, tools=[TOOL]) as events:
        for _ in events:
            pass
        return events.completion


def recorded_by_command(*options: str) -> str:
    """Record one answer, "Hello!", with the command; return its log."""
    command = [sys.executable, "-m", "kimi_vertex_emulator", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip().partition("=")[2]
        with KimiVertexClient(base_url=base_url, access_token=TOKEN) as kimi:
            assert kimi.complete("Hi").text == "Hello!"
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    return log
