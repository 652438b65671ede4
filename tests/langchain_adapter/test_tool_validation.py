"""The core's `tool_validation` through the chat model: flagged, repaired, asked again; invoked and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

from kimi_vertex_emulator import Call, Emulator, Turn

from .conftest import MakeModel

Ask: TypeAlias = Callable[[Runnable[Any, Any]], AIMessage]

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
STRING_FOR_NUMBER = Turn(thinking="Hm.", tool_calls=[Call("count", '{"n": "5"}')], usage=USAGE)
NO_NUMBER = Turn(thinking="Hm. ", tool_calls=[Call("count", '{"n": "x"}')], usage=USAGE)
GOOD = Turn(thinking="Oh.", tool_calls=[Call("count", {"n": 5})], usage=USAGE)


@tool
def count(n: int) -> str:
    """Count."""
    return f"counted to {n}"


@pytest.fixture(params=["invoke", "stream", "ainvoke", "astream"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """One question, in each way; a stream's chunks are joined."""

    async def astream(model: Runnable[Any, Any]) -> Any:
        chunks = [chunk async for chunk in model.astream("Count!")]
        return sum(chunks[1:], chunks[0])

    def run(model: Runnable[Any, Any]) -> Any:
        if request.param == "invoke":
            return model.invoke("Count!")
        if request.param == "ainvoke":
            return asyncio.run(model.ainvoke("Count!"))
        if request.param == "astream":
            return asyncio.run(astream(model))
        chunks = list(model.stream("Count!"))
        return sum(chunks[1:], chunks[0])

    return run


def _values(message: AIMessage) -> list[dict[str, Any]]:
    return [call["args"] for call in message.tool_calls]


def test_off(emulator: Emulator, make_model: MakeModel, ask: Ask) -> None:
    """A call is not judged."""
    emulator.enqueue(NO_NUMBER)
    assert _values(ask(make_model(tool_validation="off").bind_tools([count]))) == [{"n": "x"}]


def test_flag(emulator: Emulator, make_model: MakeModel, ask: Ask) -> None:
    """A call that its schema does not admit is an invalid call, with the reason in the metadata."""
    emulator.enqueue(STRING_FOR_NUMBER)
    message = ask(make_model(tool_validation="flag").bind_tools([count]))
    assert message.tool_calls == []
    (invalid,) = message.invalid_tool_calls
    assert invalid["name"] == "count"
    (reason,) = message.response_metadata["invalid_tool_call_errors"].values()
    assert reason == "n: '5' is not of type 'integer'"


def test_repair(emulator: Emulator, make_model: MakeModel, ask: Ask) -> None:
    """A certain value is repaired, and the metadata says where."""
    emulator.enqueue(STRING_FOR_NUMBER)
    message = ask(make_model(tool_validation="repair").bind_tools([count]))
    assert _values(message) == [{"n": 5}]
    assert message.response_metadata["repaired_tool_calls"] == {message.tool_calls[0]["id"]: ["n"]}


def test_reask(emulator: Emulator, make_model: MakeModel, ask: Ask) -> None:
    """The calls are those of the second answer, the usage that of both; the first one's are invalid."""
    emulator.enqueue(NO_NUMBER, GOOD)
    message = ask(make_model(tool_validation="reask").bind_tools([count]))
    assert _values(message) == [{"n": 5}]
    assert [call["id"] for call in message.invalid_tool_calls] == ["functions.count:0"]
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] == 30
    assert message.response_metadata["reasked"] == 1


@pytest.mark.parametrize("version", ["v2", "v3"])
async def test_events(emulator: Emulator, make_model: MakeModel, version: Literal["v2", "v3"]) -> None:
    """In event streams, too, only the repaired call is seen."""
    emulator.enqueue(STRING_FOR_NUMBER)
    model = make_model(tool_validation="repair").bind_tools([count])
    if version == "v3":
        stream: Any = await model.astream_events("Count!", version="v3")
        message = await stream.output
    else:
        events: list[Any] = [event async for event in model.astream_events("Count!", version="v2")]
        message = events[-1]["data"]["output"]
    assert _values(message) == [{"n": 5}]
