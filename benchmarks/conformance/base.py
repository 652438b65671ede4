"""What every checked client can be asked to do, and what of its answer a rule looks at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

__all__ = ["MODEL", "QUESTION", "TOOL", "Call", "Peer", "Reply", "arguments"]

MODEL: Final = "moonshotai/kimi-k2-thinking-maas"
QUESTION: Final = "When does the west gate open?"
TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "opening_time",
        "description": "When a gate opens.",
        "parameters": {"type": "object", "properties": {"gate": {"type": "string"}}, "required": ["gate"]},
    },
}


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the client hands to the application for execution."""

    id: str
    name: str
    arguments: Mapping[str, Any] | None
    """`None`: the client hands on text, and that text is no JSON object."""


@dataclass(slots=True)
class Reply:
    """An answer as the application sees it; filled as it arrives, so that a broken one keeps its beginning."""

    thinking: str = ""
    raw_thinking: str = ""
    """Thinking that is only to be had as a field which the client neither declares nor documents."""
    text: str = ""
    calls: Sequence[Call] = ()
    usage: int | None = None
    """Tokens in all, as the client reports them."""
    message: Any = None
    """What the application appends to its history."""
    error: Exception | None = field(default=None)


class Peer:
    """A client with its defaults, apart from where the server is and how long to wait."""

    package: ClassVar[str]
    """The distribution whose version is reported."""
    ours: ClassVar[bool] = False
    usage_option: ClassVar[bool] = False
    """Whether there is a setting that asks for usage in streams, beyond the defaults."""
    seconds: ClassVar[float] = 8.0

    def __init__(self, base_url: str, *, usage: bool = False) -> None:
        """Make the client.

        Args:
            base_url: What stands before `/chat/completions`.
            usage: Use the setting that asks for usage in streams.

        Raises:
            ImportError: It is not installed.
        """
        raise NotImplementedError

    def user(self, text: str, image: str | None = None) -> Any:
        """Make a message of the user, with an image by its URL if there is one."""
        raise NotImplementedError

    def called(self, call_id: str, thinking: str) -> Any:
        """Make the assistant message of another model's tool call, as this client's users hold it."""
        raise NotImplementedError

    def result(self, call_id: str, text: str) -> Any:
        """Make the message with a tool's result."""
        raise NotImplementedError

    def ask(
        self, history: Sequence[Any], *, tools: bool = False, force: bool = False, stream: bool = True
    ) -> Reply:
        """Ask, and collect what an application gets; whatever is raised is in the reply."""
        reply = Reply()
        try:
            self.fill(reply, history, tools=tools or force, force=force, stream=stream)
        except Exception as error:  # noqa: BLE001 - whatever a client raises is a finding
            reply.error = error
        return reply

    def fill(self, reply: Reply, history: Sequence[Any], *, tools: bool, force: bool, stream: bool) -> None:
        """Ask, and fill the reply as the answer arrives."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what this client holds open."""


def arguments(text: str | None) -> dict[str, Any] | None:
    """Arguments as an application reads them, `None` if it cannot."""
    try:
        read = json.loads(text or "")
    except ValueError:
        return None
    return read if isinstance(read, dict) else None
