"""The core's `tool_validation` through the LLM: flagged, repaired, asked again; whole and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.tools import FunctionTool

from kimi_vertex_emulator import Call, Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import MakeLLM

Ask: TypeAlias = Callable[[KimiVertex], ChatResponse]

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
STRING_FOR_NUMBER = Turn(thinking="Hm.", tool_calls=[Call("count", '{"n": "5"}')], usage=USAGE)
NO_NUMBER = Turn(thinking="Hm. ", tool_calls=[Call("count", '{"n": "x"}')], usage=USAGE)
GOOD = Turn(thinking="Oh.", tool_calls=[Call("count", {"n": 5})], usage=USAGE)


def count(n: int) -> str:
    """Count."""
    return f"counted to {n}"


TOOLS = [FunctionTool.from_defaults(count)]


@pytest.fixture(params=["sync", "async", "sync stream", "async stream"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """One question with a tool, in each way; of a stream the last response."""

    async def last(llm: KimiVertex) -> ChatResponse:
        stream = await llm.astream_chat_with_tools(TOOLS, user_msg="Count!")
        return [response async for response in stream][-1]

    def run(llm: KimiVertex) -> ChatResponse:
        if request.param == "sync":
            return llm.chat_with_tools(TOOLS, user_msg="Count!")
        if request.param == "async":
            return asyncio.run(llm.achat_with_tools(TOOLS, user_msg="Count!"))
        if request.param == "sync stream":
            return list(llm.stream_chat_with_tools(TOOLS, user_msg="Count!"))[-1]
        return asyncio.run(last(llm))

    return run


def _values(llm: KimiVertex, response: ChatResponse) -> list[Any]:
    calls = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    return [call.tool_kwargs for call in calls if call.tool_name == "count"]


def test_off(emulator: Emulator, make_llm: MakeLLM, ask: Ask) -> None:
    """A call is not judged."""
    emulator.enqueue(NO_NUMBER)
    llm = make_llm(tool_validation="off")
    assert _values(llm, ask(llm)) == [{"n": "x"}]


def test_flag(emulator: Emulator, make_llm: MakeLLM, ask: Ask) -> None:
    """A call that its schema does not admit is not executed; the response says why."""
    emulator.enqueue(STRING_FOR_NUMBER)
    llm = make_llm(tool_validation="flag")
    response = ask(llm)
    assert _values(llm, response) == []
    (invalid,) = response.message.additional_kwargs["invalid_tool_calls"]
    assert (invalid["name"], invalid["error"]) == ("count", "n: '5' is not of type 'integer'")


def test_repair(emulator: Emulator, make_llm: MakeLLM, ask: Ask) -> None:
    """A certain value is repaired, and the raw answer says where."""
    emulator.enqueue(STRING_FOR_NUMBER)
    llm = make_llm(tool_validation="repair")
    response = ask(llm)
    assert _values(llm, response) == [{"n": 5}]
    assert isinstance(response.raw, dict)
    assert list(response.raw["repaired_tool_calls"].values()) == [["n"]]


def test_reask(emulator: Emulator, make_llm: MakeLLM, ask: Ask) -> None:
    """The calls are those of the second answer, the usage that of both."""
    emulator.enqueue(NO_NUMBER, GOOD)
    llm = make_llm(tool_validation="reask")
    response = ask(llm)
    assert _values(llm, response) == [{"n": 5}]
    assert response.additional_kwargs["total_tokens"] == 30
    assert isinstance(response.raw, dict)
    assert response.raw["reasked"] == 1


def test_a_changed_setting_holds_for_the_next_request(emulator: Emulator, make_llm: MakeLLM) -> None:
    """`tool_validation` reaches the core also when it is set on a finished LLM."""
    llm = make_llm()
    llm.tool_validation = "reask"
    emulator.enqueue(NO_NUMBER, GOOD)
    assert _values(llm, llm.chat_with_tools(TOOLS, user_msg="Count!")) == [{"n": 5}]


def test_settings_travel(make_llm: MakeLLM) -> None:
    """The settings are in `to_dict` and come back with `from_dict`."""
    llm = make_llm(tool_validation="repair", seed=7)
    twin = KimiVertex.from_dict(llm.to_dict())
    assert (twin.tool_validation, twin.seed) == ("repair", 7)
