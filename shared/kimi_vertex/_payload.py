"""Builds the body of a request: what Kimi's servers need, and nothing that the caller did not set.

Never changes an object of the caller's.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ._endpoint import Target
from ._history import order, read_messages
from ._models import ModelInfo
from ._options import CallOptions, Settings, ToolChoice
from ._schema import moonshot_tools
from ._toolcalls import DeclaredTools, History
from .errors import InvalidRequestError
from .messages import Message, MessageLike

__all__ = ["Payload", "build", "without_forced_choice"]

logger = logging.getLogger("kimi_vertex.payload")

_FIELDS: Final = (
    "temperature",
    "top_p",
    "max_tokens",
    "parallel_tool_calls",
    "response_format",
    "seed",
    "chat_template_kwargs",
    "reasoning_effort",
    "thinking",
)
# Kimi's template prints the field whether or not it has text; a blank keeps the turn's shape without words.
_PLACEHOLDER: Final = " "
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Payload:
    """A request's body, with what its answer has to be read by."""

    body: dict[str, Any]
    tools: DeclaredTools
    history: History
    implicit_thinking: bool
    model: str | None

    @property
    def forced_choice(self) -> bool:
        """Whether a tool call is demanded, which a thinking model's server may refuse."""
        choice = self.body.get("tool_choice")
        return choice == "required" or isinstance(choice, Mapping)

    def encoded(self) -> bytes:
        """The body as JSON.

        Raises:
            InvalidRequestError: It holds something that JSON cannot.
        """
        try:
            text = json.dumps(self.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"The request cannot be written as JSON: {error}.") from None
        try:
            return text.encode()
        except UnicodeEncodeError:
            return _LONE_SURROGATE.sub("\ufffd", text).encode()


def build(
    messages: Iterable[MessageLike] | str,
    options: CallOptions,
    *,
    settings: Settings,
    target: Target,
    info: ModelInfo,
    model: str | None,
    stream: bool,
) -> Payload:
    """Build the body of one call.

    Args:
        messages: The conversation, in the caller's ids.
        options: The client's defaults and the call's own options, merged.
        settings: How to treat thinking and schemas.
        target: Where the request goes.
        info: What is known of the model.
        model: The model's name for the body; `None` leaves it out.
        stream: Whether to ask for a stream, with its usage.

    Raises:
        InvalidRequestError: Something in it cannot be sent.
    """
    read = read_messages(messages)
    thinks = info.thinking != "never" and not _thinking_disabled(options)
    body: dict[str, Any] = {} if model is None else {"model": model}
    writer = _MessageWriter(settings, info, both_fields=_is_self_deployed(target), thinks=thinks)
    body["messages"] = [wire for m in order(read) if (wire := writer.write(m)) is not None]
    if not body["messages"]:
        raise InvalidRequestError("All messages are empty. Pass at least one message with text.")
    for name in _FIELDS:
        value = options.get(name)
        if value is not None:
            body[name] = value
    stop = options.get("stop")
    if stop:
        body["stop"] = stop if isinstance(stop, str) else list(stop)
    tools = options.get("tools")
    if tools:
        body["tools"] = moonshot_tools(tools) if settings.normalize_tool_schemas else list(tools)
        choice = _tool_choice(options.get("tool_choice"), tools)
        if choice is not None:
            body["tool_choice"] = choice
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    body.update(options.get("extra_body") or {})
    calls = [call for message in read for call in message.tool_calls]
    implicit = settings.implicit_thinking
    return Payload(
        body=body,
        tools=DeclaredTools.of(tools),
        history=History(frozenset(call.id for call in calls), len(calls)),
        implicit_thinking=thinks if implicit is None else implicit,
        model=model,
    )


def without_forced_choice(payload: Payload) -> Payload:
    """The same request with the choice left to the model, and a system message that asks for the call instead."""
    choice = payload.body.get("tool_choice")
    named = choice.get("function", {}).get("name") if isinstance(choice, Mapping) else None
    what = f"the tool `{named}`" if named else "one of the tools"
    nudge = {"role": "system", "content": f"Answer only with a call of {what}, not with text."}
    body = {**payload.body, "tool_choice": "auto", "messages": [*payload.body["messages"], nudge]}
    return replace(payload, body=body)


class _MessageWriter:
    """Writes messages as the wire has them, under one set of rules."""

    def __init__(self, settings: Settings, info: ModelInfo, *, both_fields: bool, thinks: bool) -> None:
        self._settings = settings
        self._info = info
        self._fields = ("reasoning_content", "reasoning") if both_fields else ("reasoning_content",)
        self._thinks = thinks
        self._warned = False

    def write(self, message: Message) -> dict[str, Any] | None:
        """One message; `None` for an assistant turn without content, which strict servers refuse."""
        content = self._content(message)
        if message.role == "assistant":
            return self._assistant(message, content)
        wire: dict[str, Any] = {"role": message.role, "content": content}
        if message.role == "tool":
            wire["tool_call_id"] = message.tool_call_id
            wire["name"] = message.name
        return wire

    def _assistant(self, message: Message, content: Any) -> dict[str, Any] | None:
        blank = not content or (isinstance(content, str) and not content.strip())
        if blank and not message.tool_calls:
            return None
        wire: dict[str, Any] = {"role": "assistant", "content": "" if blank else content}
        thinking = self._thinking(message)
        if thinking is not None:
            for name in self._fields:
                wire[name] = thinking
        if message.tool_calls:
            wire["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ]
        return wire

    def _thinking(self, message: Message) -> str | None:
        policy = self._settings.replay_thinking
        if policy == "none":
            return None
        if not message.tool_calls:
            return message.thinking or None if policy == "all" else None
        if message.thinking is not None or not self._thinks:
            return message.thinking
        missing = self._settings.missing_thinking
        if missing == "raise":
            raise InvalidRequestError(
                f"The assistant turn that calls {message.tool_calls[0].name!r} has lost its thinking, and "
                'missing_thinking="raise" is set. Keep the thinking with the message, or use "placeholder".'
            )
        if missing == "omit":
            return None
        if not self._warned:
            self._warned = True
            logger.info("Tool-call turns without thinking are sent with a blank in its place.")
        return _PLACEHOLDER

    def _content(self, message: Message) -> Any:
        content = message.content
        if content is None:
            return ""
        if isinstance(content, str):
            return content
        parts = [part for part in (self._part(message, p) for p in content) if part is not None]
        if all(part["type"] == "text" for part in parts):
            # Early Kimi templates cannot print a list.
            return "".join(part["text"] for part in parts)
        return parts

    def _part(self, message: Message, part: Any) -> dict[str, Any] | None:
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise InvalidRequestError(
                f"A {message.role} message has a content part of an unknown form: {type(part).__name__}. Expected "
                '{"type": "text", "text": ...} or {"type": "image_url", "image_url": {"url": ...}}.'
            )
        kind = part["type"]
        if kind == "text":
            return dict(part) if part.get("text") else None
        if kind not in ("image_url", "video_url"):
            raise InvalidRequestError(
                f"Kimi takes text and images; a {message.role} message has a {kind!r} part."
            )
        if not self._info.images:
            raise InvalidRequestError(
                f"The model {self._info.id!r} reads only text, but a {message.role} message has a part of type "
                f"{kind!r}. The service would ignore it and guess. Send text, or use a model that takes images "
                "(Kimi K2.5 or later)."
            )
        return dict(part)


def _is_self_deployed(target: Target) -> bool:
    """Whether the server may be a vLLM that reads only `reasoning` (vllm-project/vllm#38488)."""
    if target.kind == "base_url":
        return not (target.base_url or "").endswith("/endpoints/openapi")
    return target.kind == "endpoint"


def _thinking_disabled(options: CallOptions) -> bool:
    extra = options.get("extra_body") or {}
    template = options.get("chat_template_kwargs") or extra.get("chat_template_kwargs") or {}
    thinking = options.get("thinking") or extra.get("thinking") or {}
    return (
        template.get("thinking") is False
        or template.get("enable_thinking") is False
        or (isinstance(thinking, Mapping) and thinking.get("type") == "disabled")
    )


def _tool_choice(choice: ToolChoice, tools: Sequence[Mapping[str, Any]]) -> Any:
    """The wire's form of a tool choice; `None` to leave it to the server."""
    if choice is None or choice is False:
        return None
    if choice is True or choice == "any":
        return "required"
    if isinstance(choice, Mapping):
        return dict(choice)
    if choice in ("auto", "none", "required"):
        return choice
    names = sorted(DeclaredTools.of(tools).names)
    if choice not in names:
        raise InvalidRequestError(
            f"tool_choice names {choice!r}, which is none of the tools: {', '.join(names)}."
        )
    return {"type": "function", "function": {"name": choice}}
