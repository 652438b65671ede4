"""Agents on the strict server: every turn that called tools goes back with its own thinking and its own ids."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from kimi_vertex_emulator import Call, Emulator, Rules, Turn
from langchain_kimi_vertex import ChatKimiVertex, ThinkingCallbackHandler

from .conftest import MakeModel

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


@tool
def population(city: str) -> str:
    """Inhabitants of a city."""
    return {"Oslo": "700000", "Bergen": "290000"}[city]


@tool
def divide(a: float, b: float) -> str:
    """Divide a by b."""
    return str(a / b)


ROUNDS = (
    Turn(
        thinking=["I need ", "both."],
        text="Looking up.",
        tool_calls=[Call("population", {"city": "Oslo"}), Call("population", {"city": "Bergen"})],
    ),
    Turn(thinking=["Now ", "divide."], tool_calls=[Call("divide", {"a": 700000, "b": 290000})]),
    Turn(thinking="Check it.", tool_calls=[Call("divide", {"a": 290000, "b": 700000})]),
    Turn(thinking="Done.", text="Oslo is 2.4 times larger."),
)
QUESTION: Any = {"messages": [{"role": "user", "content": "Compare Oslo and Bergen."}]}


async def _invoke(agent: Any, config: Any) -> Any:
    return agent.invoke(QUESTION, config)["messages"]


async def _ainvoke(agent: Any, config: Any) -> Any:
    return (await agent.ainvoke(QUESTION, config))["messages"]


async def _stream(agent: Any, config: Any) -> Any:
    values = [
        part
        for mode, part in agent.stream(QUESTION, config, stream_mode=["messages", "values"])
        if mode == "values"
    ]
    return values[-1]["messages"]


async def _astream(agent: Any, config: Any) -> Any:
    parts = agent.astream(QUESTION, config, stream_mode=["messages", "values", "updates"])
    return [part async for mode, part in parts if mode == "values"][-1]["messages"]


async def _events_v2(agent: Any, config: Any) -> Any:
    return [event async for event in agent.astream_events(QUESTION, config, version="v2")][-1]["data"][
        "output"
    ]["messages"]


async def _events_v3(agent: Any, config: Any) -> Any:
    run = agent.stream_events(QUESTION, config, version="v3")
    for message in run.messages:
        str(message.reasoning)
    return run.output["messages"]


async def _aevents_v3(agent: Any, config: Any) -> Any:
    run = await agent.astream_events(QUESTION, config, version="v3")
    async for message in run.messages:
        await message.reasoning
    return (await run.output())["messages"]


PATHS = [_invoke, _ainvoke, _stream, _astream, _events_v2, _events_v3, _aevents_v3]


def _assert_rounds_replayed(emulator: Emulator) -> None:
    """The last request's history holds each round as the server sent it."""
    history = emulator.requests[-1].json["messages"]
    turns = [message for message in history if message["role"] == "assistant"]
    assert [turn["reasoning_content"] for turn in turns] == ["I need both.", "Now divide.", "Check it."]
    ids = [[call["id"] for call in turn["tool_calls"]] for turn in turns]
    assert ids == [
        ["functions.population:0", "functions.population:1"],
        ["functions.divide:2"],
        ["functions.divide:3"],
    ]
    results = [message["tool_call_id"] for message in history if message["role"] == "tool"]
    assert results == [id for turn in ids for id in turn]


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        *((path, {}) for path in PATHS),
        *((path, {"output_version": "v1"}) for path in (_invoke, _astream, _aevents_v3)),
        (_invoke, {"streaming": True}),
        (_astream, {"disable_streaming": True}),
    ],
)
async def test_three_rounds(
    emulator: Emulator, make_model: MakeModel, path: Any, settings: dict[str, Any]
) -> None:
    """A loop of three tool rounds completes on every path, with thinking and ids intact."""
    emulator.enqueue(*ROUNDS)
    agent: Any = create_agent(make_model(**settings), [population, divide])
    messages = await path(agent, {})
    assert messages[-1].text == "Oslo is 2.4 times larger."
    assert len(emulator.requests) == 4
    _assert_rounds_replayed(emulator)


@pytest.mark.parametrize("path", [_invoke, _astream])
async def test_checkpointer(emulator: Emulator, make_model: MakeModel, path: Any) -> None:
    """After a round trip through a checkpointer, a later question still carries all thinking."""
    agent: Any = create_agent(make_model(), [population, divide], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    emulator.enqueue(*ROUNDS, Turn(thinking="Thanks.", text="You are welcome."))
    await path(agent, config)
    agent.invoke({"messages": [{"role": "user", "content": "Thanks."}]}, config)
    turns = [m for m in emulator.requests[-1].json["messages"] if m["role"] == "assistant"]
    assert [turn["reasoning_content"] for turn in turns] == [
        "I need both.",
        "Now divide.",
        "Check it.",
        "Done.",
    ]


async def test_foreign_history(emulator: Emulator, model: ChatKimiVertex) -> None:
    """A history of another model, without thinking and with ids of its own, is accepted by the strict server."""
    history: Any = [
        ("user", "Weather?"),
        AIMessage("", tool_calls=[{"name": "weather", "args": {}, "id": "toolu_01"}]),
        ToolMessage("rain", tool_call_id="toolu_01"),
        ("user", "And now?"),
    ]
    emulator.enqueue(Turn(text="Rain."))
    assert (await model.ainvoke(history)).text == "Rain."


async def test_thinking_is_told_live_inside_an_agent(emulator: Emulator, make_model: MakeModel) -> None:
    """A handler passed to the agent hears the thinking of every round, with plain `invoke`."""
    heard: list[str] = []
    emulator.enqueue(*ROUNDS)
    agent: Any = create_agent(make_model(), [population, divide])
    agent.invoke(QUESTION, {"callbacks": [ThinkingCallbackHandler(thinking=heard.append)]})
    assert "".join(heard) == "I need both.Now divide.Check it.Done."
    assert heard[:2] == ["I need ", "both."]


def test_messages_mode_shows_thinking(emulator: Emulator, make_model: MakeModel) -> None:
    """LangGraph's `stream_mode="messages"` yields chunks whose blocks hold the thinking."""
    emulator.enqueue(*ROUNDS)
    agent: Any = create_agent(make_model(), [population, divide])
    thinking = [
        block.get("reasoning", "")
        for chunk, _ in agent.stream(QUESTION, stream_mode="messages")
        if isinstance(chunk, AIMessageChunk)
        for block in chunk.content_blocks
        if block["type"] == "reasoning"
    ]
    assert "".join(thinking) == "I need both.Now divide.Check it.Done."


class Verdict(BaseModel):
    """The comparison."""

    larger: str


@pytest.mark.parametrize("refuses", [False, True])
def test_response_format(refuses: bool) -> None:
    """`create_agent(response_format=...)` offers the schema as a tool, beside which the other tools stay callable.

    With a `response_format` beside tools, vLLM and SGLang let the model write nothing but the schema.
    """
    verdict = Turn(thinking="Done.", tool_calls=[Call("Verdict", {"larger": "Oslo"})])
    with Emulator(rules=Rules(refuse_forced_tool_choice=refuses)) as emulator:
        emulator.enqueue(ROUNDS[0], verdict)
        agent: Any = create_agent(
            ChatKimiVertex(base_url=emulator.base_url), [population], response_format=Verdict
        )
        assert agent.invoke(QUESTION)["structured_response"] == Verdict(larger="Oslo")
        bodies = [request.json for request in emulator.requests]
    assert not [body for body in bodies if "response_format" in body]
    assert bodies[-1]["tool_choice"] == ("auto" if refuses else "required")


def test_provider_strategy(emulator: Emulator, make_model: MakeModel) -> None:
    """Asked for by name, the schema goes out as `response_format`, for servers that can do both at once."""
    emulator.enqueue(ROUNDS[0], Turn(thinking="Done.", text='{"larger": "Oslo"}'))
    agent: Any = create_agent(make_model(), [population], response_format=ProviderStrategy(Verdict))
    assert agent.invoke(QUESTION)["structured_response"] == Verdict(larger="Oslo")
    assert emulator.requests[-1].json["response_format"]["type"] == "json_schema"
    assert "tool_choice" not in emulator.requests[-1].json


def test_cut_call_is_not_executed(emulator: Emulator, make_model: MakeModel) -> None:
    """An agent that streams does not run a tool whose arguments broke off."""
    ran: list[str] = []

    @tool
    def delete(path: str) -> str:
        """Delete a file."""
        ran.append(path)
        return "gone"

    emulator.enqueue(
        Turn(thinking="Hm.", tool_calls=[Call("delete", '{"path": "/va')], finish_reason="length")
    )
    agent: Any = create_agent(make_model(), [delete])
    values = list(agent.stream(QUESTION, stream_mode=["messages", "values"]))
    final: Any = [part for mode, part in values if mode == "values"][-1]
    assert not ran
    assert final["messages"][-1].invalid_tool_calls


async def test_lcel_chain(emulator: Emulator, model: ChatKimiVertex) -> None:
    """A prompt, the model and a parser make a chain that streams text without thinking in it."""
    chain = (
        ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{q}")])
        | model
        | StrOutputParser()
    )
    emulator.enqueue(*[Turn(thinking="Hm.", text=["It is ", "blue."])] * 3)
    assert chain.invoke({"q": "?"}) == "It is blue."
    assert "".join(chain.stream({"q": "?"})) == "It is blue."
    assert "".join([piece async for piece in chain.astream({"q": "?"})]) == "It is blue."


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        (False, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("population", {"type": "function", "function": {"name": "population"}}),
        (
            {"type": "function", "function": {"name": "population"}},
            {"type": "function", "function": {"name": "population"}},
        ),
        ({"type": "tool", "name": "population"}, {"type": "function", "function": {"name": "population"}}),
        ({"type": "any"}, "required"),
    ],
)
def test_tool_choice(emulator: Emulator, model: ChatKimiVertex, choice: Any, sent: Any) -> None:
    """Every form of `tool_choice` reaches the server in its own form."""
    emulator.enqueue(Turn(text="Hi."))
    model.bind_tools([population], tool_choice=choice).invoke("Hi")
    assert emulator.requests[-1].json.get("tool_choice") == sent


def test_unknown_tool_choice(emulator: Emulator, model: ChatKimiVertex) -> None:
    """A tool choice that names no bound tool is an error before anything is sent."""
    with pytest.raises(ValueError, match="populaton"):
        model.bind_tools([population], tool_choice="populaton").invoke("Hi")
    assert not emulator.requests


def test_tool_options_are_sent(emulator: Emulator, model: ChatKimiVertex) -> None:
    """`strict` and `parallel_tool_calls` are sent if they were given."""
    emulator.enqueue(Turn(text="Hi."))
    model.bind_tools([population], strict=True, parallel_tool_calls=False).invoke("Hi")
    body = emulator.requests[-1].json
    assert body["tools"][0]["function"]["strict"] is True
    assert body["parallel_tool_calls"] is False
