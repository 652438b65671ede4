"""LangGraph around the model: stream modes, checkpoints, sub-graphs, interrupts, switched models, the cache.

Every test ends on the strict server, which refuses a history whose thinking was lost on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.types import Command, interrupt

from kimi_vertex_emulator import Call, Emulator, Turn

from .conftest import MakeModel

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

MODES = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"]
CONFIG: Any = {"configurable": {"thread_id": "1"}}
QUESTION: Any = {"messages": [HumanMessage("Compare Oslo and Bergen.")]}
BOTH = Turn(
    thinking=["I need ", "both."],
    tool_calls=[Call("population", {"city": "Oslo"}), Call("population", {"city": "Bergen"})],
)
DONE = Turn(thinking="Done.", text="Oslo is larger.")


@tool
def population(city: str) -> str:
    """Inhabitants of a city."""
    return {"Oslo": "700000", "Bergen": "290000"}[city]


def _sent(emulator: Emulator, role: str = "assistant", field: str = "reasoning_content") -> list[Any]:
    """A field of the last request's messages."""
    history = emulator.requests[-1].json["messages"]
    return [message.get(field) for message in history if message["role"] == role]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("version", ["v0", "v1"])
async def test_all_stream_modes_with_a_checkpointer(
    emulator: Emulator, make_model: MakeModel, version: str, asynchronous: bool
) -> None:
    """With every stream mode on, thinking streams, is checkpointed, and goes back with the next question."""
    agent: Any = create_agent(make_model(output_version=version), [population], checkpointer=InMemorySaver())
    emulator.enqueue(BOTH, DONE, Turn(thinking="Polite.", text="You are welcome."))
    if asynchronous:
        parts = [part async for part in agent.astream(QUESTION, CONFIG, stream_mode=MODES)]
    else:
        parts = list(agent.stream(QUESTION, CONFIG, stream_mode=MODES))
    assert {mode for mode, _ in parts} == set(MODES) - {"custom"}
    chunks = [part[0] for mode, part in parts if mode == "messages" and isinstance(part[0], AIMessageChunk)]
    blocks: list[Any] = [block for chunk in chunks for block in chunk.content_blocks]
    assert "".join(block.get("reasoning", "") for block in blocks) == "I need both.Done."
    agent.invoke({"messages": [HumanMessage("Thanks.")]}, CONFIG)
    assert _sent(emulator) == ["I need both.", "Done."]


def test_custom_stream_mode(emulator: Emulator, make_model: MakeModel) -> None:
    """Thinking can be sent to LangGraph's `custom` stream from a node, with `on_thinking`."""
    from langgraph.config import get_stream_writer

    model = make_model()

    def ask(state: MessagesState) -> Any:
        write = get_stream_writer()
        return {"messages": [model.invoke(state["messages"], on_thinking=write)]}

    graph: Any = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    emulator.enqueue(Turn(thinking=["I need ", "no tool."], text="Oslo."))
    assert list(graph.stream(QUESTION, stream_mode="custom")) == ["I need ", "no tool."]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_subgraph(emulator: Emulator, make_model: MakeModel, asynchronous: bool) -> None:
    """An agent that is a node of another graph streams its thinking there, and its history is the parent's."""
    agent: Any = create_agent(make_model(), [population], name="researcher")
    graph: Any = (
        StateGraph(MessagesState)
        .add_node("researcher", agent)
        .add_edge(START, "researcher")
        .add_edge("researcher", END)
        .compile(checkpointer=InMemorySaver())
    )
    emulator.enqueue(BOTH, DONE, Turn(thinking="Polite.", text="You are welcome."))
    if asynchronous:
        stream = graph.astream(QUESTION, CONFIG, stream_mode="messages", subgraphs=True)
        parts = [part async for part in stream]
    else:
        parts = list(graph.stream(QUESTION, CONFIG, stream_mode="messages", subgraphs=True))
    assert all(path[0].startswith("researcher:") for path, _ in parts)
    thinking = [
        chunk.additional_kwargs.get("reasoning_content", "")
        for _, (chunk, _) in parts
        if isinstance(chunk, AIMessageChunk)
    ]
    assert "".join(thinking) == "I need both.Done."
    graph.invoke({"messages": [HumanMessage("Thanks.")]}, CONFIG)
    assert _sent(emulator) == ["I need both.", "Done."]


def test_interrupt_inside_a_tool(emulator: Emulator, make_model: MakeModel) -> None:
    """A tool that interrupts the run is resumed with the answer, and the turn keeps its thinking."""

    @tool
    def ask_person(question: str) -> str:
        """Ask the person."""
        return str(interrupt(question))

    agent: Any = create_agent(make_model(), [ask_person], checkpointer=InMemorySaver())
    emulator.enqueue(
        Turn(thinking="I must ask.", tool_calls=[Call("ask_person", {"question": "Which?"})]), DONE
    )
    [waiting] = agent.invoke(QUESTION, CONFIG)["__interrupt__"]
    assert waiting.value == "Which?"
    agent.invoke(Command(resume="Oslo"), CONFIG)
    assert _sent(emulator) == ["I must ask."]
    assert _sent(emulator, "tool", "content") == ["Oslo"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_parallel_results_go_back_in_the_calls_order(
    emulator: Emulator, make_model: MakeModel, order: Sequence[int]
) -> None:
    """Results of parallel calls are sent in the order of the calls, in whatever order the tools ended."""
    cities = ["Oslo", "Bergen"]

    def both(state: MessagesState) -> Any:
        last: Any = state["messages"][-1]
        results = [population.invoke({**call, "type": "tool_call"}) for call in last.tool_calls]
        return {"messages": [results[place] for place in order]}

    model = make_model().bind_tools([population])

    def ask(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    graph: Any = (
        StateGraph(MessagesState)
        .add_node("model", ask)
        .add_node("both", both)
        .add_edge(START, "model")
        .add_conditional_edges("model", tools_condition, {"tools": "both", END: END})
        .add_edge("both", "model")
        .compile()
    )
    emulator.enqueue(BOTH, DONE)
    graph.invoke(QUESTION)
    assert _sent(emulator, "tool", "content") == [population.invoke({"city": city}) for city in cities]
    assert _sent(emulator, "tool", "tool_call_id") == ["functions.population:0", "functions.population:1"]


class Foreign(FakeMessagesListChatModel):
    """Another provider's model, with ids of its own."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


_CALL: Any = {"name": "population", "args": {"city": "Oslo"}, "id": "toolu_01", "type": "tool_call"}
FOREIGN = {
    "without thinking": (AIMessage("", tool_calls=[_CALL]), " "),
    "Anthropic's blocks": (
        AIMessage([{"type": "thinking", "thinking": "Let me look.", "signature": "x"}], tool_calls=[_CALL]),
        "Let me look.",
    ),
    "v1 blocks": (
        AIMessage(
            content_blocks=[{"type": "reasoning", "reasoning": "Let me look."}, _CALL], tool_calls=[_CALL]
        ),
        "Let me look.",
    ),
}


@pytest.mark.parametrize(("message", "thinking"), FOREIGN.values(), ids=FOREIGN)
def test_a_conversation_that_another_model_began(
    emulator: Emulator, make_model: MakeModel, message: AIMessage, thinking: str
) -> None:
    """Kimi takes over between a foreign tool call and its answer, and gets what thinking there is."""
    kimi, foreign = make_model(), Foreign(responses=[message])

    @wrap_model_call
    def switch(request: Any, handler: Any) -> Any:
        return handler(request.override(model=foreign if len(request.messages) == 1 else kimi))

    agent: Any = create_agent(kimi, [population], middleware=[switch])
    emulator.enqueue(DONE)
    assert agent.invoke(QUESTION)["messages"][-1].text == "Oslo is larger."
    assert _sent(emulator) == [thinking]
    assert _sent(emulator, "tool", "tool_call_id") == ["functions.population:0"]


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_a_conversation_that_changes_the_kimi(
    emulator: Emulator, make_model: MakeModel, version: str
) -> None:
    """Another Kimi, with another output version, goes on with the first one's thinking."""
    first = create_agent(make_model(output_version=version), [population])
    emulator.enqueue(BOTH, DONE, Turn(thinking="Polite.", text="You are welcome."))
    messages = first.invoke(QUESTION)["messages"]
    other = make_model(model="moonshotai/kimi-k2.5-maas", output_version="v0" if version == "v1" else "v1")
    create_agent(other, [population]).invoke({"messages": [*messages, HumanMessage("Thanks.")]})
    assert _sent(emulator) == ["I need both.", "Done."]
    assert emulator.requests[-1].json["model"] == "moonshotai/kimi-k2.5-maas"


class ToolTurns(InMemoryCache):
    """Keeps the turns that call tools, so that the turn after one is asked for again."""

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        if return_val[0].message.tool_calls:
            super().update(prompt, llm_string, return_val)


async def _invoke(agent: Any) -> None:
    agent.invoke(QUESTION)


async def _ainvoke(agent: Any) -> None:
    await agent.ainvoke(QUESTION)


async def _events_v3(agent: Any) -> None:
    assert agent.stream_events(QUESTION, version="v3").output["messages"]


@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("run", [_invoke, _ainvoke, _events_v3])
async def test_cache_hit_inside_an_agent(
    emulator: Emulator, make_model: MakeModel, run: Any, version: str
) -> None:
    """A tool-call turn out of LangChain's cache goes back with its thinking, on every path."""
    cache = ToolTurns()
    emulator.enqueue(BOTH, DONE)
    agent: Any = create_agent(make_model(cache=cache, output_version=version), [population])
    agent.invoke({"messages": [QUESTION["messages"][0]]})
    assert len(emulator.requests) == 2
    emulator.enqueue(DONE)
    await run(agent)
    assert len(emulator.requests) == 3
    assert _sent(emulator) == ["I need both."]
