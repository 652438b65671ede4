"""Clients outside the frameworks: this project's core, the openai SDK and litellm."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, ClassVar

from benchmarks.conformance.base import MODEL, TOOL, Call, Peer, Reply, arguments
from kimi_vertex import (
    Completion,
    KimiVertexClient,
    Message,
    RequestOptions,
    TextDelta,
    ThinkingDelta,
    ToolCall,
)

_IMAGE = "image_url"


class Core(Peer):
    """`KimiVertexClient`."""

    package = "kimi-vertex"
    ours = True

    def __init__(self, base_url: str, *, usage: bool = False) -> None:
        self.client = KimiVertexClient(base_url=base_url, timeout=self.seconds)

    def user(self, text: str, image: str | None = None) -> Message:
        return Message(role="user", content=text if image is None else _parts(text, image))

    def called(self, call_id: str, thinking: str) -> Message:
        call = ToolCall(call_id, TOOL["function"]["name"], '{"gate": "west"}')
        return Message(role="assistant", content="", thinking=thinking, tool_calls=[call])

    def result(self, call_id: str, text: str) -> Message:
        return Message(role="tool", content=text, tool_call_id=call_id)

    def fill(self, reply: Reply, history: Sequence[Any], *, tools: bool, force: bool, stream: bool) -> None:
        options = RequestOptions(tools=[TOOL]) if tools else RequestOptions()
        if force:
            options["tool_choice"] = "required"
        if not stream:
            self._whole(reply, self.client.complete(history, **options))
            return
        with self.client.stream(history, **options) as events:
            for event in events:
                if isinstance(event, ThinkingDelta):
                    reply.thinking += event.text
                elif isinstance(event, TextDelta):
                    reply.text += event.text
            seen = reply.thinking, reply.text
            self._whole(reply, events.completion)
            assert seen == (reply.thinking, reply.text), "the deltas are not what the completion says"

    def _whole(self, reply: Reply, completion: Completion) -> None:
        reply.thinking, reply.text = completion.thinking or "", completion.text
        reply.calls = [Call(call.id, call.name, arguments(call.arguments)) for call in completion.tool_calls]
        reply.usage = completion.usage.total_tokens if completion.usage else None
        reply.message = completion.to_message()

    def close(self) -> None:
        self.client.close()


class _Dicts(Peer):
    """Clients whose messages are dicts in OpenAI's form."""

    def user(self, text: str, image: str | None = None) -> dict[str, Any]:
        return {"role": "user", "content": text if image is None else _parts(text, image)}

    def called(self, call_id: str, thinking: str) -> dict[str, Any]:
        function = {"name": TOOL["function"]["name"], "arguments": '{"gate": "west"}'}
        calls = [{"id": call_id, "type": "function", "function": function}]
        return {"role": "assistant", "content": "", "reasoning_content": thinking, "tool_calls": calls}

    def result(self, call_id: str, text: str) -> dict[str, Any]:
        return {"role": "tool", "content": text, "tool_call_id": call_id}

    def take(self, reply: Reply, completion: Any) -> None:
        """Fill the reply from a whole completion."""
        message = completion.choices[0].message
        reply.text = message.content or ""
        reply.calls = [
            Call(call.id, call.function.name, arguments(call.function.arguments))
            for call in message.tool_calls or ()
        ]
        usage = getattr(completion, "usage", None)
        reply.usage = usage.total_tokens if usage is not None else None
        reply.message = message.model_dump(exclude_none=True)


class OpenAI(_Dicts):
    """The openai SDK, with its streaming helper."""

    package = "openai"
    usage_option = True

    def __init__(self, base_url: str, *, usage: bool = False) -> None:
        module = importlib.import_module("openai")
        self.client: Any = module.OpenAI(base_url=base_url, api_key="conformance", timeout=self.seconds)
        self.options: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}

    def fill(self, reply: Reply, history: Sequence[Any], *, tools: bool, force: bool, stream: bool) -> None:
        options = {"model": MODEL, "messages": list(history)} | _tools(tools, force)
        if not stream:
            self.take(reply, self.client.chat.completions.create(**options))
            return
        with self.client.chat.completions.stream(**options, **self.options) as events:
            for event in events:
                if event.type == "content.delta":
                    reply.text += event.delta
            self.take(reply, events.get_final_completion())

    def take(self, reply: Reply, completion: Any) -> None:
        super().take(reply, completion)
        # The SDK keeps unknown fields, and declares neither of these.
        message = completion.choices[0].message
        extra = [getattr(message, name, None) for name in ("reasoning_content", "reasoning")]
        reply.raw_thinking = next((text for text in extra if text), "")
        reply.message.pop("parsed", None)
        for call in reply.message.get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)

    def close(self) -> None:
        self.client.close()


class LiteLLM(_Dicts):
    """litellm's route for any server that speaks OpenAI's API."""

    package = "litellm"
    usage_option = True
    route: ClassVar[str] = "openai"

    def __init__(self, base_url: str, *, usage: bool = False) -> None:
        self.module = litellm_module()
        self.options: dict[str, Any] = {
            "model": f"{self.route}/{MODEL}",
            "api_base": base_url,
            "api_key": "conformance",
            "timeout": self.seconds,
        }
        self.usage: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}

    def fill(self, reply: Reply, history: Sequence[Any], *, tools: bool, force: bool, stream: bool) -> None:
        options = self.options | {"messages": list(history)} | _tools(tools, force)
        if not stream:
            self.take(reply, self.module.completion(**options))
            return
        chunks = []
        for chunk in self.module.completion(**options, **self.usage, stream=True):
            chunks.append(chunk)
            if chunk.choices:
                reply.text += chunk.choices[0].delta.content or ""
                reply.thinking += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
        seen = any(getattr(chunk, "usage", None) is not None for chunk in chunks)
        self.take(reply, self.module.stream_chunk_builder(chunks, messages=list(history)))
        if not seen:
            # The builder makes up an estimate where the stream reported nothing.
            reply.usage = None

    def take(self, reply: Reply, completion: Any) -> None:
        super().take(reply, completion)
        reply.thinking = getattr(completion.choices[0].message, "reasoning_content", None) or ""


class LiteLLMMoonshot(LiteLLM):
    """litellm's route for Moonshot's own API, which knows some of Kimi's rules."""

    route = "moonshot"


def litellm_module() -> Any:
    """Import litellm so that it fetches no prices and prints no advice.

    Raises:
        ImportError: It is not installed.
    """
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    module: Any = importlib.import_module("litellm")
    module.suppress_debug_info = True
    module.telemetry = False
    return module


def _tools(tools: bool, force: bool) -> dict[str, Any]:
    return ({"tools": [TOOL]} if tools else {}) | ({"tool_choice": "required"} if force else {})


def _parts(text: str, image: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}, {"type": _IMAGE, _IMAGE: {"url": image}}]
