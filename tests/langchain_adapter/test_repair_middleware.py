"""`ToolCallRepairMiddleware` in agents, on the strict server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.tools import tool

from kimi_vertex import ConfigurationError
from kimi_vertex_emulator import Call, Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex, ToolCallRepairMiddleware

MakeModel: TypeAlias = Callable[..., ChatKimiVertex]
Run: TypeAlias = Callable[[Any], list[Any]]

QUESTION: Any = {"messages": [{"role": "user", "content": "Count!"}]}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
BAD = Turn(thinking="First.", tool_calls=[Call("count", '{"n": "x"}')], usage=USAGE)
GOOD = Turn(thinking="Second.", tool_calls=[Call("count", {"n": 5})], usage=USAGE)
ANSWER = Turn(thinking="Third.", text="Done.", usage=USAGE)


@tool
def count(n: int) -> str:
    """Count."""
    return f"counted to {n}"


@pytest.fixture(params=["invoke", "ainvoke", "stream"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run an agent to its end; all messages."""

    def go(agent: Any) -> list[Any]:
        if request.param == "invoke":
            result = agent.invoke(QUESTION)
        elif request.param == "ainvoke":
            result = asyncio.run(agent.ainvoke(QUESTION))
        else:
            steps = list(agent.stream(QUESTION, stream_mode=["messages", "values"]))
            result = next(value for mode, value in reversed(steps) if mode == "values")
        return list(result["messages"])

    return go


@pytest.fixture
def make_agent(make_model: MakeModel) -> Callable[..., Any]:
    """Make an agent with the middleware over a model that checks calls."""

    def make(max_retries: int = 2, **settings: Any) -> Any:
        middleware = [ToolCallRepairMiddleware(max_retries=max_retries)]
        return create_agent(
            make_model(**{"tool_validation": "flag", **settings}), [count], middleware=middleware
        )

    return make


def test_an_agent_goes_on(emulator: Emulator, make_agent: Callable[..., Any], run: Run) -> None:
    """The model corrects its call, the tool runs, and the conversation keeps the good answer only."""
    emulator.enqueue(BAD, GOOD, ANSWER)
    _, call, result, last = run(make_agent())
    assert call.tool_calls[0]["args"] == {"n": 5}
    assert (result.content, last.text) == ("counted to 5", "Done.")
    assert call.usage_metadata["total_tokens"] == 30
    assert last.usage_metadata["total_tokens"] == 15


def test_what_the_model_is_told(emulator: Emulator, make_agent: Callable[..., Any], run: Run) -> None:
    """The bad turn goes back with its thinking, its own arguments, and the reason."""
    emulator.enqueue(BAD, GOOD, ANSWER)
    run(make_agent())
    turn, result = emulator.chat_requests[1].json["messages"][-2:]
    assert turn["reasoning_content"] == "First."
    assert turn["tool_calls"][0]["function"]["arguments"] == '{"n": "x"}'
    assert result["tool_call_id"] == turn["tool_calls"][0]["id"]
    assert "n: 'x' is not of type 'integer'" in result["content"]
    assert [m["role"] for m in emulator.chat_requests[2].json["messages"]] == ["user", "assistant", "tool"]


def test_it_is_bounded(emulator: Emulator, make_agent: Callable[..., Any], run: Run) -> None:
    """After `max_retries` the last answer stands, with its invalid call and the usage of all."""
    emulator.enqueue(BAD, BAD, BAD, BAD)
    _, last = run(make_agent(2))
    assert len(emulator.chat_requests) == 3
    assert last.invalid_tool_calls[0]["name"] == "count"
    assert last.usage_metadata["total_tokens"] == 45


def test_a_cut_call_is_not_asked_for_again(
    emulator: Emulator, make_agent: Callable[..., Any], run: Run
) -> None:
    """A call that the token limit cut would be cut again."""
    emulator.enqueue(Turn(tool_calls=[Call("count", '{"n": 5')], finish_reason="length"))
    run(make_agent())
    assert len(emulator.chat_requests) == 1


def test_a_good_answer_is_not_touched(emulator: Emulator, make_agent: Callable[..., Any], run: Run) -> None:
    """Without invalid calls there is one request for each step."""
    emulator.enqueue(GOOD, ANSWER)
    assert run(make_agent())[-1].text == "Done."
    assert len(emulator.chat_requests) == 2


def test_unreadable_arguments(emulator: Emulator, make_agent: Callable[..., Any], run: Run) -> None:
    """Calls that are no JSON are asked for again although nothing is validated."""
    emulator.enqueue(Turn(tool_calls=[Call("count", '{"n": 5')]), GOOD, ANSWER)
    assert run(make_agent(tool_validation="off"))[-1].text == "Done."


class _Model(GenericFakeChatModel):
    """A model of no provider."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def test_any_chat_model() -> None:
    """Another provider's call without an id or a reason is answered, and so is the good one beside it."""
    bad = AIMessage(
        "",
        tool_calls=[tool_call(name="count", args={"n": 1}, id="a")],
        invalid_tool_calls=[invalid_tool_call(name="count", args="{", id=None, error=None)],
    )
    asked: list[Any] = []

    class Model(_Model):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(messages)
            return super()._generate(messages, *args, **kwargs)

    model = Model(messages=iter([bad, AIMessage("Done.")]))
    agent: Any = create_agent(model, [count], middleware=[ToolCallRepairMiddleware()])
    assert agent.invoke(QUESTION)["messages"][-1].text == "Done."
    turn, *results = asked[1][1:]
    assert all(isinstance(result, ToolMessage) for result in results)
    known = {call["id"] for call in [*turn.tool_calls, *turn.invalid_tool_calls]}
    assert {result.tool_call_id for result in results} == known
    assert bad.invalid_tool_calls[0]["id"] is None


@pytest.mark.parametrize("wrong", [-1, 1.5, True])
def test_wrong_bound(wrong: Any) -> None:
    """A bound that is no whole number is refused."""
    with pytest.raises(ConfigurationError, match="max_retries"):
        ToolCallRepairMiddleware(max_retries=wrong)


def test_without_langchain() -> None:
    """Without the package langchain everything else imports, `*` too; only the middleware asks for it."""
    code = """
import sys
sys.modules["langchain"] = None
from langchain_kimi_vertex import *
import langchain_kimi_vertex
assert "ToolCallRepairMiddleware" not in globals()
assert not hasattr(langchain_kimi_vertex, "no_such_name")
try:
    langchain_kimi_vertex.ToolCallRepairMiddleware
except ImportError as error:
    assert "pip install langchain" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
