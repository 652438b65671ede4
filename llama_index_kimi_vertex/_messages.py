"""LlamaIndex's chat messages as the core's. Reads what any integration wrote; the caller's messages are not changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from io import IOBase
from pathlib import Path
from typing import Any, Final, cast

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.utils import resolve_binary
from pydantic import BaseModel

from kimi_vertex import InvalidRequestError, Message, Role, ToolCall, find_thinking

from ._tools import tool_dicts, wire_name

__all__ = [
    "ARGUMENTS",
    "arguments_text",
    "invalid_tool_calls",
    "legacy_tool_calls",
    "to_core_messages",
]

_ROLES: Final[Mapping[MessageRole, Role]] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
_to_json: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode
ARGUMENTS: Final = "tool_call_arguments"
"""The key of a message's `additional_kwargs` that has each call's arguments as the model wrote them, by the call's id."""


def to_core_messages(messages: Iterable[ChatMessage]) -> list[Message]:
    """Convert a history.

    Raises:
        InvalidRequestError: Kimi does not know the role, or cannot read a content block.
    """
    return [_to_core(message) for message in messages]


def _to_core(message: ChatMessage) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidRequestError(
            f"Kimi does not know the role {message.role!r}. Use one of: {', '.join(known.value for known in _ROLES)}."
        )
    content: str | list[dict[str, Any]] | None = _text(message.blocks, role)
    if content is None:
        content = _content(message, role)
    if role == "assistant":
        # `isinstance` is slow with pydantic's classes, so texts, which most blocks are, are left out first.
        others = [block for block in message.blocks if type(block) is not TextBlock]
        kwargs = message.additional_kwargs
        return Message(role, content, _thinking(others, kwargs), tuple(_tool_calls(others, kwargs)))
    if role == "tool":
        kwargs = message.additional_kwargs
        identity, name = kwargs.get("tool_call_id") or kwargs.get("id"), kwargs.get("name")
        return Message(
            role,
            content,
            tool_call_id=_text_or_none(identity),
            name=None if name is None else wire_name(str(name)),
        )
    if role == "system" and (tools := message.additional_kwargs.get("tools")) is not None:
        return Message(role, content or None, tools=tool_dicts(tools))
    return Message(role, content)


def _text(blocks: Iterable[object], role: Role) -> str | None:
    """The visible content if it is all text, as it nearly always is; exact types are quick to compare."""
    texts: list[str] = []
    for block in blocks:
        kind = type(block)
        if kind is TextBlock:
            texts.append(block.text)  # type: ignore[attr-defined]
        elif role != "assistant" or (kind is not ThinkingBlock and kind is not ToolCallBlock):
            return None
    return "\n".join(texts)


def _content(message: ChatMessage, role: Role) -> str | list[dict[str, Any]]:
    """The visible content: one string, or parts of which some are not text."""
    parts: list[dict[str, Any]] = []
    for block in message.blocks:
        parts.extend(_parts(block, role))
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts if part is not _NOTHING)
    return parts


def _parts(block: object, role: Role) -> list[dict[str, Any]]:
    """A block as the core reads parts; the core also refuses what Kimi cannot be sent, or says that it was there."""
    if isinstance(block, TextBlock):
        return [_text_part(block.text)]
    if isinstance(block, ImageBlock):
        return [_file_part(block, block.image, block.image_mimetype)]
    if isinstance(block, VideoBlock):
        return [_file_part(block, block.video, block.video_mimetype)]
    if isinstance(block, AudioBlock):
        return [_file_part(block, block.audio, f"audio/{block.format}" if block.format else None)]
    if isinstance(block, DocumentBlock):
        title = None if block.title == "input_document" else block.title
        return [_file_part(block, block.data, block.document_mimetype, title=title)]
    if isinstance(block, CitableBlock):
        heading = [_text_part(block.title)] if block.title else []
        return [*heading, *(part for nested in block.content for part in _parts(nested, role))]
    if isinstance(block, CitationBlock):
        # In an answer the cited text already stands beside it.
        return [_NOTHING] if role == "assistant" else _parts(block.cited_content, role)
    if isinstance(block, CachePoint) or (
        role == "assistant" and isinstance(block, ThinkingBlock | ToolCallBlock)
    ):
        return [_NOTHING]
    return [{**(block.model_dump() if isinstance(block, BaseModel) else {}), "type": type(block).__name__}]


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


_NOTHING: Final = _text_part("")
"""Stands for a block that is not sent, so that an error counts the others as the message does."""


def _file_part(
    block: ImageBlock | AudioBlock | VideoBlock | DocumentBlock,
    data: bytes | IOBase | None,
    mime_type: str | None,
    **fields: object,
) -> dict[str, Any]:
    """A block's file with its bytes in base64, or with its URL, which is left to the server."""
    part = {
        "type": block.block_type,
        "mime_type": mime_type,
        "url": None if block.url is None else str(block.url),
        "filename": None if block.path is None else Path(block.path).name,
        **fields,
    }
    if data or block.path:
        # A file may be gone when a conversation is taken up again.
        with suppress(OSError, ValueError):
            part["base64"] = resolve_binary(_bytes(data), block.path, as_base64=True).read().decode("ascii")
            part["url"] = None
    return {name: value for name, value in part.items() if value is not None}


def _bytes(data: bytes | IOBase | None) -> bytes | None:
    if not isinstance(data, IOBase):
        return data or None
    data.seek(0)
    return cast(bytes, data.read())


def _thinking(blocks: Sequence[object], kwargs: Mapping[str, Any]) -> str | None:
    """The turn's thinking: its blocks, else `additional_kwargs`, which chat engines keep when they drop blocks."""
    pieces = [
        block.content for block in blocks if isinstance(block, ThinkingBlock) and block.content is not None
    ]
    return "".join(pieces) if pieces else find_thinking(kwargs)


def _tool_calls(blocks: Sequence[object], kwargs: Mapping[str, Any]) -> list[ToolCall]:
    written = kwargs.get(ARGUMENTS) or {}
    found = [
        ToolCall(
            call.tool_call_id or "",
            call.tool_name,
            _as_written(call.tool_kwargs, written.get(call.tool_call_id)),
        )
        for call in blocks
        if isinstance(call, ToolCallBlock)
    ] or legacy_tool_calls(kwargs)
    found += [call for call, _ in invalid_tool_calls(kwargs)]
    return [replace(call, name=wire_name(call.name)) for call in found]


def invalid_tool_calls(additional_kwargs: Mapping[str, Any]) -> list[tuple[ToolCall, str]]:
    """A message's calls that cannot be executed and have not been made again, with the reason."""
    entries = additional_kwargs.get("invalid_tool_calls")
    return [
        (
            ToolCall(str(entry.get("id") or ""), entry.get("name") or "unknown", entry["arguments"]),
            str(entry["error"]),
        )
        for entry in (entries if isinstance(entries, list) else ())
        if not entry.get("replaced")
    ]


def _as_written(arguments: dict[str, Any] | str, text: str | None) -> str:
    """A call's arguments as the model wrote them, where that still says the same."""
    if text is not None and isinstance(arguments, dict):
        with suppress(ValueError):
            if json.loads(text) == arguments:
                return text
    return arguments_text(arguments)


def legacy_tool_calls(additional_kwargs: Mapping[str, Any]) -> list[ToolCall]:
    """The calls that a message carries beside its blocks, as older integrations stored them.

    Reads OpenAI's form as dicts or as SDK objects, and flat entries with `name` and `arguments`, `input` or
    `tool_kwargs`. Entries without a name are skipped.
    """
    entries = additional_kwargs.get("tool_calls")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return []
    calls: list[ToolCall] = []
    for entry in entries:
        function = _get(entry, "function") or entry
        name = _get(function, "name", "tool_name")
        if isinstance(name, str) and name:
            arguments = _get(function, "arguments", "input", "args", "tool_kwargs")
            identity = _get(entry, "id", "tool_call_id", "tool_id")
            calls.append(ToolCall(_text_or_none(identity) or "", name, arguments_text(arguments)))
    return calls


def _get(source: object, *names: str) -> Any:
    for name in names:
        value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        if value is not None:
            return value
    return None


def arguments_text(arguments: object) -> str:
    """A call's arguments as JSON text. Text is kept as it is, so that the model reads what it wrote."""
    if isinstance(arguments, str):
        return arguments or "{}"
    return _to_json({} if arguments is None else arguments)


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
