"""The conversation as the core takes it: plain values, free of any framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Message", "MessageLike", "Role", "ToolCall"]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
"""Who speaks in a message."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of an assistant turn."""

    id: str
    name: str
    arguments: str
    """JSON text of an object; kept as text so that nothing is lost on the way back."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation."""

    role: Role
    content: str | Sequence[Mapping[str, Any]] | None = None
    """Text, or content parts in OpenAI's form: `{"type": "text", "text": ...}`, `{"type": "image_url", ...}`."""
    thinking: str | None = None
    """What the model thought before this assistant turn; `""` means it thought nothing.

    Kimi's servers want it back with every turn that calls tools.
    """
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str | None = None
    """For role `tool`: the id of the call that this is the result of."""
    name: str | None = None
    """For role `tool`: the tool's name. Not sent for other roles, where Kimi's template would print it as the role."""
    tools: Sequence[Mapping[str, Any]] = ()
    """For role `system`, without content: further tools in OpenAI's form, which the model may call from here on.

    What was sent before stays the same, so that the server's cache of it holds. For a model that does not know such
    messages, the tools go to the others of the request.
    """


MessageLike: TypeAlias = Message | Mapping[str, Any] | str
"""A `Message`, the same as a dict in OpenAI's wire form (with `reasoning_content`), or a user's text."""
