"""Standard content blocks for this provider's messages (`AIMessage.content_blocks`, `output_version="v1"`).

Streamed blocks carry string indices with LangChain's `lc_` prefix: integers would make thinking (0) and the first
tool call (0) fuse into one block when chunks are added up.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as types
from langchain_core.messages.block_translators import register_translator

from langchain_kimi_vertex._invalid import original_arguments
from langchain_kimi_vertex._keys import CALL_ERRORS_KEY, PROVIDER, THINKING_KEY

__all__ = ["is_prose", "register"]


def register() -> None:
    """Make `content_blocks` understand messages whose `model_provider` is this package's."""
    register_translator(PROVIDER, _translate_message, _translate_chunk)


def is_prose(chunk: AIMessageChunk) -> bool:
    """Whether a chunk comes from this package and its blocks are only thinking and text, each a string."""
    extra = chunk.additional_kwargs
    return (
        isinstance(chunk.content, str)
        and chunk.response_metadata.get("model_provider") == PROVIDER
        and not chunk.tool_call_chunks
        and chunk.chunk_position is None
        and (not extra or (len(extra) == 1 and isinstance(extra.get(THINKING_KEY), str)))
    )


def _translate_message(message: AIMessage) -> list[types.ContentBlock]:
    blocks = _prose(message)
    for call in message.tool_calls:
        blocks.append({"type": "tool_call", "id": call.get("id"), "name": call["name"], "args": call["args"]})
    errors: dict[Any, str] = message.response_metadata.get(CALL_ERRORS_KEY) or {}
    for invalid in message.invalid_tool_calls:
        blocks.append(
            {
                "type": "invalid_tool_call",
                "id": invalid.get("id"),
                "name": invalid.get("name"),
                "args": original_arguments(invalid.get("args") or ""),
                "error": invalid.get("error") or errors.get(invalid.get("id")),
            }
        )
    return cast("list[types.ContentBlock]", blocks)


def _translate_chunk(chunk: AIMessageChunk) -> list[types.ContentBlock]:
    pieces = chunk.tool_call_chunks
    if chunk.chunk_position == "last" and all(piece.get("id") for piece in pieces):
        # The sum of a whole stream (or a last chunk without calls): its calls are parsed.
        return _translate_message(chunk)
    blocks = _prose(chunk, text_index="lc_txt_0", thinking_index="lc_rs_0")
    for piece in pieces:
        block: dict[str, Any] = {
            "type": "tool_call_chunk",
            "id": piece.get("id"),
            "name": piece.get("name"),
            "args": piece.get("args"),
        }
        if piece.get("index") is not None:
            block["index"] = f"lc_tc_{piece['index']}"
        blocks.append(block)
    return cast("list[types.ContentBlock]", blocks)


def _prose(
    message: AIMessage, *, text_index: str | None = None, thinking_index: str | None = None
) -> list[dict[str, Any]]:
    """Thinking, text and refusal of a message, in this order."""
    if not isinstance(message.content, str):
        raise NotImplementedError  # content_blocks then reads the blocks as they are
    blocks: list[dict[str, Any]] = []
    thinking = message.additional_kwargs.get(THINKING_KEY)
    if isinstance(thinking, str) and thinking:
        blocks.append(_indexed({"type": "reasoning", "reasoning": thinking}, thinking_index))
    if message.content:
        blocks.append(_indexed({"type": "text", "text": message.content}, text_index))
    refusal = message.additional_kwargs.get("refusal")
    if refusal or message.response_metadata.get("finish_reason") == "content_filter":
        blocks.append({"type": "refusal", "refusal": refusal or ""})
    return blocks


def _indexed(block: dict[str, Any], index: str | None) -> dict[str, Any]:
    return block if index is None else {**block, "index": index}
