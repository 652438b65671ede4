"""Histories of runs that were cut short or came from elsewhere: a thread stays usable, whatever is in it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from kimi_vertex_emulator import Emulator, Rules, Turn
from langchain_kimi_vertex import ChatKimiVertex


@pytest.fixture
def emulator() -> Any:
    """One that refuses a history with a call without a result."""
    with Emulator(rules=Rules(unanswered_calls="error")) as emulator:
        yield emulator


def _call(name: str, identity: str) -> Any:
    return {"name": name, "args": {}, "id": identity, "type": "tool_call"}


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_thread_goes_on_after_a_cancelled_run(
    emulator: Emulator, model: ChatKimiVertex, way: str
) -> None:
    """Calls without a result are sent with one that says so; the graph's own state stays as it is."""

    async def node(state: MessagesState) -> dict[str, Any]:
        if way == "invoke":
            return {"messages": [model.invoke(state["messages"])]}
        if way == "ainvoke":
            return {"messages": [await model.ainvoke(state["messages"])]}
        chunks = (
            list(model.stream(state["messages"]))
            if way == "stream"
            else [chunk async for chunk in model.astream(state["messages"])]
        )
        return {"messages": ["".join(chunk.text for chunk in chunks)]}

    graph: Any = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node")
    graph = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    asked = AIMessage("", tool_calls=[_call("look", "call_a"), _call("book", "call_b")])
    before = [HumanMessage("Book it."), asked, ToolMessage("found", tool_call_id="call_a")]
    await graph.aupdate_state(config, {"messages": before}, as_node="node")
    emulator.enqueue(Turn(thinking="t", text="I go on."))
    state = await graph.ainvoke({"messages": [HumanMessage("Go on.")]}, config)
    assert state["messages"][-1].text == "I go on."
    assert [message.type for message in state["messages"]][:4] == ["human", "ai", "tool", "human"]
    sent = [(message["role"], message["content"]) for message in emulator.requests[-1].json["messages"][2:]]
    assert sent[0] == ("tool", "found")
    assert sent[1][0] == "tool"
    assert "Not executed" in sent[1][1]
    assert sent[2] == ("user", "Go on.")
