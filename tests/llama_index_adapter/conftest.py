"""Fixtures of the adapter's tests: a strict emulator, models that talk to it, one driver for all method families."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeAlias, cast

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.memory import Memory
from llama_index_instrumentation import get_dispatcher
from pydantic import Field

from kimi_vertex_emulator import Emulator
from llama_index_kimi_vertex import KimiVertex

CORE_WARNINGS = (
    "ignore::pydantic.warnings.PydanticDeprecationWarning",
    "error::pydantic.warnings.PydanticDeprecationWarning:llama_index_kimi_vertex",
    "ignore:is_running called from within a step:DeprecationWarning",
)

MakeLLM: TypeAlias = Callable[..., KimiVertex]
Chat: TypeAlias = Callable[..., list[ChatResponse]]
Complete: TypeAlias = Callable[..., list[CompletionResponse]]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let llama-index-core and its workflow engine use what pydantic has deprecated; ours stay errors."""
    for warning in reversed(CORE_WARNINGS):
        item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    for name in (
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_CLOUD_LOCATION",
        "KIMI_VERTEX_ENDPOINT",
        "KIMI_VERTEX_EMULATOR_HOST",
    ):
        monkeypatch.delenv(name, raising=False)
    with Emulator(strict=True) as running:
        yield running


@pytest.fixture
def make_llm(emulator: Emulator) -> MakeLLM:
    def make(**settings: Any) -> KimiVertex:
        return KimiVertex(
            **cast("Any", {"base_url": emulator.base_url, "max_retries": 0, "pace": None, **settings})
        )

    return make


@pytest.fixture
def llm(make_llm: MakeLLM) -> KimiVertex:
    return make_llm()


async def collect(stream: Any) -> list[Any]:
    """All items of an asynchronous method's stream."""
    return [item async for item in await stream]


@pytest.fixture(params=["chat", "stream_chat", "achat", "astream_chat"])
def chat(request: pytest.FixtureRequest) -> Chat:
    """One of the four chat methods; gives all its responses, the last one last."""
    name = request.param

    def run(llm: KimiVertex, messages: Sequence[ChatMessage] | str, **options: Any) -> list[ChatResponse]:
        history = [ChatMessage(messages)] if isinstance(messages, str) else messages
        method = getattr(llm, name)
        if name == "chat":
            return [method(history, **options)]
        if name == "stream_chat":
            return list(method(history, **options))
        if name == "achat":
            return [asyncio.run(method(history, **options))]
        return asyncio.run(collect(method(history, **options)))

    run.__name__ = name
    return run


@pytest.fixture(params=["complete", "stream_complete", "acomplete", "astream_complete"])
def complete(request: pytest.FixtureRequest) -> Complete:
    """One of the four completion methods; gives all its responses, the last one last."""
    name = request.param

    def run(llm: KimiVertex, prompt: str, **options: Any) -> list[CompletionResponse]:
        method = getattr(llm, name)
        if name == "complete":
            return [method(prompt, **options)]
        if name == "stream_complete":
            return list(method(prompt, **options))
        if name == "acomplete":
            return [asyncio.run(method(prompt, **options))]
        return asyncio.run(collect(method(prompt, **options)))

    run.__name__ = name
    return run


class Recorder(BaseEventHandler):
    """Keeps every event that reaches the root dispatcher."""

    events: list[BaseEvent] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Recorder"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.events.append(event)

    def count(self, kind: type[BaseEvent]) -> int:
        return sum(type(event) is kind for event in self.events)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    dispatcher = get_dispatcher()
    handler = Recorder()
    dispatcher.event_handlers = [*dispatcher.event_handlers, handler]
    yield handler
    dispatcher.event_handlers = [other for other in dispatcher.event_handlers if other is not handler]


@pytest.fixture
async def make_memory() -> AsyncIterator[Callable[..., Memory]]:
    """`Memory.from_defaults`, whose database connections are closed at the end."""
    made: list[Memory] = []

    def make(**settings: Any) -> Memory:
        made.append(Memory.from_defaults(**settings))
        return made[-1]

    yield make
    for memory in made:
        if (engine := getattr(memory.sql_store, "_async_engine", None)) is not None:
            await engine.dispose()


@pytest.fixture
def memory(make_memory: Callable[..., Memory]) -> Memory:
    return make_memory()
