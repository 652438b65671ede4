"""Tool loops of LlamaIndex's agents with Kimi K3, on the strict emulator in each of K3's dialects."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock

from kimi_vertex_emulator import Call, Dialect, Emulator, Turn

from .conftest import MakeLLM

K3 = "moonshotai/kimi-k3"
DIALECTS: list[Dialect] = ["moonshot-k3", "vllm-k3", "vllm-k3-rust", "sglang-k3", "raw-k3"]
STEPS = 5
FOREIGN = [
    ChatMessage(role="user", content="What is 0 + 1?"),
    ChatMessage(
        role="assistant",
        blocks=[TextBlock(text="One moment."), ToolCallBlock(tool_call_id="toolu_01", tool_name="add", tool_kwargs={"a": 0, "b": 1})],
    ),
    ChatMessage(role=MessageRole.TOOL, content="1", additional_kwargs={"tool_call_id": "toolu_01"}),
    ChatMessage(role="assistant", content="It is 1."),
]  # fmt: skip


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.parametrize(
    ("dialect", "kind", "foreign"),
    [
        ("vllm-k3", "agent", True),
        ("moonshot-k3", "workflow", False),
    ],
)
async def test_five_steps(
    emulator: Emulator, make_llm: MakeLLM, dialect: Dialect, kind: str, foreign: bool
) -> None:
    """Five steps end in the answer, every turn goes back with its thinking, and ids stay unique.

    Alone, and behind the turns of another vendor's model.
    """
    emulator.dialect = dialect
    steps = [Turn(thinking=f"Step {n}.", tool_calls=[Call("add", {"a": n, "b": 1})]) for n in range(STEPS)]
    emulator.enqueue(*steps, Turn(thinking="Done.", text="It is 5."))
    agent: Any = FunctionAgent(name="a", description="Adds.", tools=[add], llm=make_llm(model=K3))
    if kind == "workflow":
        agent = AgentWorkflow(agents=[agent], root_agent="a")
    output = await agent.run(user_msg="Count to 5.", chat_history=list(FOREIGN) if foreign else None)
    assert str(output) == "It is 5."
    sent = emulator.requests[-1].json["messages"]
    turns = [message for message in sent if message["role"] == "assistant"]
    expected = (["", ""] if foreign else []) + [f"Step {n}." for n in range(STEPS)]
    assert [turn.get("reasoning_content", turn.get("reasoning")) for turn in turns] == expected
    ids = [call["id"] for turn in turns for call in turn.get("tool_calls") or ()]
    assert len(set(ids)) == len(ids) == STEPS + foreign
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == ids
    assert len(emulator.requests) == STEPS + 1
