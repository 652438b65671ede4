"""Tools that a conversation declares in its middle: where they go, and that nothing before them changes."""

from __future__ import annotations

from typing import Any

import pytest

from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message, MessageLike, ToolCall
from kimi_vertex.models import Server

from .support_payload import body, payload

K3 = "moonshotai/kimi-k3"


def tool(name: str) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {}}},
    }


def added(*names: str) -> Message:
    return Message("system", tools=[tool(name) for name in names])


A, B, C = tool("a"), tool("b"), tool("c")
EARLIER: list[MessageLike] = [
    Message("system", "s"),
    Message("user", "u"),
    Message("assistant", "", thinking="t", tool_calls=[ToolCall("a:0", "a", "{}")]),
    Message("tool", "r", tool_call_id="a:0"),
]


@pytest.mark.parametrize("server", [None, "moonshot", "sglang", "vllm"])
def test_nothing_before_changes(server: Server | None) -> None:
    """After a tool was added, the messages before it and the tools at the top go out byte for byte as before."""
    before = payload(EARLIER, model=K3, server=server, tools=[A]).encoded()
    after = payload([*EARLIER, added("b")], model=K3, server=server, tools=[A, B]).encoded()
    messages, tools = before.split(b'],"tools":')
    assert after.startswith(messages)
    assert after.endswith(b',"tools":' + tools)


@pytest.mark.parametrize(("server", "role"), [(None, "system"), ("sglang", "system"), ("vllm", "developer")])
def test_role(server: Server | None, role: str) -> None:
    """The message has the role in which the server reads its tools, and no content."""
    sent = body([*EARLIER, added("b")], model=K3, server=server, tools=[A])
    assert sent["messages"][-1] == {"role": role, "tools": [B]}


def test_without_others() -> None:
    """VLLM reads calls only where there are tools at the top, so the first ones go there."""
    messages = [added("a"), Message("user", "u"), added("b")]
    sent = {server: body(messages, model=K3, server=server) for server in ("vllm", "sglang")}
    assert "tools" not in sent["sglang"]
    assert sent["vllm"]["tools"] == [A]
    assert [message["role"] for message in sent["vllm"]["messages"]] == ["user", "developer"]


def test_model_without() -> None:
    """For a model that does not know such messages, the tools go to the others, each once."""
    messages = [Message("user", "u"), added("b", "a"), added("c", "b")]
    sent = body(messages, model="moonshotai/Kimi-K2.6", tools=[A])
    assert sent["tools"] == [A, B, C]
    assert sent["messages"] == [{"role": "user", "content": "u"}]


def test_declared_once() -> None:
    """A tool that is declared again is sent where it was declared first."""
    sent = body([Message("user", "u"), added("b"), added("b"), added("b", "c")], model=K3, tools=[A])
    assert sent["messages"][1:] == [{"role": "system", "tools": [B]}, {"role": "system", "tools": [C]}]


def test_may_be_called() -> None:
    """A call of an added tool is a call of a declared one, and may be demanded."""
    asked = payload([Message("user", "u"), added("b")], model=K3, tools=[A], tool_choice="b")
    assert asked.tools.names == {"a", "b"}
    assert (asked.body["tool_choice"], asked.body["tools"]) == ("required", [B])
    assert len(asked.body["messages"]) == 1


def test_as_a_dict() -> None:
    """The wire's form of such a message is read."""
    messages = [{"role": "user", "content": "u"}, {"role": "developer", "content": "", "tools": [B]}]
    assert body(messages, model=K3)["messages"][1] == {"role": "system", "tools": [B]}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"role": "user", "tools": [A]}, "only a system message declares tools"),
        ({"role": "assistant", "content": "", "tools": [A]}, "only a system message declares tools"),
        ({"role": "system", "content": "x", "tools": [A]}, "beside its content"),
        ({"role": "system", "tools": [A, A]}, "'a' twice"),
        ({"role": "system", "tools": A}, "tools of type dict"),
        ({"role": "system", "tools": "a"}, "tools of type str"),
        ({"role": "system", "tools": ["a"]}, "number 0"),
        ({"role": "system", "tools": [A, {"type": "function"}]}, "number 1"),
        ({"role": "system", "tools": [{"function": {"name": "a"}}]}, "number 0"),
        ({"role": "system", "tools": [{"type": "plugin", "function": {"name": "a"}}]}, "number 0"),
        ({"role": "system", "tools": [{"type": "function", "function": {}}]}, "number 0"),
        *(({"role": "system", "tools": [tool(name)]}, "a name begins with") for name in ("", "1a", "a@b", "a b", "a" * 257)),
    ],
)  # fmt: skip
def test_refused(message: MessageLike, text: str) -> None:
    """What K3's servers refuse is refused with the message's position."""
    with pytest.raises(InvalidRequestError, match=f"Message 1 .*{text}"):
        payload([Message("user", "u"), message], model=K3)
