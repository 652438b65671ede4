"""One call of the chat model: LangChain's arguments as the core's, and who wants to hear the thinking."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from langchain_core.messages import BaseMessage

from kimi_vertex import Event, Message, RequestOptions, ThinkingCallback, ThinkingDelta, ThinkingListener
from langchain_kimi_vertex._messages import to_core_messages
from langchain_kimi_vertex._tools import format_tools, response_format, tool_choice_for
from langchain_kimi_vertex.callbacks import (
    AsyncThinkingCallbackHandler,
    ThinkingCallbackHandler,
)

__all__ = ["Call", "atold", "hears_thinking", "prepare", "told"]

_NOT_SENT: Final = ("stream", "stream_usage", "ls_structured_output_format", "structured_output_format")
"""What LangChain passes along for itself; usage is always asked for."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the core takes it."""

    messages: list[Message]
    options: RequestOptions
    model: str | None
    """The model that was asked for; what the server reports has precedence."""
    notifier: ThinkingListener | None

    def close(self) -> None:
        """Release what the notifier holds."""
        if self.notifier is not None:
            self.notifier.close()


def prepare(
    messages: Sequence[BaseMessage],
    defaults: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    model: str | None,
    callback: ThinkingCallback | None,
) -> Call:
    """Build a call.

    Args:
        messages: The conversation.
        defaults: The chat model's own settings, by the names of `RequestOptions`.
        overrides: The keyword arguments of this call. Names that `RequestOptions` does not know become fields of
            the request's body.
        model: The chat model's model, for a call that names none.
        callback: The chat model's `on_thinking`, for a call that has none.

    Raises:
        InvalidRequestError: A message or the tool choice cannot be sent.
    """
    given = {name: value for name, value in overrides.items() if name not in _NOT_SENT}
    callback = given.pop("on_thinking", None) or callback
    options = {name: value for name, value in defaults.items() if value is not None}
    extra = {name: given.pop(name) for name in list(given) if name not in RequestOptions.__annotations__}
    extra = {**(options.get("extra_body") or {}), **(given.pop("extra_body", None) or {}), **extra}
    options.update((name, value) for name, value in given.items() if value is not None or name in options)
    if extra:
        options["extra_body"] = extra
    if options.get("tools"):
        options["tools"] = format_tools(options["tools"])
    choice = tool_choice_for(options.pop("tool_choice", None), options.get("tools") or ())
    if choice is not None:
        options["tool_choice"] = choice
    if options.get("response_format") is not None:
        options["response_format"] = response_format(options["response_format"])
    return Call(
        messages=to_core_messages(messages),
        options=cast("RequestOptions", options),
        model=options.get("model") or model,
        notifier=ThinkingListener(callback) if callback is not None else None,
    )


def hears_thinking(handlers: Iterable[Any]) -> bool:
    """Whether a handler of this run waits for thinking, so that `invoke` must stream behind the scenes."""
    return any(isinstance(h, (ThinkingCallbackHandler, AsyncThinkingCallbackHandler)) for h in handlers)


def told(events: Iterator[Event], notifier: ThinkingListener | None) -> Iterator[Event]:
    """The events, each piece of thinking told to the call's listener first."""
    return events if notifier is None else _tell(events, notifier)


def _tell(events: Iterator[Event], notifier: ThinkingListener) -> Iterator[Event]:
    for event in events:
        if isinstance(event, ThinkingDelta) and event.text:
            notifier.notify(event.text)
        yield event


def atold(events: AsyncIterator[Event], notifier: ThinkingListener | None) -> AsyncIterator[Event]:
    """`told` for the event loop."""
    return events if notifier is None else _atell(events, notifier)


async def _atell(events: AsyncIterator[Event], notifier: ThinkingListener) -> AsyncIterator[Event]:
    async for event in events:
        if isinstance(event, ThinkingDelta) and event.text:
            await notifier.anotify(event.text)
        yield event
