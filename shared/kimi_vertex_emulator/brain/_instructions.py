"""What the brain takes from a request before it thinks: an instruction to call a tool, and not too much text."""

from __future__ import annotations

import re
from dataclasses import replace

from kimi_vertex_emulator._chat import ChatRequest, PastMessage

__all__ = ["obedient", "readable"]

_ONLY_A_CALL = re.compile(
    r"\bonly with a call of (?:the tool `(?P<name>[^`]+)`|one of the tools)", re.IGNORECASE
)
_MOST_READ = 60_000
_MOST_READ_IN_ALL = 120_000
_LEAST_READ = 2_000


def obedient(chat: ChatRequest) -> ChatRequest:
    """The request with a forced tool choice, if a system message after the user's last asks for nothing but a call."""
    if chat.tool_choice != "auto" or not chat.tools:
        return chat
    for message in reversed(chat.messages):
        if message.role == "user":
            break
        match = _ONLY_A_CALL.search(message.text) if message.role == "system" else None
        if match is not None:
            choice = "named" if match["name"] else "required"
            return replace(chat, tool_choice=choice, named_tool=match["name"])
    return chat


def readable(chat: ChatRequest) -> ChatRequest:
    """The request with the middle of very long messages left out: rules over words need no megabytes."""
    left = _MOST_READ_IN_ALL
    if sum(len(message.text) for message in chat.messages) <= _MOST_READ:
        return chat
    messages: list[PastMessage] = []
    # The newest messages matter most, so that they come first.
    for message in reversed(chat.messages):
        most = max(min(_MOST_READ, left), _LEAST_READ)
        half = most // 2
        text = message.text if len(message.text) <= most else f"{message.text[:half]}\n{message.text[-half:]}"
        left -= len(text)
        messages.append(replace(message, text=text))
    return replace(chat, messages=messages[::-1])
