"""LangChain's chat models: ours, and the general ones that are installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from benchmarks.conformance.base import MODEL, TOOL, Call, Peer, Reply
from benchmarks.conformance.plain import litellm_module


class _ChatModel(Peer):
    """What all chat models have in common; streams are added up as LangChain does."""

    def __init__(self, base_url: str, *, usage: bool = False) -> None:
        self.model: Any = self.make(base_url, {"stream_usage": True} if usage else {})

    def make(self, base_url: str, settings: dict[str, Any]) -> Any:
        """Make the chat model."""
        raise NotImplementedError

    def user(self, text: str, image: str | None = None) -> HumanMessage:
        if image is None:
            return HumanMessage(text)
        picture = {"type": "image_url", "image_url": {"url": image}}
        return HumanMessage([{"type": "text", "text": text}, picture])

    def called(self, call_id: str, thinking: str) -> AIMessage:
        name = TOOL["function"]["name"]
        return AIMessage(
            "",
            additional_kwargs={"reasoning_content": thinking},
            tool_calls=[{"id": call_id, "name": name, "args": {"gate": "west"}, "type": "tool_call"}],
        )

    def result(self, call_id: str, text: str) -> ToolMessage:
        return ToolMessage(text, tool_call_id=call_id)

    def fill(self, reply: Reply, history: Sequence[Any], *, tools: bool, force: bool, stream: bool) -> None:
        model = self.model
        if tools:
            model = model.bind_tools([TOOL], **({"tool_choice": "required"} if force else {}))
        if not stream:
            _take(reply, model.invoke(list(history)))
            return
        whole: Any = None
        for chunk in model.stream(list(history)):
            whole = chunk if whole is None else whole + chunk
            _take(reply, whole)


class Kimi(_ChatModel):
    """`ChatKimiVertex`."""

    package = "kimi-vertex"
    ours = True

    def make(self, base_url: str, settings: dict[str, Any]) -> Any:
        from langchain_kimi_vertex import ChatKimiVertex

        return ChatKimiVertex(base_url=base_url, timeout=self.seconds)


class OpenAI(_ChatModel):
    """`ChatOpenAI`."""

    package = "langchain-openai"
    usage_option = True

    def make(self, base_url: str, settings: dict[str, Any]) -> Any:
        found = importlib.import_module("langchain_openai").ChatOpenAI
        return found(model=MODEL, base_url=base_url, api_key="conformance", timeout=self.seconds, **settings)


class DeepSeek(_ChatModel):
    """`ChatDeepSeek`."""

    package = "langchain-deepseek"
    usage_option = True

    def make(self, base_url: str, settings: dict[str, Any]) -> Any:
        found = importlib.import_module("langchain_deepseek").ChatDeepSeek
        return found(model=MODEL, api_base=base_url, api_key="conformance", timeout=self.seconds, **settings)


class LiteLLM(_ChatModel):
    """`ChatLiteLLM` over litellm's route for any server that speaks OpenAI's API."""

    package = "langchain-litellm"
    usage_option = True

    def make(self, base_url: str, settings: dict[str, Any]) -> Any:
        litellm_module()
        found = importlib.import_module("langchain_litellm").ChatLiteLLM
        return found(
            model=f"openai/{MODEL}",
            api_base=base_url,
            api_key="conformance",
            request_timeout=self.seconds,
            **({"stream_options": {"include_usage": True}} if settings else {}),
        )


def _take(reply: Reply, message: AIMessage) -> None:
    reply.message = message
    reply.text = str(message.text)
    reply.thinking = "".join(
        str(block.get("reasoning", "")) for block in message.content_blocks if block["type"] == "reasoning"
    )
    reply.calls = [Call(call["id"] or "", call["name"], call["args"]) for call in message.tool_calls]
    reply.usage = message.usage_metadata["total_tokens"] if message.usage_metadata else None
