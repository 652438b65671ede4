"""Agents on the strict emulator: every tool-call turn goes back with its own thinking and its ids unchanged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.memory import Memory
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from kimi_vertex_emulator import Call, Emulator, Rules, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import MakeLLM


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


THREE_ROUNDS = [
    Turn(thinking="First the sum.", tool_calls=[Call("add", {"a": 1, "b": 2})]),
    Turn(thinking="Now the product.", text="One moment.", tool_calls=[Call("multiply", {"a": 3, "b": 4})]),
    Turn(thinking="Once more.", tool_calls=[Call("add", {"a": 12, "b": 1})]),
    Turn(thinking="I have it.", text="The result is 13."),
]
IDS = ["functions.add:0", "functions.multiply:1", "functions.add:2"]


def assistant_turns(request: Any) -> list[dict[str, Any]]:
    return [message for message in request.json["messages"] if message["role"] == "assistant"]


async def run(agent: Any, message: str, **kwargs: Any) -> tuple[AgentOutput, list[Any]]:
    handler = agent.run(user_msg=message, **kwargs)
    events = [event async for event in handler.stream_events()]
    return await handler, events


def thinking_of(events: list[Any]) -> str:
    return "".join(event.thinking_delta or "" for event in events if isinstance(event, AgentStream))


@pytest.mark.parametrize("streaming", [True, False])
async def test_three_rounds(emulator: Emulator, make_llm: MakeLLM, streaming: bool, memory: Memory) -> None:
    """Each request of a tool loop replays each call with its own thinking, its id and its result."""
    heard: list[str] = []
    emulator.enqueue(*THREE_ROUNDS)
    agent = FunctionAgent(tools=[add, multiply], llm=make_llm(on_thinking=heard.append), streaming=streaming)
    output, events = await run(agent, "(1+2)*4+1?", memory=memory)

    assert output.response.content == "The result is 13."
    last = assistant_turns(emulator.requests[-1])
    assert [turn["reasoning_content"] for turn in last] == [
        "First the sum.",
        "Now the product.",
        "Once more.",
    ]
    assert [call["id"] for turn in last for call in turn["tool_calls"]] == IDS
    results = [message for message in emulator.requests[-1].json["messages"] if message["role"] == "tool"]
    assert [(result["tool_call_id"], result["content"]) for result in results] == list(
        zip(IDS, ["3", "12", "13"], strict=True)
    )
    assert "".join(heard) == "First the sum.Now the product.Once more.I have it."
    assert len(emulator.requests) == 4
    assert [result.tool_id for result in events if isinstance(result, ToolCallResult)] == IDS


async def test_stranded_answer(emulator: Emulator, make_llm: MakeLLM, memory: Memory) -> None:
    """With `empty_turn="promote"` an answer that the model left in its thinking is the agent's answer.

    https://github.com/run-llama/llama_index/issues/21337
    """
    emulator.enqueue(THREE_ROUNDS[0], Turn(thinking="The result is 3.", text=""))
    agent = FunctionAgent(tools=[add], llm=make_llm(empty_turn="promote"))
    output, _ = await run(agent, "1+2?", memory=memory)
    assert output.response.content == "The result is 3."


async def test_thinking_deltas_are_agent_events(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """A streaming agent shows the thinking of all its steps, and its output keeps the last block."""
    emulator.enqueue(*THREE_ROUNDS)
    output, events = await run(FunctionAgent(tools=[add, multiply], llm=llm), "?", memory=memory)
    assert thinking_of(events) == "First the sum.Now the product.Once more.I have it."
    assert output.response.blocks[1] == ThinkingBlock(content="I have it.")
    json.dumps(output.raw)


@pytest.mark.parametrize("streaming", [True, False])
async def test_parallel_calls(emulator: Emulator, llm: KimiVertex, streaming: bool, memory: Memory) -> None:
    """Parallel calls run once each; their results go back in the order of the calls, whatever finished first."""
    first = asyncio.Event()

    async def slow(x: int) -> str:
        """Slow."""
        await first.wait()
        return f"slow {x}"

    async def quick(x: int) -> str:
        """Quick."""
        first.set()
        return f"quick {x}"

    emulator.enqueue(
        Turn(thinking="Both.", tool_calls=[Call("slow", {"x": 1}), Call("quick", {"x": 2})]),
        Turn(text="Done."),
    )
    await run(FunctionAgent(tools=[slow, quick], llm=llm, streaming=streaming), "?", memory=memory)
    results = [message for message in emulator.requests[-1].json["messages"] if message["role"] == "tool"]
    assert [(r["tool_call_id"], r["content"]) for r in results] == [
        ("functions.slow:0", "slow 1"),
        ("functions.quick:1", "quick 2"),
    ]


async def test_one_call_at_a_time(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """With `allow_parallel_tool_calls=False` an agent runs one call, and replays only that one."""
    emulator.enqueue(
        Turn(thinking="t", tool_calls=[Call("add", {"a": 1, "b": 2}), Call("multiply", {"a": 1, "b": 2})]),
        Turn(text="Done."),
    )
    agent = FunctionAgent(tools=[add, multiply], llm=llm, allow_parallel_tool_calls=False)
    _, events = await run(agent, "?", memory=memory)
    assert [event.tool_name for event in events if isinstance(event, ToolCallResult)] == ["add"]
    (turn,) = assistant_turns(emulator.requests[-1])
    assert [call["function"]["name"] for call in turn["tool_calls"]] == ["add"]


CUT = Turn(thinking="t", tool_calls=[Call("delete", '{"path": "/tmp')], finish_reason="length")
DAMAGED = Turn(thinking="t", tool_calls=[Call("delete", "{path}")])


@pytest.mark.parametrize(
    ("turns", "reason", "streaming"),
    [([CUT], "cut off by the token limit", True), ([DAMAGED, DAMAGED], "not valid JSON", False)],
    ids=["cut off", "damaged again"],
)
async def test_model_corrects_an_invalid_call(
    emulator: Emulator, llm: KimiVertex, streaming: bool, memory: Memory, turns: list[Turn], reason: str
) -> None:
    """A call that cannot be executed is not run; the model is told why, and can make it again."""
    ran: list[str] = []

    def delete(path: str) -> str:
        """Delete."""
        ran.append(path)
        return "done"

    again = Turn(thinking="Whole, then.", tool_calls=[Call("delete", {"path": "/tmp/a"})])
    emulator.enqueue(*turns, again, Turn(text="Gone."))
    output, _ = await run(FunctionAgent(tools=[delete], llm=llm, streaming=streaming), "?", memory=memory)
    assert (ran, output.response.content) == (["/tmp/a"], "Gone.")
    told, answered = emulator.requests[-2].json["messages"], emulator.requests[-1].json["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "tool"]
    assert told[1]["tool_calls"][0]["id"] == told[2]["tool_call_id"]
    assert reason in told[2]["content"]
    assert [message["content"] for message in answered if message["role"] == "tool"][1] == "done"


async def test_initial_tool_choice(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """The first step may force a tool; the later ones do not."""
    emulator.enqueue(*THREE_ROUNDS[:1], THREE_ROUNDS[-1])
    agent = FunctionAgent(tools=[add, multiply], llm=llm, initial_tool_choice="add")
    await run(agent, "?", memory=memory)
    choices = [request.json.get("tool_choice") for request in emulator.requests]
    assert choices == [{"type": "function", "function": {"name": "add"}}, None]


@pytest.mark.parametrize("streaming", [True, False])
async def test_initial_tool_choice_that_the_server_refuses(
    make_llm: MakeLLM, memory: Memory, streaming: bool
) -> None:
    """A first call that was to be forced and came as JSON text is a call all the same."""
    with Emulator(rules=Rules(refuse_forced_tool_choice=True)) as strict:
        strict.enqueue(Turn(thinking="t", text=['{"a": 1,', ' "b": 2}']), Turn(text="It is 3."))
        agent = FunctionAgent(
            tools=[add, multiply],
            llm=make_llm(base_url=strict.base_url),
            initial_tool_choice="add",
            streaming=streaming,
        )
        output, events = await run(agent, "1+2?", memory=memory)
    assert output.response.content == "It is 3."
    [result] = [event for event in events if isinstance(event, ToolCallResult)]
    assert (result.tool_name, result.tool_output.content) == ("add", "3")


async def test_return_direct(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """A tool that answers directly ends the run, and the next turn of the conversation is still accepted."""
    tool = FunctionTool.from_defaults(add, return_direct=True)
    emulator.enqueue(THREE_ROUNDS[0], Turn(text="As I said, 3."))
    agent = FunctionAgent(tools=[tool], llm=llm)
    output, _ = await run(agent, "1+2?", memory=memory)
    assert output.response.content == "3"
    again, _ = await run(agent, "Sure?", memory=memory)
    assert again.response.content == "As I said, 3."
    roles = [message["role"] for message in emulator.requests[-1].json["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


async def test_tool_errors_go_back_to_the_model(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """A failing tool becomes a result that the model reads."""

    def broken(a: int) -> int:
        """Break."""
        raise RuntimeError("out of order")

    emulator.enqueue(Turn(thinking="t", tool_calls=[Call("broken", {"a": 1})]), Turn(text="It is broken."))
    output, _ = await run(FunctionAgent(tools=[broken], llm=llm), "?", memory=memory)
    assert output.response.content == "It is broken."
    assert "out of order" in emulator.requests[-1].json["messages"][-1]["content"]


async def test_workflow_with_hand_off(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """An `AgentWorkflow` hands over to the next agent, and each agent's thinking stays with its calls."""
    first = FunctionAgent(
        name="greeter",
        description="Greets.",
        tools=[],
        can_handoff_to=["calculator"],
        llm=llm,
        streaming=False,
    )
    second = FunctionAgent(
        name="calculator", description="Calculates.", llm=llm, tools=[add], streaming=False
    )
    emulator.enqueue(
        Turn(
            thinking="Not mine.", tool_calls=[Call("handoff", {"to_agent": "calculator", "reason": "a sum"})]
        ),
        Turn(thinking="Mine.", tool_calls=[Call("add", {"a": 1, "b": 2})]),
        Turn(thinking="So.", text="3"),
    )
    workflow = AgentWorkflow(agents=[first, second], root_agent="greeter")
    output, _ = await run(workflow, "1+2?", memory=memory)
    assert (output.response.content, output.current_agent_name) == ("3", "calculator")
    turns = assistant_turns(emulator.requests[-1])
    assert [turn["reasoning_content"] for turn in turns if turn.get("tool_calls")] == ["Not mine.", "Mine."]


@pytest.mark.parametrize("streaming", [True, False])
async def test_react_agent(emulator: Emulator, make_llm: MakeLLM, streaming: bool, memory: Memory) -> None:
    """A ReAct agent calls its tool from text and gives the bare answer, with the thinking delivered."""
    heard: list[str] = []
    emulator.enqueue(
        Turn(thinking="Use add.", text='Thought: I add.\nAction: add\nAction Input: {"a": 1, "b": 2}'),
        Turn(thinking="Done.", text="Thought: I can answer.\nAnswer: 3"),
    )
    agent = ReActAgent(tools=[add], llm=make_llm(on_thinking=heard.append), streaming=streaming)
    output, events = await run(agent, "1+2?", memory=memory)
    assert output.response.content == "3"
    assert "".join(heard) == "Use add.Done."
    assert thinking_of(events) == ("Use add.Done." if streaming else "")


async def test_code_act_agent(emulator: Emulator, make_llm: MakeLLM, memory: Memory) -> None:
    """A CodeAct agent runs the model's code and answers from its output, with the thinking delivered."""
    heard: list[str] = []
    ran: list[str] = []

    async def execute(code: str) -> str:
        """Run code."""
        ran.append(code)
        return "3"

    emulator.enqueue(
        Turn(thinking="Code it.", text="<execute>print(1 + 2)</execute>"),
        Turn(thinking="Fine.", text="It is 3."),
    )
    agent = CodeActAgent(execute, llm=make_llm(on_thinking=heard.append), streaming=False)
    output, _ = await run(agent, "1+2?", memory=memory)
    assert ran == ["print(1 + 2)"]
    assert output.response.content == "It is 3."
    assert "".join(heard) == "Code it.Fine."


class Sum(BaseModel):
    """A sum."""

    total: int


async def test_structured_answer(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """`output_cls` gives the agent's answer as an object."""
    emulator.enqueue(
        THREE_ROUNDS[0],
        Turn(thinking="So.", text="It is 3."),
        Turn(thinking="Fill.", tool_calls=[Call("Sum", {"total": 3})]),
    )
    agent = FunctionAgent(tools=[add], llm=llm, output_cls=Sum)
    output, _ = await run(agent, "1+2?", memory=memory)
    assert output.structured_response == {"total": 3}


async def test_conversation_over_two_runs(emulator: Emulator, llm: KimiVertex, memory: Memory) -> None:
    """The second run of a conversation replays the first one's calls with their thinking."""
    agent = FunctionAgent(tools=[add, multiply], llm=llm)
    emulator.enqueue(*THREE_ROUNDS, Turn(text="Gladly."))
    await run(agent, "?", memory=memory)
    await run(agent, "Thanks", memory=memory)
    turns = assistant_turns(emulator.requests[-1])
    assert [turn["reasoning_content"] for turn in turns[:3]] == [
        "First the sum.",
        "Now the product.",
        "Once more.",
    ]
    assert [call["id"] for turn in turns for call in turn.get("tool_calls", [])] == IDS
