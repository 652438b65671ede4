"""Tools that LangChain's messages add in the middle of a conversation, and agents that search for theirs."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool

from kimi_vertex import InvalidRequestError
from kimi_vertex_emulator import Call, Emulator, Turn
from langchain_kimi_vertex.tool_search import ToolSearchMiddleware

from .conftest import MakeModel

K3 = "moonshotai/kimi-k3"


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"Rain in {city}."


@tool(extras={"defer_loading": True})
def send_email(to: str) -> str:
    """Send an email."""
    return f"Sent to {to}."


PARAMETERS = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
WIRE = {
    "type": "function",
    "function": {"name": "send_email", "description": "Send an email.", "parameters": PARAMETERS},
}
DEFINITION = {"name": "send_email", "description": "Send an email.", "input_schema": PARAMETERS}
FLAT = {"type": "function", "name": "send_email", "description": "Send an email.", "parameters": PARAMETERS}
BLOCKS: dict[str, dict[str, Any]] = {
    "reference": {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "send_email"}},
    "definition": {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": DEFINITION}},
    "flat": {"type": "additional_tools", "role": "developer", "tools": [FLAT]},
    "nested": {"type": "additional_tools", "role": "developer", "tools": [WIRE]},
}
EARLIER = [HumanMessage("Hi"), AIMessage("Yes?", additional_kwargs={"reasoning_content": "t"})]


def bodies(emulator: Emulator) -> list[dict[str, Any]]:
    return [request.json for request in emulator.requests if request.json]


@pytest.mark.parametrize(("wrapped", "stream"), [(False, True), (True, False)])
@pytest.mark.parametrize("spelling", BLOCKS)
def test_added(emulator: Emulator, make_model: MakeModel, spelling: str, wrapped: bool, stream: bool) -> None:
    """Each of LangChain's spellings adds the tool, behind messages and tools that go out as before."""
    block = BLOCKS[spelling]
    content: Any = [{"type": "non_standard", "value": block} if wrapped else block]
    model = make_model(model=K3).bind_tools([weather, send_email])
    for messages in (EARLIER, [*EARLIER, SystemMessage(content)]):
        if stream:
            list(model.stream(messages))
        else:
            model.invoke(messages)
    before, after = bodies(emulator)
    assert after["messages"][-1] == {"role": "system", "tools": [WIRE]}
    assert json.dumps(after["messages"][:-1]) == json.dumps(before["messages"])
    assert json.dumps(after["tools"]) == json.dumps(before["tools"])
    assert [entry["function"]["name"] for entry in before["tools"]] == ["weather"]


def test_text_beside_it(emulator: Emulator, make_model: MakeModel) -> None:
    """Text in the same message follows in a message of its own."""
    content: Any = [{"type": "text", "text": "You may write."}, BLOCKS["flat"]]
    make_model(model=K3).invoke([*EARLIER, SystemMessage(content)])
    tools, text = bodies(emulator)[0]["messages"][-2:]
    assert (tools, text) == (
        {"role": "system", "tools": [WIRE]},
        {"role": "system", "content": "You may write."},
    )


def test_model_without(emulator: Emulator, make_model: MakeModel) -> None:
    """Earlier models get the added tool with the others."""
    content: Any = [BLOCKS["reference"]]
    bound = make_model(model="moonshotai/kimi-k2.6").bind_tools([weather, send_email])
    bound.invoke([*EARLIER, SystemMessage(content)])
    (sent,) = bodies(emulator)
    assert [entry["function"]["name"] for entry in sent["tools"]] == ["weather", "send_email"]
    assert "defer_loading" not in json.dumps(sent)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "tool_removal", "tool": {"type": "tool_reference", "name": "weather"}}, "takes a tool away"),
        ({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "fly"}}, "'fly'"),
        ({"type": "additional_tools", "tools": ["fly"]}, "is not a tool"),
    ],
)  # fmt: skip
def test_refused(make_model: MakeModel, block: dict[str, Any], text: str) -> None:
    """What cannot be added, or taken away, is refused."""
    content: Any = [block]
    with pytest.raises(InvalidRequestError, match=text):
        make_model(model=K3).bind_tools([weather]).invoke([*EARLIER, SystemMessage(content)])


@tool
def fly(to: str) -> str:
    """Book a flight to a city."""
    return f"Booked {to}."


def test_agent_searches(emulator: Emulator, make_model: MakeModel) -> None:
    """An agent finds a tool, calls it, and no message or tool that was sent before changes on the way."""
    emulator.enqueue(
        Turn(thinking="t", tool_calls=[Call("search_tools", {"query": "book a flight"})]),
        Turn(thinking="t", tool_calls=[Call("fly", {"to": "Oslo"})]),
        Turn(text="Done."),
    )
    middleware = ToolSearchMiddleware(searchable_tools=["fly"])
    agent = create_agent(make_model(model=K3), [weather, fly], middleware=[middleware])
    result = agent.invoke({"messages": [HumanMessage("Fly me to Oslo.")]})
    assert result["messages"][-1].text == "Done."
    assert "Booked Oslo." in [message.content for message in result["messages"]]
    sent = bodies(emulator)
    assert [entry["function"]["name"] for entry in sent[0]["tools"]] == ["search_tools", "weather"]
    for before, after in pairwise(sent):
        assert json.dumps(after["tools"]) == json.dumps(before["tools"])
        assert after["messages"][: len(before["messages"])] == before["messages"]
    assert sent[1]["messages"][-1]["tools"][0]["function"]["name"] == "fly"


def test_agent_without_the_tool(make_model: MakeModel) -> None:
    """A name that the agent does not have is a mistake that is said at once."""
    agent = create_agent(
        make_model(model=K3), [weather], middleware=[ToolSearchMiddleware(searchable_tools=["fly"])]
    )
    with pytest.raises(ValueError, match="fly, which the agent does not have"):
        agent.invoke({"messages": [HumanMessage("Hi")]})
