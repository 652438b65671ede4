"""LangChain's own agent middleware over the chat model, on the strict server."""

from __future__ import annotations

import json
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from kimi_vertex_emulator import Call, Emulator, Raw, Turn

from .conftest import MakeModel

QUESTION: Any = {"messages": [{"role": "user", "content": "How many live in Oslo?"}]}
CALL = Turn(thinking="I look it up.", tool_calls=[Call("population", {"city": "Oslo"})])
ANSWER = Turn(thinking="Good.", text="700000.")
OVERLOADED = Raw(
    [json.dumps([{"error": {"code": 429, "message": "Busy.", "status": "RESOURCE_EXHAUSTED"}}]).encode()],
    status=429,
)


@tool
def population(city: str) -> str:
    """Inhabitants of a city."""
    return "700000"


def _thinking_sent(emulator: Emulator) -> list[str]:
    history = emulator.requests[-1].json["messages"]
    return [message["reasoning_content"] for message in history if message["role"] == "assistant"]


def test_human_in_the_loop(emulator: Emulator, make_model: MakeModel) -> None:
    """After an interrupt and its approval, the call goes back with its thinking."""
    emulator.enqueue(CALL, ANSWER)
    agent: Any = create_agent(
        make_model(),
        [population],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"population": True})],
        checkpointer=InMemorySaver(),
    )
    config = {"configurable": {"thread_id": "1"}}
    assert agent.invoke(QUESTION, config)["__interrupt__"]
    result = agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert result["messages"][-1].text == "700000."
    assert _thinking_sent(emulator) == ["I look it up."]


def test_model_retry(emulator: Emulator, make_model: MakeModel) -> None:
    """The retry middleware sees from the error's LangChain type that it may try again."""
    emulator.enqueue(OVERLOADED, CALL, ANSWER)
    retry: Any = ModelRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
    agent: Any = create_agent(make_model(max_retries=0, pace=None), [population], middleware=[retry])
    assert agent.invoke(QUESTION)["messages"][-1].text == "700000."
    assert len(emulator.requests) == 3


def test_model_fallback(emulator: Emulator, make_model: MakeModel) -> None:
    """Another model takes over in the middle of a conversation, and gets the first one's thinking."""
    emulator.enqueue(CALL, OVERLOADED, ANSWER)
    fallback: Any = ModelFallbackMiddleware(make_model(model="moonshotai/other-maas"))
    agent: Any = create_agent(make_model(max_retries=0, pace=None), [population], middleware=[fallback])
    assert agent.invoke(QUESTION)["messages"][-1].text == "700000."
    assert emulator.requests[-1].json["model"] == "moonshotai/other-maas"
    assert _thinking_sent(emulator) == ["I look it up."]


def test_summarization_by_fraction(emulator: Emulator, make_model: MakeModel) -> None:
    """Summarization by a fraction of the context works, because the profile knows the context's size."""
    emulator.enqueue(Turn(thinking="Short.", text="They talked about Oslo."), ANSWER)
    small = make_model(profile={"max_input_tokens": 100})
    summarize: Any = SummarizationMiddleware(model=small, trigger=("fraction", 0.5), keep=("messages", 1))
    agent: Any = create_agent(make_model(), [population], middleware=[summarize])
    history = [
        {"role": role, "content": "Tell me about Oslo. " * 20} for role in ("user", "assistant", "user")
    ]
    assert agent.invoke({"messages": history})["messages"][-1].text == "700000."
    assert "They talked about Oslo." in json.dumps(emulator.requests[-1].json["messages"])
