"""Builds the body of a request: what Kimi's servers need, and nothing that the caller did not set.

Never changes an object of the caller's.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from kimi_vertex._json import encode
from kimi_vertex._target.target import Target
from kimi_vertex._text import shown
from kimi_vertex._tools import DeclaredTools, History, tool_name
from kimi_vertex._wire import THINKING_FIELDS
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message, MessageLike
from kimi_vertex.models import SAMPLING
from kimi_vertex.options import RequestOptions, Settings

from .breaking import Breaker
from .choice import allowed_tools, forbids_parallel_calls, forced_tools, tool_choice
from .declared import Declarations
from .order import Entry, order
from .parts import STAYING
from .reading import read_messages
from .rules import SWITCHED_OFF, Rules

__all__ = ["Payload", "build", "without_fixed_sampling", "without_forced_choice", "without_switch"]

logger = logging.getLogger("kimi_vertex.payload")


@dataclass(frozen=True, slots=True)
class Payload:
    """A request's body, with what its answer has to be read by."""

    body: dict[str, Any]
    tools: DeclaredTools
    history: History
    implicit_thinking: bool
    model: str | None
    conversation: tuple[Message, ...]
    """The messages as they were given."""
    writer: _MessageWriter
    own_messages: bool = True
    """Whether the body's messages were written here, and are not those of an `extra_body`."""
    forced: DeclaredTools | None = None
    """The tools of which one has to be called; still known when the choice has been left to the model."""
    as_instance: bool = False
    """Whether the body travels inside another, as the method `:predict` wants it."""

    @property
    def forced_choice(self) -> bool:
        """Whether a tool call is demanded, which a thinking model's server may refuse."""
        choice = self.body.get("tool_choice")
        return choice == "required" or isinstance(choice, Mapping)

    def continued(self, turn: Sequence[Message]) -> Payload:
        """The same request with an assistant turn and the results of all of its calls after the conversation.

        Raises:
            InvalidRequestError: The turn has lost its thinking, and that is not to be sent.
        """
        conversation = (*self.conversation, *turn)
        ordered = order(conversation, self.history.prefix)
        written = map(self.writer.write, ordered.entries[-len(turn) :])
        added = [wire for wire in written if wire is not None]
        body = {**self.body, "messages": [*self.body["messages"], *added]}
        return replace(self, body=body, conversation=conversation, history=ordered.history)

    def with_thinking_field(self, name: str) -> Payload:
        """The same request with all thinking in one field, the one that the server reads."""
        written = [_with_thinking_in(name, message) for message in self._own()]
        writer = copy.copy(self.writer)
        writer.fields = (name,)
        return replace(self, body={**self.body, "messages": written or self.body["messages"]}, writer=writer)

    def with_counts(self) -> Payload:
        """The same request with the counts in each chunk of the stream, if it has earlier turns to lose tags by."""
        options = self.body.get("stream_options")
        has_turn = any(message.role == "assistant" for message in self.conversation)
        if not (has_turn and isinstance(options, Mapping)):
            return self
        return replace(
            self, body={**self.body, "stream_options": {"continuous_usage_stats": True, **options}}
        )

    def with_markers(self) -> Payload:
        """The same request for an answer with its special tokens, which a vLLM without parsers else takes out."""
        return replace(self, body={"skip_special_tokens": False, **self.body})

    def with_broken_tokens(self) -> tuple[Payload, int]:
        """The same request with special tokens in its texts broken up (`_signs`), and in how many places."""
        breaker = Breaker()
        return replace(self, body=breaker.body(self.body)), breaker.count

    def _own(self) -> list[dict[str, Any]]:
        return self.body["messages"] if self.own_messages else []

    @property
    def calls_nothing(self) -> bool:
        """Whether no answer can hold a call, because there is no tool or none may be called."""
        return not self.tools.schemas or self.body.get("tool_choice") == "none"

    def texts(self) -> Iterator[str]:
        """All texts that the model reads, in the order of the request: what it can quote."""
        for message in self.body["messages"]:
            yield from _strings(message)
        yield from _strings(self.body.get("tools"))

    def encoded(self) -> bytes:
        """The body as JSON.

        Raises:
            InvalidRequestError: It holds something that JSON cannot; the text says where.
        """
        try:
            kind = {"@requestFormat": "chatCompletions"} if self.as_instance else {}
            written = encode({**kind, **self.body}, messages="messages" if self.own_messages else None)
        except ValueError as error:
            raise InvalidRequestError(f"The request cannot be written as JSON: {error}.") from None
        return b'{"instances":[%b]}' % written if self.as_instance else written


def build(
    messages: Iterable[MessageLike] | str,
    options: RequestOptions,
    *,
    settings: Settings,
    target: Target,
    rules: Rules,
    model: str | None,
    stream: bool,
) -> Payload:
    """Build the body of one request.

    Raises:
        InvalidRequestError: Something in it cannot be sent.
    """
    extra = options.get("extra_body") or {}
    tools = _checked_tools(extra["tools"] if "tools" in extra else options.get("tools"))
    conversation = read_messages(messages)
    declarations = Declarations(tools, conversation, rules)
    allowed = None if "tool_choice" in extra else allowed_tools(options.get("tool_choice"), declarations.all)
    if allowed is not None:
        declarations.narrow(allowed)
    declared = DeclaredTools.of(declarations.all)
    fields = _fields(options, declarations.all, rules, stream=stream)
    thinks = rules.info.thinking != "never" and not _thinking_disabled(fields)
    forced = forced_tools(fields.get("tool_choice"), declared)
    if (
        forced is not None
        and isinstance(fields.get("tool_choice"), Mapping)
        and "tool_choice" not in extra
        and not rules.named_choice
    ):
        fields["tool_choice"] = "required"
        declarations.narrow(forced.names)
    if declarations.top:
        fields["tools"] = declarations.top
    rules.warn_of_bare(declarations.all, forced)
    ordered = order(conversation, rules.info.call_id_prefix)
    writer = _MessageWriter(settings, rules, declarations, both_fields=target.self_deployed, thinks=thinks)
    body: dict[str, Any] = {} if model is None else {"model": model}
    written = [wire for wire in map(writer.write, ordered.entries) if wire is not None]
    body["messages"] = written
    if not written:
        raise InvalidRequestError("All messages are empty. Pass at least one message with text.")
    body.update(fields)
    implicit = settings.implicit_thinking
    return Payload(
        body=body,
        tools=declared,
        history=ordered.history,
        implicit_thinking=thinks if implicit is None else implicit,
        model=model,
        conversation=tuple(conversation),
        writer=writer,
        own_messages="messages" not in extra,
        forced=forced,
        as_instance=target.api == "predict",
    )


def _fields(
    options: RequestOptions, offered: Sequence[Mapping[str, Any]], rules: Rules, *, stream: bool
) -> dict[str, Any]:
    """All of the body but the model, the tools and the messages."""
    fields = rules.fields(options)
    stop = _stop(options.get("stop"))
    if stop:
        fields["stop"] = stop
    choice = tool_choice(options.get("tool_choice"), offered)
    if choice is not None and offered:
        fields["tool_choice"] = choice
        if forbids_parallel_calls(options.get("tool_choice")):
            fields.setdefault("parallel_tool_calls", False)
    extra = {name: value for name, value in (options.get("extra_body") or {}).items() if name != "tools"}
    # Whether the answer streams is decided by the method that was called, and usage is always asked for.
    extra.pop("stream", None)
    stream_options = extra.pop("stream_options", None)
    fields.update(extra)
    if stream:
        fields["stream"] = True
        given = stream_options if isinstance(stream_options, Mapping) else {}
        fields["stream_options"] = {**given, "include_usage": True}
    count = fields.get("n", 1)
    if not (count is None or (isinstance(count, int) and count == 1)):
        raise InvalidRequestError(
            f"n={shown(count)} asks for several answers, of which all but one would be dropped; make a request for each."
        )
    return fields


def _stop(stop: Any) -> str | list[str] | None:
    if stop is None or isinstance(stop, str):
        return stop
    listed: list[Any] = list(stop) if isinstance(stop, Sequence) else [None]
    if not all(isinstance(text, str) and text for text in listed):
        raise InvalidRequestError(
            f"stop is {shown(stop)}; it must be a text or a list of texts, none of them empty."
        )
    return listed


def _checked_tools(tools: Any) -> list[Mapping[str, Any]]:
    """The tools as a list.

    Raises:
        InvalidRequestError: One of them is not in OpenAI's form.
    """
    if tools is None:
        return []
    if isinstance(tools, Mapping | str | bytes) or not isinstance(tools, Iterable):
        raise InvalidRequestError(
            f"tools is a {type(tools).__name__}; pass a list of tools in OpenAI's form."
        )
    listed = list(tools)
    for index, tool in enumerate(listed):
        other = isinstance(tool, Mapping) and tool.get("type", "function") != "function"
        if not (tool_name(tool) or other):
            wrapped = ": a function must be wrapped in a tool" if callable(tool) else ""
            raise InvalidRequestError(
                f"tools[{index}] is not in OpenAI's form{wrapped}; expected "
                '{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}.'
            )
    return listed


def without_forced_choice(payload: Payload) -> Payload:
    """The same request with a forced choice left to the model, and a system message that asks for the call instead."""
    if not payload.forced_choice:
        return payload
    choice, forced = payload.body.get("tool_choice"), payload.forced
    names = forced.names if forced is not None else frozenset()
    named = isinstance(choice, Mapping) or names != payload.tools.names
    what = f"the tool `{next(iter(names))}`" if named and names else "one of the tools"
    nudge = {"role": "system", "content": f"Answer only with a call of {what}, not with text."}
    messages = list(payload.body["messages"])
    # A trailing assistant message is the beginning of the answer and has to stay the last.
    prefilled = bool(messages) and messages[-1].get("role") == "assistant"
    messages.insert(len(messages) - prefilled, nudge)
    return replace(payload, body={**payload.body, "tool_choice": "auto", "messages": messages})


def without_fixed_sampling(payload: Payload) -> Payload:
    """The same request without the values that a server may fix for its model."""
    return replace(
        payload, body={name: value for name, value in payload.body.items() if name not in SAMPLING}
    )


def without_switch(payload: Payload, refused: str) -> Payload:
    """The same request without the refused one of the two ways to switch thinking off, where it has both."""
    if any(payload.body.get(name) != off for name, off in SWITCHED_OFF.items()):
        return payload
    return replace(payload, body={name: value for name, value in payload.body.items() if name != refused})


def _with_thinking_in(name: str, message: dict[str, Any]) -> dict[str, Any]:
    thinking = next((message[field] for field in THINKING_FIELDS if field in message), None)
    if thinking is None:
        return message
    return {**{key: value for key, value in message.items() if key not in THINKING_FIELDS}, name: thinking}


def _strings(value: Any) -> Iterator[str]:
    """The texts in a message or a tool. The parts of a list are one text, too, as the model reads it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        parts = [part.get("text") for part in value if isinstance(part, Mapping)]
        yield "".join(text for text in parts if isinstance(text, str))
        for item in value:
            yield from _strings(item)


class _MessageWriter:
    """Writes messages as the wire has them, under one set of rules."""

    def __init__(
        self, settings: Settings, rules: Rules, declarations: Declarations, *, both_fields: bool, thinks: bool
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._declarations = declarations
        self._info = rules.info
        # A vLLM may read only `reasoning` (vllm-project/vllm#38488).
        self.fields: tuple[str, ...] = THINKING_FIELDS if both_fields else THINKING_FIELDS[:1]
        self._thinks = thinks
        self._warned = False

    def write(self, entry: Entry) -> dict[str, Any] | None:
        """One message; `None` for an assistant turn without content, which strict servers refuse."""
        position, message, calls = entry
        content = message.content
        if message.tools:
            return self._declarations.write(position)
        if not isinstance(content, str):
            content = self._parts(content or (), position, message.role)
        if message.role == "assistant":
            return self._assistant(entry, content)
        wire: dict[str, Any] = {"role": message.role, "content": content}
        if message.role == "tool":
            wire["tool_call_id"] = calls[0].id
            wire["name"] = calls[0].name
        return wire

    def _assistant(self, entry: Entry, content: Any) -> dict[str, Any] | None:
        position, message, calls = entry
        blank = not content or (isinstance(content, str) and content.isspace())
        if blank and not calls:
            return None
        wire: dict[str, Any] = {"role": "assistant", "content": "" if blank else content}
        thinking = self._thinking(message, position)
        if thinking is not None:
            for name in self.fields:
                wire[name] = thinking
        if calls:
            wire["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in calls
            ]
        return wire

    def _thinking(self, message: Message, position: int) -> str | None:
        policy = self._settings.replay_thinking
        if policy == "none" or (policy == "tools" and not message.tool_calls):
            return None
        needed = self._thinks and (message.tool_calls or self._info.thinking_of == "all")
        if message.thinking is not None or not needed:
            return message.thinking
        if not self._warned:
            self._warned = True
            logger.info("Turns without thinking are sent with a blank in its place.")
        # Kimi's template prints the field whether or not it has text; a blank keeps the turn's shape without words.
        return self._info.empty_thinking

    def _parts(
        self, parts: Sequence[Mapping[str, Any]], position: int, role: str
    ) -> str | list[Mapping[str, Any]]:
        kept = [part for part in parts if part["type"] != "text" or part["text"]]
        media = False
        for index, part in enumerate(kept):
            if part["type"] == "text":
                continue
            refusal = self._rules.media_refusal(part, position)
            if refusal is None:
                media = True
            elif role in STAYING:
                kept[index] = {**_text_part(part["note"]), "apart": True}
            else:
                raise InvalidRequestError(refusal)
        # The pieces of a user's text are one text; documents and those of a tool's result are things of their own.
        border = "\n" if role == "tool" or any(part.get("apart") for part in kept) else ""
        # Early Kimi templates cannot print a list.
        return _written(kept, border) if media else border.join(part["text"] for part in kept)


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _written(parts: Iterable[Mapping[str, Any]], border: str) -> list[Mapping[str, Any]]:
    """Parts as they are sent. Templates put nothing between texts, so those with a border become one."""
    written: list[Mapping[str, Any]] = []
    for kind, group in groupby(parts, key=itemgetter("type")):
        if kind == "text" and border:
            written.append(_text_part(border.join(part["text"] for part in group)))
        else:
            written += [{"type": kind, kind: part[kind]} for part in group]
    return written


def _thinking_disabled(fields: Mapping[str, Any]) -> bool:
    template, thinking = fields.get("chat_template_kwargs"), fields.get("thinking")
    return (
        fields.get("reasoning_effort") == "none"
        or (
            isinstance(template, Mapping)
            and (template.get("thinking") is False or template.get("enable_thinking") is False)
        )
        or (isinstance(thinking, Mapping) and thinking.get("type") == "disabled")
    )
