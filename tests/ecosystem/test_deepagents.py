"""deepagents: planning, files and sub-agents over the model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import BaseTool

from kimi_vertex_emulator import Call, Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex

deepagents: Any = pytest.importorskip("deepagents", reason="deepagents is in the dependency group ecosystem")


def _thinking(body: Any) -> list[str]:
    return [message["reasoning_content"] for message in body["messages"] if message["role"] == "assistant"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_deep_agent(
    emulator: Emulator, model: ChatKimiVertex, population: BaseTool, asynchronous: bool
) -> None:
    """A deep agent delegates and writes a file; both conversations keep their own thinking."""
    subagent = {
        "name": "counter",
        "description": "Counts people.",
        "system_prompt": "Count.",
        "tools": [population],
    }
    agent = deepagents.create_deep_agent(model=model, subagents=[subagent])
    task = {"description": "Count the people of Oslo.", "subagent_type": "counter"}
    emulator.enqueue(
        Turn(thinking="Delegate.", tool_calls=[Call("task", task)]),
        Turn(thinking="I look it up.", tool_calls=[Call("population", {"city": "Oslo"})]),
        Turn(thinking="Found it.", text="700000"),
        Turn(
            thinking="Note it.",
            tool_calls=[Call("write_file", {"file_path": "/oslo.txt", "content": "700000"})],
        ),
        Turn(thinking="Done.", text="Oslo has 700000."),
    )
    question = {"messages": [("user", "How many live in Oslo?")]}
    result = await agent.ainvoke(question) if asynchronous else agent.invoke(question)
    assert result["messages"][-1].text == "Oslo has 700000."
    assert list(result["files"]) == ["/oslo.txt"]
    bodies = [request.json for request in emulator.requests]
    assert _thinking(bodies[2]) == ["I look it up."]
    assert _thinking(bodies[4]) == ["Delegate.", "Note it."]


def test_deep_agent_by_name(
    emulator: Emulator, population: BaseTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's name is enough; a call that cannot be executed is answered, and made again."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.origin.removeprefix("http://"))
    agent = deepagents.create_deep_agent(
        model="kimi_vertex:moonshotai/kimi-k2-thinking-maas", tools=[population]
    )
    emulator.enqueue(
        Turn(thinking="Cut.", tool_calls=[Call("population", '{"city": "Os')], finish_reason="length"),
        Turn(thinking="Again.", tool_calls=[Call("population", {"city": "Oslo"})]),
        Turn(thinking="Done.", text="700000."),
    )
    result = agent.invoke({"messages": [("user", "How many live in Oslo?")]})
    assert result["messages"][-1].text == "700000."
