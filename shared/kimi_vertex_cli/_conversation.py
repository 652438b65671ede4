"""A conversation on the command line: questions, tools, and what each answer took."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.text import Text

from kimi_vertex import (
    Completion,
    KimiVertexError,
    Message,
    RequestStats,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    find_json_object,
)
from kimi_vertex_cli._console import GRAY, errors, output
from kimi_vertex_cli._screen import Thinking, make_screen
from kimi_vertex_cli._target import Target

__all__ = ["Conversation"]

_ROUNDS: Final = 8
"""How often a question's tools are run."""
_CLOCK: Final = {
    "type": "function",
    "function": {
        "name": "current_time",
        "description": "Date and time of day, now.",
        "parameters": {
            "type": "object",
            "properties": {
                "time_zone": {"type": "string", "description": "IANA name, such as Europe/Oslo; UTC without."}
            },
        },
    },
}


class Conversation:
    """Asks, shows, and keeps what was said."""

    def __init__(
        self,
        target: Target,
        *,
        tools: bool = False,
        thinking: Thinking = "fold",
        system: str | None = None,
        max_tokens: int | None = None,
        effort: str | None = None,
        quiet: bool = False,
    ) -> None:
        """Begin.

        Args:
            target: Whom to ask.
            tools: Whether the model may ask for the time.
            thinking: What becomes of the thinking.
            system: The system message.
            max_tokens: Limit of each answer.
            effort: How much to think.
            quiet: Whether to leave out the line with figures.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        self._screen = make_screen(thinking)
        self._errors = errors()
        self._quiet = quiet
        self._stats: list[RequestStats] = []
        self._options: dict[str, Any] = {"tools": [_CLOCK]} if tools else {}
        self._messages = [Message("system", system)] if system else []
        self._client = target.client(
            max_tokens=max_tokens,
            reasoning_effort=effort,
            on_request=self._stats.append,
            on_wait=lambda wait: self._screen.wait(str(wait)),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def run(self) -> None:
        """Ask what is typed, until the end of input."""
        import readline  # noqa: F401 - `input` edits lines with it

        if output().is_terminal:
            self._errors.print(Text("Ctrl-C stops an answer, Ctrl-D ends the conversation.", GRAY))
        while True:
            try:
                question = input("> ").strip()
            except (EOFError, KeyboardInterrupt):
                self._errors.print()
                return
            if not question:
                continue
            before = len(self._messages)
            try:
                self.ask(question)
            except (KeyboardInterrupt, KimiVertexError) as failure:
                # Half an answer, or calls without results, would spoil what follows.
                del self._messages[before:]
                why = "stopped" if isinstance(failure, KeyboardInterrupt) else f"error: {failure}"
                self._errors.print(Text(f"{why}\nThis question is forgotten.", "red"), soft_wrap=True)

    def ask(self, question: str) -> None:
        """Ask one question, run the tools that the model calls, show the answer.

        Raises:
            KimiVertexError: The request failed.
        """
        self._messages.append(Message("user", question))
        self._stats.clear()
        for _ in range(_ROUNDS):
            answer = self._answer()
            self._messages.append(answer.to_message())
            if not answer.tool_calls:
                break
            for call in answer.tool_calls:
                result = _run(call)
                self._screen.note(f"{call.name}({call.arguments}) -> {result}")
                self._messages.append(Message("tool", result, tool_call_id=call.id))
        self._sum_up()

    def _answer(self) -> Completion:
        screen = self._screen
        screen.wait("waiting for the first token")
        try:
            with self._client.stream(self._messages, **self._options) as stream:
                for event in stream:
                    if isinstance(event, ThinkingDelta):
                        screen.thinking(event.text)
                    elif isinstance(event, TextDelta):
                        screen.text(event.text)
                return stream.completion
        finally:
            screen.end()

    def _sum_up(self) -> None:
        if self._quiet:
            return
        usages = [stats.usage for stats in self._stats if stats.usage is not None]
        figures = [f"{sum(usage.completion_tokens for usage in usages):,} tokens"] if usages else []
        if thought := sum(usage.thinking_tokens or 0 for usage in usages):
            figures[0] += f" ({thought:,} of them thinking)"
        figures.append(f"{sum(stats.seconds for stats in self._stats):.1f} s")
        first = self._stats[0].seconds_to_first_event
        if first is not None:
            figures.append(f"first after {first:.2f} s")
        self._errors.print(Text(" · ".join(figures), GRAY))


def _run(call: ToolCall) -> str:
    """The result of a call: the time, or what is wrong with it."""
    zone = str((find_json_object(call.arguments) or {}).get("time_zone") or "UTC")
    if call.name != "current_time":
        return f"There is no tool {call.name}."
    try:
        return datetime.now(ZoneInfo(zone)).strftime(f"%A, %d %B %Y, %H:%M ({zone})")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"There is no time zone {zone}."
