"""What Kimi K3's servers refuse, and that K3's dialects are read as one turn by the client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kimi_vertex import Completion, KimiVertexClient
from kimi_vertex_emulator import Call, Dialect, Emulator, Turn

K3 = "moonshotai/kimi-k3"
USER = {"role": "user", "content": "Hi"}
DIALECTS: list[Dialect] = ["moonshot-k3", "vllm-k3", "vllm-k3-rust", "sglang-k3", "raw-k3"]


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {}}}


def declared(*tools: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [USER, {"role": "system", "content": "", "tools": list(tools), **more}]}


def schema(**described: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": described}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "tools of a user": (declared(tool("f"), role="user"), "only a system message"),
    "text beside tools": (declared(tool("f"), content="x"), "must be empty"),
    "twice in a message": (declared(tool("f"), tool("f")), "duplicated"),
    "twice with the top": ({**declared(tool("f")), "tools": [tool("f")]}, "duplicated"),
    "tools are no list": ({"messages": [USER, {"role": "system", "tools": {}}]}, "not a list"),
    "another kind": (declared({**tool("f"), "type": "plugin"}), "not a function tool"),
    "a name with a digit first": (declared(tool("1f")), "name is invalid"),
    "a named choice": ({"tools": [tool("f")], "tool_choice": "f"}, "not one of auto, none, required"),
    "a call without tools": ({"tool_choice": "required"}, "needs tools"),
    "a format": ({"response_format": {"type": "xml"}}, "not one of text, json_object"),
    "a schema without a name": (schema(schema={}), "name is missing"),
    "a schema without itself": (schema(name="a"), "not an object"),
    "strictness": (schema(name="a", schema={}, strict="yes"), "not a boolean"),
    "a temperature": ({"temperature": 1.1}, "only a value from 0 to 1 is allowed"),
    "a temperature in words": ({"temperature": "warm"}, "only a value from 0 to 1 is allowed"),
    "top_p": ({"top_p": 1}, "only 0.95 is allowed"),
    "n": ({"n": 2}, "only 1 is allowed"),
    "an effort": ({"reasoning_effort": "medium"}, "not one of low, high, max"),
    "an effort in thinking": ({"thinking": {"effort": "medium"}}, "not one of low, high, max"),
    "a result without an id": ({"messages": [USER, {"role": "tool", "content": "r"}]}, "tool_call_id is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(kimi: Any, name: str) -> None:
    """Moonshot's rules for K3 are strict rules."""
    body, text = REFUSED[name]
    answer = kimi.post(
        body.get("messages", "Hi"), model=K3, **{k: v for k, v in body.items() if k != "messages"}
    )
    assert answer.status_code == 400
    assert text in answer.text


@pytest.mark.parametrize("body", [
    declared(tool("f")),
    declared(tool("f"), role="developer"),
    {**declared(tool("f")), "tools": [tool("g")], "tool_choice": "required"},
    {"temperature": 1, "top_p": 0.95, "n": 1, "reasoning_effort": "low"},
    {"temperature": 0.6, "thinking": {"type": "disabled"}},
    schema(name="a", schema={"type": "object"}, strict=False),
])  # fmt: skip
def test_accepted(kimi: Any, body: dict[str, Any]) -> None:
    """What K3's servers take is answered."""
    answer = kimi.post(
        body.get("messages", "Hi"), model=K3, **{k: v for k, v in body.items() if k != "messages"}
    )
    assert answer.status_code == 200, answer.text


def read(client: KimiVertexClient, form: str, **options: Any) -> Completion:
    async def aread() -> Completion:
        if form == "async-whole":
            return await client.acomplete("Hi", **options)
        async with client.astream("Hi", **options) as stream:
            async for _ in stream:
                pass
            return stream.completion

    if form.startswith("async"):
        return asyncio.run(aread())
    if form == "whole":
        return client.complete("Hi", **options)
    with client.stream("Hi", **options) as stream:
        for _ in stream:
            pass
        return stream.completion


@pytest.mark.parametrize("form", ["whole", "streamed", "async-whole", "async-streamed"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_turn(emulator: Emulator, dialect: Dialect, form: str) -> None:
    """Whatever server K3 runs on, its turn is the same."""
    emulator.dialect, emulator.chunking = dialect, "random"
    arguments = {"city": 'O"s&lo', "days": 3, "near": [1.5, None], "deep": {"a": True}}
    emulator.enqueue(Turn(thinking=" Hm\n", text="I look.", tool_calls=[Call("f", arguments), Call("g")]))
    client = KimiVertexClient(K3, base_url=emulator.base_url)
    completion = read(client, form, tools=[tool("f"), tool("g")])
    assert (completion.thinking, completion.text) == (" Hm\n", "I look.")
    assert [(call.name, call.arguments) for call in completion.tool_calls] == [
        ("f", '{"city": "O\\"s&lo", "days": 3, "near": [1.5, null], "deep": {"a": true}}'),
        ("g", "{}"),
    ]
    assert (completion.finish_reason, completion.invalid_tool_calls) == ("tool_calls", ())


@pytest.mark.parametrize("form", ["streamed", "async-streamed"])
def test_a_cut_call_that_the_server_closes(emulator: Emulator, form: str) -> None:
    """A cut call that vLLM's front end in Rust gives out as whole does not run."""
    emulator.dialect, emulator.chunking = "vllm-k3-rust", "token"
    cut = Call("f", '{"command": "rm -r /tmp')
    emulator.enqueue(Turn(thinking="Hm", tool_calls=[cut], finish_reason="length"))
    completion = read(KimiVertexClient(K3, base_url=emulator.base_url), form, tools=[tool("f")])
    assert completion.tool_calls == ()
    (invalid,) = completion.invalid_tool_calls
    assert invalid.arguments == '{"command": "rm -r /tmp"}'
    assert "cut off by the token limit" in (invalid.error or "")


def test_thinking_in_two_fields(kimi: Any) -> None:
    """The front end of vLLM in Rust takes one field of thinking, and refuses two."""
    kimi.emulator.dialect = "vllm-k3-rust"
    both = {"role": "assistant", "content": "A", "reasoning": "T", "reasoning_content": "T"}
    answer = kimi.post([USER, both, USER], model=K3)
    assert (answer.status_code, "duplicate field" in answer.text) == (400, True)
    one = {"role": "assistant", "content": "A", "reasoning": "T"}
    assert kimi.post([USER, one, USER], model=K3).status_code == 200


def test_a_cut_call_in_k3s_markup(kimi: Any) -> None:
    """A call that the limit cut is the open end of the turn: nothing is closed behind it."""
    cut = Call("f", '{"city": "Os')
    kimi.emulator.enqueue(Turn(text="I look.", tool_calls=[cut], dialect="raw-k3", finish_reason="length"))
    text = kimi.text("Hi", model=K3)
    assert text.endswith('<|open|>argument key="arguments" type="string"<|sep|>{"city": "Os')
    assert "<|close|>call" not in text
