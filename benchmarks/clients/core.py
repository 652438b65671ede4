"""This project's core, without any framework."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from benchmarks.clients.base import PROMPT, Case, Client, Sink
from benchmarks.scenarios import Scenario, tool
from kimi_vertex import (
    Event,
    KimiVertexClient,
    Message,
    RequestOptions,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
)


class Core(Client):
    """`KimiVertexClient` with its defaults."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.client = cache(self._client)

    def _client(self, scenario: Scenario, variant: str = "") -> KimiVertexClient:
        return KimiVertexClient(base_url=self.url(scenario))

    def stream(self, case: Case, think: Sink, say: Sink) -> None:
        with self.client(case.scenario, case.variant).stream(PROMPT, **_options(case)) as events:
            for event in events:
                _take(event, think, say)

    async def astream(self, case: Case, think: Sink, say: Sink) -> None:
        async with self.client(case.scenario, case.variant).astream(PROMPT, **_options(case)) as events:
            async for event in events:
                _take(event, think, say)

    def whole(self, case: Case) -> int:
        completion = self.client(case.scenario).complete(PROMPT)
        return len(completion.text) + len(completion.thinking or "")

    def prepare(self, messages: list[dict[str, Any]]) -> list[Message]:
        return [_message(message) for message in messages]

    def send(self, prepared: Any, case: Case) -> None:
        self.client(case.scenario).complete(prepared)


def _options(case: Case) -> RequestOptions:
    return RequestOptions(tools=[tool()]) if case.scenario.calls else RequestOptions()


def _take(event: Event, think: Sink, say: Sink) -> None:
    kind = type(event)
    if kind is ThinkingDelta:
        think(event.text)  # type: ignore[union-attr]
    elif kind is TextDelta:
        say(event.text)  # type: ignore[union-attr]
    elif kind is ToolCallDelta:
        say(event.arguments)  # type: ignore[union-attr]


def _message(message: Mapping[str, Any]) -> Message:
    return Message(
        role=message["role"],
        content=message["content"],
        thinking=message.get("reasoning_content"),
        tool_calls=[
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", ())
        ],
        tool_call_id=message.get("tool_call_id"),
    )
