"""LangChain: its own floor, `ChatKimiVertex`, and the peers that are installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache
from typing import Any, Final

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig

from benchmarks.clients.base import PROMPT, Case, Client, Sink, over_aiohttp
from benchmarks.scenarios import MODEL, Scenario, tool

_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "invoke": {"streaming": True},
}


class LangChain(Client):
    """What all chat models have in common.

    Variants: none for `stream`; `handler` for `stream` with a `ThinkingCallbackHandler`; `v3` for native protocol
    events; `invoke` for `invoke` over the streaming API.
    """

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.model = cache(self._model)

    def make(self, scenario: Scenario, **settings: Any) -> BaseChatModel:
        """Make the chat model."""
        raise NotImplementedError

    def _model(self, case: Case) -> Any:
        model = self.make(case.scenario, **_SETTINGS.get(case.variant, {}))
        return model.bind_tools([tool()]) if case.scenario.calls else model

    def stream(self, case: Case, think: Sink, say: Sink) -> None:
        model = self.model(case)
        if case.variant == "v3":
            for event in model.stream_events(PROMPT, version="v3"):
                _take_event(event, think, say)
        elif case.variant == "invoke":
            _take_message(model.invoke(PROMPT), think, say)
        else:
            for chunk in model.stream(PROMPT, config=_config(case)):
                _take_message(chunk, think, say)

    async def astream(self, case: Case, think: Sink, say: Sink) -> None:
        model = self.model(case)
        if case.variant == "v3":
            async for event in await model.astream_events(PROMPT, version="v3"):
                _take_event(event, think, say)
        elif case.variant == "invoke":
            _take_message(await model.ainvoke(PROMPT), think, say)
        else:
            async for chunk in model.astream(PROMPT, config=_config(case)):
                _take_message(chunk, think, say)

    def whole(self, case: Case) -> int:
        message = self.model(case).invoke(PROMPT)
        return len(message.content) + len(message.additional_kwargs.get("reasoning_content") or "")

    def prepare(self, messages: list[dict[str, Any]]) -> list[BaseMessage]:
        return [_message(message) for message in messages]

    def send(self, prepared: Any, case: Case) -> None:
        self.model(case).invoke(prepared)


class Kimi(LangChain):
    """This project's adapter, with its defaults."""

    def make(self, scenario: Scenario, **settings: Any) -> BaseChatModel:
        from langchain_kimi_vertex import ChatKimiVertex

        return ChatKimiVertex(base_url=self.url(scenario), **settings)


class KimiOverAiohttp(Kimi):
    """The same with an `http_async_client` over aiohttp."""

    def make(self, scenario: Scenario, **settings: Any) -> BaseChatModel:
        return super().make(scenario, http_async_client=over_aiohttp(), **settings)


class OpenAI(LangChain):
    """langchain-openai, which drops the thinking."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self._class = importlib.import_module("langchain_openai").ChatOpenAI

    def make(self, scenario: Scenario, **settings: Any) -> BaseChatModel:
        model: BaseChatModel = self._class(
            model=MODEL, base_url=self.url(scenario), api_key="benchmark", stream_usage=True, **settings
        )
        return model


class DeepSeek(LangChain):
    """langchain-deepseek: langchain-openai that keeps the thinking."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self._class = importlib.import_module("langchain_deepseek").ChatDeepSeek

    def make(self, scenario: Scenario, **settings: Any) -> BaseChatModel:
        model: BaseChatModel = self._class(
            model=MODEL, api_base=self.url(scenario), api_key="benchmark", stream_usage=True, **settings
        )
        return model


class _Memory(BaseChatModel):
    """Makes its chunks in memory, the ordinary way: what LangChain itself costs."""

    scenario: Any = None

    @property
    def _llm_type(self) -> str:
        return "benchmark-floor"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=tools, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=""))])

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        for kind, text in self.scenario.pieces():
            if kind == "thinking":
                message = AIMessageChunk(content="", additional_kwargs={"reasoning_content": text})
            else:
                message = AIMessageChunk(content=text)
            yield ChatGenerationChunk(message=message)
        for index, call_id, name, part in self.scenario.call_pieces():
            call = tool_call_chunk(index=index, id=call_id, name=name, args=part)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield from self._chunks()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks():
            yield chunk


class Floor(LangChain):
    """LangChain's own stream over chunks made in memory, validated as usual."""

    def make(self, scenario: Scenario, **settings: Any) -> BaseChatModel:
        return _Memory(scenario=scenario)


def _config(case: Case) -> RunnableConfig | None:
    if case.variant != "handler":
        return None
    from langchain_kimi_vertex import ThinkingCallbackHandler

    heard: list[str] = []
    return {"callbacks": [ThinkingCallbackHandler(thinking=heard.append)]}


def _take_message(message: AIMessageChunk, think: Sink, say: Sink) -> None:
    thinking = message.additional_kwargs.get("reasoning_content")
    if thinking:
        think(thinking)
    text = message.content
    if text:
        say(text)  # type: ignore[arg-type]
    if isinstance(message, AIMessageChunk):
        for call in message.tool_call_chunks:
            say(call["args"] or "")


def _take_event(event: Any, think: Sink, say: Sink) -> None:
    if event["event"] == "content-block-delta":
        delta = event["delta"]
        kind = delta["type"]
        if kind == "reasoning-delta":
            think(delta["reasoning"])
        elif kind == "text-delta":
            say(delta["text"])


def _message(message: dict[str, Any]) -> BaseMessage:
    text = message["content"]
    if message["role"] == "system":
        return SystemMessage(text)
    if message["role"] == "user":
        return HumanMessage(text)
    if message["role"] == "tool":
        return ToolMessage(text, tool_call_id=message["tool_call_id"])
    calls = [
        {
            "id": call["id"],
            "name": call["function"]["name"],
            "args": json.loads(call["function"]["arguments"]),
            "type": "tool_call",
        }
        for call in message.get("tool_calls", ())
    ]
    extra = {"reasoning_content": message["reasoning_content"]}
    return AIMessage(text, additional_kwargs=extra, tool_calls=calls)
