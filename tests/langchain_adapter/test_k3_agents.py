"""Tool loops of LangChain's agents with Kimi K3, on the strict emulator in each of K3's dialects."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from kimi_vertex_emulator import Call, Dialect, Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex

from .conftest import MakeModel

K3 = "moonshotai/kimi-k3"
DIALECTS: list[Dialect] = ["moonshot-k3", "vllm-k3", "vllm-k3-rust", "sglang-k3", "raw-k3"]
STEPS = 5
FOREIGN = [
    HumanMessage("What is 0 + 1?"),
    AIMessage(
        [{"type": "thinking", "thinking": "Sum.", "signature": "x"}, {"type": "text", "text": "One moment."}],
        tool_calls=[{"name": "add", "args": {"a": 0, "b": 1}, "id": "toolu_01", "type": "tool_call"}],
    ),
    ToolMessage("1", tool_call_id="toolu_01"),
    AIMessage("It is 1."),
]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def _turns() -> list[Turn]:
    loop = [Turn(thinking=f"Step {n}.", tool_calls=[Call("add", {"a": n, "b": 1})]) for n in range(STEPS)]
    return [*loop, Turn(thinking="Done.", text="It is 5.")]


def _graph(model: ChatKimiVertex) -> Any:
    bound = model.bind_tools([add])

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [bound.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", ask)
    graph.add_node("tools", ToolNode([add]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


@pytest.mark.parametrize(
    ("dialect", "kind", "foreign"),
    [
        *((dialect, "agent", True) for dialect in DIALECTS),
        ("moonshot-k3", "graph", False),
    ],
)
async def test_five_steps(
    emulator: Emulator, make_model: MakeModel, dialect: Dialect, kind: str, foreign: bool
) -> None:
    """Five steps end in the answer, every turn goes back with its thinking, and ids stay unique.

    Alone, and behind the turns of another vendor's model.
    """
    emulator.dialect = dialect
    emulator.enqueue(*_turns())
    model = make_model(model=K3, max_retries=0)
    agent: Any = create_agent(model, [add]) if kind == "agent" else _graph(model)
    history = [*(FOREIGN if foreign else []), HumanMessage("Count to 5.")]
    result = await agent.ainvoke({"messages": history})
    assert result["messages"][-1].text == "It is 5."
    sent = emulator.requests[-1].json["messages"]
    turns = [message for message in sent if message["role"] == "assistant"]
    expected = (["Sum.", ""] if foreign else []) + [f"Step {n}." for n in range(STEPS)]
    assert [turn.get("reasoning_content", turn.get("reasoning")) for turn in turns] == expected
    ids = [call["id"] for turn in turns for call in turn.get("tool_calls") or ()]
    assert len(set(ids)) == len(ids) == STEPS + foreign
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == ids
    assert len(emulator.requests) == STEPS + 1
