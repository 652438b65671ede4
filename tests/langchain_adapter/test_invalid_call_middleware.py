"""Agents go on after calls that cannot be executed: the model gets an error as their result and corrects them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool

from kimi_vertex_emulator import Call, Emulator, Rules, Turn
from langchain_kimi_vertex import ChatKimiVertex
from langchain_kimi_vertex.invalid_calls import InvalidToolCallMiddleware

QUESTION: Any = {"messages": [{"role": "user", "content": "How many live in Oslo?"}]}
CUT = Call("population", '{"city": "Os')
GOOD = Call("population", {"city": "Oslo"})
DONE = Turn(thinking="Done.", text="700000.")


@pytest.fixture
def emulator() -> Any:
    """One that refuses a history with a call without a result."""
    with Emulator(rules=Rules(unanswered_calls="error")) as emulator:
        yield emulator


@tool
def population(city: str) -> str:
    """Inhabitants of a city."""
    return "700000"


async def _run(agent: Any, way: str) -> Any:
    """The messages at the end of a run."""
    if way == "invoke":
        return agent.invoke(QUESTION)["messages"]
    if way == "ainvoke":
        return (await agent.ainvoke(QUESTION))["messages"]
    if way == "v3":
        return agent.stream_events(QUESTION, version="v3").output["messages"]
    if way == "messages":
        parts = list(agent.stream(QUESTION, stream_mode=["messages", "values"]))
    else:
        parts = [part async for part in agent.astream(QUESTION, stream_mode=["messages", "values"])]
    return [part for mode, part in parts if mode == "values"][-1]["messages"]


@pytest.mark.parametrize(
    ("way", "calls"),
    [("invoke", [CUT]), ("amessages", [CUT]), ("ainvoke", [GOOD, CUT]), ("messages", [GOOD, CUT])],
)
async def test_the_model_corrects_itself(
    emulator: Emulator, model: ChatKimiVertex, way: str, calls: list[Call]
) -> None:
    """An invalid call is answered with an error, valid calls of its turn are executed, and the run goes on."""
    first = Turn(thinking="Look.", tool_calls=calls, finish_reason="length")
    emulator.enqueue(first, Turn(thinking="Again.", tool_calls=[GOOD]), DONE)
    agent: Any = create_agent(model, [population], middleware=[InvalidToolCallMiddleware()])
    messages = await _run(agent, way)
    assert messages[-1].text == "700000."
    errors = [m for m in messages if isinstance(m, ToolMessage) and m.status == "error"]
    assert len(errors) == 1
    assert "was not executed" in errors[0].text
    results = [m for m in emulator.requests[1].json["messages"] if m["role"] == "tool"]
    assert any("was not executed" in result["content"] for result in results)
    assert [result["content"] == "700000" for result in results] == [call is GOOD for call in calls]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "messages", "amessages", "v3"])
async def test_a_tool_judges_a_call_that_stays_unfit(
    emulator: Emulator, model: ChatKimiVertex, way: str
) -> None:
    """A call that still does not fit when it was asked for again ends no agent: LangChain's tool tells the model why."""
    unfit = Turn(thinking="Look.", tool_calls=[Call("population", {"town": "Oslo"})])
    emulator.enqueue(unfit, unfit, Turn(thinking="Again.", tool_calls=[GOOD]), DONE)
    messages = await _run(create_agent(model, [population]), way)
    assert messages[-1].text == "700000."
    told = [m["content"] for m in emulator.requests[2].json["messages"] if m["role"] == "tool"]
    assert any("city: Field required" in text for text in told)


async def test_a_call_that_cannot_be_read_is_never_handed_on(
    emulator: Emulator, model: ChatKimiVertex
) -> None:
    """Asked for again in vain, too, it stays an invalid call."""
    unreadable = Turn(thinking="Look.", tool_calls=[Call("population", "Oslo")])
    emulator.enqueue(unreadable, unreadable)
    message = await model.bind_tools([population]).ainvoke("How many?")
    assert message.tool_calls == []
    assert message.invalid_tool_calls


def test_a_model_that_never_learns_ends_the_run(emulator: Emulator, model: ChatKimiVertex) -> None:
    """After a few turns of invalid calls only, the run ends; they are in the state, with their errors."""
    emulator.enqueue(*[Turn(thinking="t", tool_calls=[CUT], finish_reason="length")] * 3)
    agent: Any = create_agent(model, [population], middleware=[InvalidToolCallMiddleware(limit=2)])
    messages = agent.invoke(QUESTION)["messages"]
    assert sum(isinstance(message, AIMessage) for message in messages) == 3
    assert isinstance(messages[-1], ToolMessage)
