"""What the tests of the recorder and of its https twin share: secrets, a tool, and a call."""

from __future__ import annotations

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
