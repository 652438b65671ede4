"""A chat-completions request, read once and narrowed from JSON; it judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kimi_vertex_emulator.answers import Call

__all__ = ["ChatRequest", "PastMessage", "Tool", "mapping", "objects"]

_OFF: tuple[tuple[str, str, Any], ...] = (
    ("chat_template_kwargs", "thinking", False),
    ("chat_template_kwargs", "enable_thinking", False),
    ("thinking", "type", "disabled"),
)


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message of the history, its content flattened to text."""

    role: str
    text: str
    tool_calls: Sequence[Call] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A declared function."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the emulator needs to know of one request."""

    model: str
    messages: Sequence[PastMessage]
    tools: Sequence[Tool] = ()
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or `named`."""
    named_tool: str | None = None
    response_format: Mapping[str, Any] | None = None
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    thinking: bool = True
    effort: str | None = None
    """How much the model is to think, if the request says it."""

    @property
    def calls_so_far(self) -> int:
        """Tool calls in the history: where the counter of Kimi's native ids goes on."""
        return sum(len(message.tool_calls) for message in self.messages)

    @property
    def prompt_text(self) -> str:
        """All text of the history, for counting."""
        parts = [message.text for message in self.messages]
        parts += [call.name + call.arguments_text for message in self.messages for call in message.tool_calls]
        return "\n".join(parts + [tool.name + tool.description + str(tool.parameters) for tool in self.tools])

    @classmethod
    def from_body(cls, body: Mapping[str, Any], *, model: str, stream: bool | None = None) -> ChatRequest:
        """Reads a body whose `messages` is a list of objects; anything odd elsewhere is ignored."""
        choice, named = _tool_choice(body.get("tool_choice"))
        stop = body.get("stop")
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        return cls(
            model=model,
            messages=[_message(message) for message in body["messages"]],
            tools=[
                _tool(tool) for holder in (body, *body["messages"]) for tool in objects(holder.get("tools"))
            ],
            tool_choice=choice,
            named_tool=named,
            response_format=mapping(body.get("response_format")) or None,
            stream=bool(body.get("stream")) if stream is None else stream,
            include_usage=bool(mapping(body.get("stream_options")).get("include_usage")),
            max_tokens=limit if isinstance(limit, int) and not isinstance(limit, bool) else None,
            stop=[
                text
                for text in (stop if isinstance(stop, list) else [stop])
                if text and isinstance(text, str)
            ],
            effort=_effort(body),
            thinking=all(mapping(body.get(outer)).get(inner) != off for outer, inner, off in _OFF),
        )


def _effort(body: Mapping[str, Any]) -> str | None:
    effort = mapping(body.get("thinking")).get("effort") or body.get("reasoning_effort")
    return effort if isinstance(effort, str) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list; empty for anything but a list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in objects(content) if isinstance(part.get("text"), str))


def _message(message: Mapping[str, Any]) -> PastMessage:
    calls = [_call(call) for call in objects(message.get("tool_calls"))]
    call_id = message.get("tool_call_id")
    return PastMessage(
        role=str(message.get("role")),
        text=_text(message.get("content")),
        tool_calls=calls,
        tool_call_id=call_id if isinstance(call_id, str) else None,
    )


def _call(call: Mapping[str, Any]) -> Call:
    function = mapping(call.get("function"))
    arguments = function.get("arguments")
    return Call(
        id=str(call.get("id") or ""),
        name=str(function.get("name") or ""),
        arguments=arguments if isinstance(arguments, str) else "",
    )


def _tool(tool: Mapping[str, Any]) -> Tool:
    function = mapping(tool.get("function"))
    return Tool(
        name=str(function.get("name") or ""),
        description=str(function.get("description") or ""),
        parameters=mapping(function.get("parameters")),
    )


def _tool_choice(choice: Any) -> tuple[str, str | None]:
    if isinstance(choice, Mapping):
        name = mapping(choice.get("function")).get("name")
        return ("named", name) if isinstance(name, str) else ("required", None)
    return (choice, None) if choice in ("none", "required") else ("auto", None)
