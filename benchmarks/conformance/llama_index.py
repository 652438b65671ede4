"""LlamaIndex's LLMs: ours, and the general one that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools import FunctionTool

from benchmarks.conformance.base import MODEL, TOOL, Call, Peer, Reply


def opening_time(gate: str) -> str:
    """When a gate opens."""
    return f"The {gate} gate opens at 7:00."


class _LLM(Peer):
    """What all LLMs have in common."""

    llm: Any

    def user(self, text: str, image: str | None = None) -> ChatMessage:
        blocks = [TextBlock(text=text), *([ImageBlock(url=image)] if image else [])]
        return ChatMessage(role=MessageRole.USER, blocks=blocks)

    def called(self, call_id: str, thinking: str) -> ChatMessage:
        name = TOOL["function"]["name"]
        call = ToolCallBlock(tool_call_id=call_id, tool_name=name, tool_kwargs={"gate": "west"})
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=[ThinkingBlock(content=thinking), call])

    def result(self, call_id: str, text: str) -> ChatMessage:
        return ChatMessage(role=MessageRole.TOOL, content=text, additional_kwargs={"tool_call_id": call_id})

    def fill(self, reply: Reply, history: Sequence[Any], *, tools: bool, force: bool, stream: bool) -> None:
        messages = list(history)
        if tools:
            options: dict[str, Any] = {
                "tools": [FunctionTool.from_defaults(opening_time)],
                "chat_history": messages,
                "allow_parallel_tool_calls": True,
            }
            options |= {"tool_required": True} if force else {}
            ask = self.llm.stream_chat_with_tools if stream else self.llm.chat_with_tools
            answer = ask(**options)
        else:
            answer = self.llm.stream_chat(messages) if stream else self.llm.chat(messages)
        for response in answer if stream else [answer]:
            self._take(reply, response)

    def _take(self, reply: Reply, response: ChatResponse) -> None:
        message = response.message
        reply.message = message
        reply.text = message.content or ""
        reply.thinking = "".join(b.content or "" for b in message.blocks if isinstance(b, ThinkingBlock))
        selected = self.llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        reply.calls = [Call(call.tool_id, call.tool_name, call.tool_kwargs) for call in selected]
        reply.usage = _usage(response) or reply.usage


class Kimi(_LLM):
    """`KimiVertex`."""

    package = "kimi-vertex"
    ours = True

    def __init__(self, base_url: str, *, usage: bool = False) -> None:
        from llama_index_kimi_vertex import KimiVertex

        self.llm = KimiVertex(base_url=base_url, timeout=self.seconds)

    def close(self) -> None:
        self.llm.close()


class OpenAILike(_LLM):
    """`OpenAILike`."""

    package = "llama-index-llms-openai-like"
    usage_option = True

    def __init__(self, base_url: str, *, usage: bool = False) -> None:
        found = importlib.import_module("llama_index.llms.openai_like").OpenAILike
        self.llm = found(
            model=MODEL,
            api_base=base_url,
            api_key="conformance",
            is_chat_model=True,
            is_function_calling_model=True,
            context_window=262_144,
            timeout=self.seconds,
            additional_kwargs={"stream_options": {"include_usage": True}} if usage else {},
        )


def _usage(response: ChatResponse) -> int | None:
    """Tokens where instrumentation looks for them."""
    if total := response.additional_kwargs.get("total_tokens"):
        return int(total)
    raw: Any = response.raw
    usage = raw.get("usage") if isinstance(raw, Mapping) else getattr(raw, "usage", None)
    total = usage.get("total_tokens") if isinstance(usage, Mapping) else getattr(usage, "total_tokens", None)
    return None if total is None else int(total)
