"""LlamaIndex: its own floor, `KimiVertex`, and the peer that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback

from benchmarks.clients.base import PROMPT, Case, Client, Sink, over_aiohttp
from benchmarks.scenarios import MODEL, tool


class LlamaIndex(Client):
    """What all LLMs have in common."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.model = cache(self.make)
        self._prompt = [ChatMessage(PROMPT)]

    def make(self, case: Case) -> Any:
        """Make the LLM."""
        raise NotImplementedError

    def stream(self, case: Case, think: Sink, say: Sink) -> None:
        for response in self.model(case).stream_chat(self._prompt, **_options(case)):
            _take(response, think, say)

    async def astream(self, case: Case, think: Sink, say: Sink) -> None:
        async for response in await self.model(case).astream_chat(self._prompt, **_options(case)):
            _take(response, think, say)

    def whole(self, case: Case) -> int:
        message = self.model(case).chat(self._prompt).message
        thinking = [block.content or "" for block in message.blocks if isinstance(block, ThinkingBlock)]
        return len(message.content or "") + sum(map(len, thinking))

    def prepare(self, messages: list[dict[str, Any]]) -> list[ChatMessage]:
        return [_message(message) for message in messages]

    def send(self, prepared: Any, case: Case) -> None:
        self.model(case).chat(prepared)


class Kimi(LlamaIndex):
    """This project's adapter, with its defaults."""

    def make(self, case: Case, **settings: Any) -> Any:
        from llama_index_kimi_vertex import KimiVertex

        return KimiVertex(base_url=self.url(case.scenario), **settings)


class KimiOverAiohttp(Kimi):
    """The same with an `http_async_client` over aiohttp."""

    def make(self, case: Case, **settings: Any) -> Any:
        return super().make(case, http_async_client=over_aiohttp(), **settings)


class OpenAILike(LlamaIndex):
    """llama-index-llms-openai-like."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self._class = importlib.import_module("llama_index.llms.openai_like").OpenAILike

    def make(self, case: Case) -> Any:
        return self._class(
            model=MODEL,
            api_base=self.url(case.scenario),
            api_key="benchmark",
            is_chat_model=True,
            is_function_calling_model=True,
            context_window=262_144,
            # It takes no `stream_options` for calls without streaming.
            additional_kwargs={} if case.scenario.whole else {"stream_options": {"include_usage": True}},
        )


class _Memory(CustomLLM):
    """Makes its responses in memory, the ordinary way: what LlamaIndex itself costs."""

    scenario: Any = None

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        yield self.complete(prompt)

    def _responses(self) -> Iterator[ChatResponse]:
        thinking = text = ""
        for kind, piece in self.scenario.pieces():
            thinks = kind == "thinking"
            thinking, text = (thinking + piece, text) if thinks else (thinking, text + piece)
            blocks = [ThinkingBlock(content=thinking), TextBlock(text=text)]
            yield ChatResponse(
                message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks),
                delta="" if thinks else piece,
                additional_kwargs={"thinking_delta": piece} if thinks else {},
            )

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        yield from self._responses()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def responses() -> ChatResponseAsyncGen:
            for response in self._responses():
                yield response

        return responses()


class Floor(LlamaIndex):
    """LlamaIndex's decorated stream over responses made in memory, validated as usual."""

    def make(self, case: Case) -> Any:
        return _Memory(scenario=case.scenario)


def _options(case: Case) -> dict[str, Any]:
    return {"tools": [tool()]} if case.scenario.calls else {}


def _take(response: ChatResponse, think: Sink, say: Sink) -> None:
    thinking = response.additional_kwargs.get("thinking_delta")
    if thinking:
        think(thinking)
    text = response.delta
    if text:
        say(text)


def _message(message: dict[str, Any]) -> ChatMessage:
    role = MessageRole(message["role"])
    if role is not MessageRole.ASSISTANT:
        extra = {"tool_call_id": message["tool_call_id"]} if role is MessageRole.TOOL else {}
        return ChatMessage(role=role, content=message["content"], additional_kwargs=extra)
    calls = [
        ToolCallBlock(
            tool_call_id=call["id"],
            tool_name=call["function"]["name"],
            tool_kwargs=call["function"]["arguments"],
        )
        for call in message.get("tool_calls", ())
    ]
    blocks = [ThinkingBlock(content=message["reasoning_content"]), TextBlock(text=message["content"]), *calls]
    return ChatMessage(role=role, blocks=blocks)
