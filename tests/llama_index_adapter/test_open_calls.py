"""Runs that leave calls without a result: the next turn of the same conversation is accepted, and knows of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, JsonSerializer
from workflows.errors import WorkflowCancelledByUser

from kimi_vertex_emulator import Call, Emulator, Turn
from llama_index_kimi_vertex import KimiVertex

pytestmark = pytest.mark.parametrize("streaming", [True, False])

NOT_EXECUTED = "Not executed: the conversation went on without a result of this call."


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def note(text: str) -> str:
    """Write it down."""
    return text


ADD = Call("add", {"a": 1, "b": 2})
NOTE = Call("note", {"text": "three"})


async def next_turn(emulator: Emulator, agent: Any, context: Context) -> list[tuple[str, Any]]:
    """Ask again in the same conversation; give its tool results and texts as the strict server got them."""
    emulator.enqueue(Turn(thinking="I know.", text="Go on."))
    answer = await agent.run("And now?", ctx=context)
    assert str(answer) == "Go on."
    messages = emulator.requests[-1].json["messages"]
    return [(m["role"], m["content"]) for m in messages if m["role"] == "tool"]


@pytest.mark.parametrize(("kind", "resumed"), [("agent", True), ("workflow", False)])
async def test_early_stop(
    emulator: Emulator, llm: KimiVertex, streaming: bool, kind: str, resumed: bool
) -> None:
    """`early_stopping_method="generate"` drops the last calls; the conversation goes on, also from a stored context."""
    one = FunctionAgent(name="one", description="One.", tools=[add], llm=llm, streaming=streaming)
    agent: Any = one if kind == "agent" else AgentWorkflow(agents=[one])
    context = Context(agent)
    emulator.enqueue(
        Turn(thinking="First.", tool_calls=[ADD]),
        Turn(thinking="Again.", tool_calls=[ADD]),
        Turn(thinking="Enough.", text="3."),
    )
    answer = await agent.run("1+2?", ctx=context, max_iterations=2, early_stopping_method="generate")
    assert str(answer) == "3."
    if resumed:
        stored = context.to_dict(serializer=JsonSerializer())
        context = Context.from_dict(agent, stored, serializer=JsonSerializer())
    assert await next_turn(emulator, agent, context) == [("tool", "3"), ("tool", NOT_EXECUTED)]


async def test_direct_answer_beside_another_call(
    emulator: Emulator, llm: KimiVertex, streaming: bool
) -> None:
    """A tool that answers directly leaves the result of a call out that ends later."""

    async def note(text: str) -> str:
        """Write it down, in no hurry."""
        await asyncio.sleep(0.05)
        return text

    direct = FunctionTool.from_defaults(add, return_direct=True)
    agent = FunctionAgent(tools=[direct, note], llm=llm, streaming=streaming)
    context = Context(agent)
    emulator.enqueue(Turn(thinking="Both.", tool_calls=[ADD, NOTE]))
    assert str(await agent.run("1+2?", ctx=context)) == "3"
    assert await next_turn(emulator, agent, context) == [("tool", "3"), ("tool", NOT_EXECUTED)]


async def test_hand_over_beside_another_call(emulator: Emulator, llm: KimiVertex, streaming: bool) -> None:
    """The next agent, and the next turn, have the results of all calls."""
    names = ("one", "two")
    agents = [
        FunctionAgent(name=name, description=name, tools=[add], llm=llm, streaming=streaming)
        for name in names
    ]
    workflow = AgentWorkflow(
        agents=list(agents), root_agent="one", handoff_output_prompt="{to_agent}: {reason}"
    )
    context = Context(workflow)
    hand_over = Call("handoff", {"to_agent": "two", "reason": "It adds."})
    emulator.enqueue(
        Turn(thinking="Not mine.", tool_calls=[hand_over, ADD]),
        Turn(thinking="Mine.", tool_calls=[ADD]),
        Turn(thinking="Done.", text="3."),
    )
    assert str(await workflow.run("1+2?", ctx=context)) == "3."
    results = [content for _, content in await next_turn(emulator, workflow, context)]
    assert results == ["two: It adds.", "3", "3"]


async def test_cancelled_while_tools_run(emulator: Emulator, llm: KimiVertex, streaming: bool) -> None:
    """A run that is cancelled in a tool leaves calls without results."""
    started = asyncio.Event()

    async def wait(text: str) -> str:
        """Wait."""
        started.set()
        await asyncio.Event().wait()
        return text

    agent = FunctionAgent(tools=[wait, add], llm=llm, streaming=streaming)
    context = Context(agent)
    emulator.enqueue(Turn(thinking="Both.", tool_calls=[Call("wait", {"text": "x"}), ADD]))
    handler = agent.run("1+2?", ctx=context)
    await started.wait()
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    assert await next_turn(emulator, agent, context) == [("tool", NOT_EXECUTED)] * 2
