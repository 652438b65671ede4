"""Tool calls outside agents: what is sent, what is read, what is never executed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from kimi_vertex_emulator import Call, Emulator, Rules, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import Chat, MakeLLM


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def shout(text: str) -> str:
    """Say it loud."""
    return text.upper()


ADD = FunctionTool.from_defaults(add)
SHOUT = FunctionTool.from_defaults(shout)
CALL = Turn(thinking="I add.", tool_calls=[Call("add", {"a": 1, "b": 2})])


async def _last(stream: Any) -> ChatResponse:
    responses: list[ChatResponse] = [response async for response in await stream]
    return responses[-1]


@pytest.fixture(params=["sync", "async", "sync stream", "async stream"])
def with_tools(request: pytest.FixtureRequest) -> Any:
    def run(llm: KimiVertex, tools: Any, **kwargs: Any) -> ChatResponse:
        if request.param == "sync":
            return llm.chat_with_tools(tools, **kwargs)
        if request.param == "async":
            return asyncio.run(llm.achat_with_tools(tools, **kwargs))
        if request.param == "sync stream":
            return list(llm.stream_chat_with_tools(tools, **kwargs))[-1]
        return asyncio.run(_last(llm.astream_chat_with_tools(tools, **kwargs)))

    return run


def test_call(emulator: Emulator, llm: KimiVertex, with_tools: Any) -> None:
    """A call comes back as a block and as a selection with the server's own id."""
    emulator.enqueue(CALL)
    response = with_tools(llm, [ADD], user_msg="1+2?")
    (selection,) = llm.get_tool_calls_from_response(response)
    assert (selection.tool_id, selection.tool_name, selection.tool_kwargs) == (
        "functions.add:0",
        "add",
        {"a": 1, "b": 2},
    )
    assert isinstance(response.message.blocks[-1], ToolCallBlock)
    body = emulator.requests[-1].json
    assert [tool["function"]["name"] for tool in body["tools"]] == ["add"]
    assert "tool_choice" not in body


def test_callers_history_stays(emulator: Emulator, llm: KimiVertex, with_tools: Any) -> None:
    """`user_msg` is added to the request, not to the caller's history."""
    history = [ChatMessage(role="system", content="s")]
    with_tools(llm, [ADD], user_msg=ChatMessage("1+2?"), chat_history=history)
    assert len(history) == 1
    assert [message["role"] for message in emulator.requests[-1].json["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tool_required": True}, "required"),
        ({"tool_choice": "add"}, {"type": "function", "function": {"name": "add"}}),
        ({"tool_choice": "none"}, "none"),
        ({"tool_required": True, "tool_choice": "auto"}, "auto"),
    ],
)
def test_tool_choice(emulator: Emulator, llm: KimiVertex, options: dict[str, Any], expected: Any) -> None:
    """`tool_choice` goes out in OpenAI's form, `tool_required` as `required`; the explicit choice wins."""
    llm.chat_with_tools([ADD], user_msg="1+2?", **options)
    assert emulator.requests[-1].json["tool_choice"] == expected


def test_no_tools_no_choice(emulator: Emulator, llm: KimiVertex) -> None:
    """An agent without tools sends neither tools nor a choice."""
    llm.chat_with_tools([], user_msg="Hi", tool_choice="auto")
    assert not emulator.requests[-1].json.keys() & {"tools", "tool_choice"}


def test_single_call_is_enforced(emulator: Emulator, llm: KimiVertex, with_tools: Any) -> None:
    """Without parallel calls the first call is the only one, in streams as well."""
    both = Turn(thinking="t", tool_calls=[Call("add", {"a": 1, "b": 2}), Call("shout", {"text": "x"})])
    emulator.enqueue(both, both)
    assert len(llm.get_tool_calls_from_response(with_tools(llm, [ADD, SHOUT], user_msg="?"))) == 1
    many = with_tools(llm, [ADD, SHOUT], user_msg="?", allow_parallel_tool_calls=True)
    assert [call.tool_name for call in llm.get_tool_calls_from_response(many)] == ["add", "shout"]


def test_identical_parallel_calls_are_kept(emulator: Emulator, llm: KimiVertex, with_tools: Any) -> None:
    """Two equal calls are two calls."""
    emulator.enqueue(
        Turn(thinking="t", tool_calls=[Call("add", {"a": 1, "b": 1}), Call("add", {"a": 1, "b": 1})])
    )
    response = with_tools(llm, [ADD], user_msg="?", allow_parallel_tool_calls=True)
    selections = llm.get_tool_calls_from_response(response)
    assert len({selection.tool_id for selection in selections}) == 2


def test_cut_off_call_is_not_executed(emulator: Emulator, llm: KimiVertex, with_tools: Any) -> None:
    """A call cut by the token limit is listed with its reason and gives no selection."""
    emulator.enqueue(Turn(thinking="t", tool_calls=[Call("add", '{"a": 1, "b"')], finish_reason="length"))
    response = with_tools(llm, [ADD], user_msg="?")
    (call,) = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    assert call.tool_name.startswith("add (not executed: cut off by the token limit")
    assert response.message.additional_kwargs["invalid_tool_calls"][0]["name"] == "add"
    with pytest.raises(ValueError, match="length"):
        llm.get_tool_calls_from_response(response)


def test_leaked_call_is_a_call(emulator: Emulator, llm: KimiVertex, with_tools: Any) -> None:
    """Kimi's own call tokens in the text become a call, and the text stays clean."""
    leak = (
        "Sure. <|tool_calls_section_begin|><|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>"
        '{"a": 1, "b": 2}<|tool_call_end|><|tool_calls_section_end|>'
    )
    emulator.enqueue(Turn(thinking="t", text=leak))
    response = with_tools(llm, [ADD], user_msg="?")
    (selection,) = llm.get_tool_calls_from_response(response)
    assert selection.tool_kwargs == {"a": 1, "b": 2}
    assert "<|" not in (response.message.content or "")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_forced_call_written_as_text(emulator: Emulator, llm: KimiVertex, asynchronous: bool) -> None:
    """A call that had to come and came as JSON text is read from the text."""
    emulator.enqueue(Turn(thinking="t", text='Here:\n```json\n{"a": 1, "b": 2}\n```'))
    if asynchronous:
        response = asyncio.run(llm.achat_with_tools([ADD], user_msg="?", tool_required=True))
    else:
        response = llm.chat_with_tools([ADD], user_msg="?", tool_required=True)
    (selection,) = llm.get_tool_calls_from_response(response)
    assert (selection.tool_name, selection.tool_kwargs) == ("add", {"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"name": "shout", "arguments": {"text": "x"}}', "shout"),
        ('{"text": "x"}', "shout"),
        ('{"unfit": 1}', None),
        ("just words", None),
    ],
)
def test_text_is_matched_to_its_tool(
    emulator: Emulator, llm: KimiVertex, text: str, name: str | None
) -> None:
    """Among several tools the named one or the only fitting one is taken, or none."""
    emulator.enqueue(Turn(thinking="t", text=text))
    response = llm.chat_with_tools([ADD, SHOUT], user_msg="?", tool_required=True)
    names = [
        call.tool_name for call in llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    ]
    assert names == ([name] if name else [])


def test_unforced_json_stays_text(emulator: Emulator, llm: KimiVertex) -> None:
    """JSON in an answer that was free to be text is text."""
    emulator.enqueue(Turn(thinking="t", text='{"a": 1, "b": 2}'))
    response = llm.chat_with_tools([ADD], user_msg="?")
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []


DOTTED = FunctionTool.from_defaults(add, name="math.add")


def test_names_that_servers_do_not_take(emulator: Emulator, llm: KimiVertex, with_tools: Any) -> None:
    """A tool whose name is rewritten for the servers is called by its own name, and replayed by the other."""
    emulator.enqueue(Turn(thinking="t", tool_calls=[Call("math_add", {"a": 1, "b": 2})]))
    first = ChatMessage("1+2?")
    response = with_tools(llm, [DOTTED, SHOUT], chat_history=[first], tool_choice="math.add")
    (selection,) = llm.get_tool_calls_from_response(response)
    assert selection.tool_name == "math.add"
    sent = emulator.requests[-1].json
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["math_add", "shout"]
    assert sent["tool_choice"]["function"]["name"] == "math_add"

    result = ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": selection.tool_id})
    with_tools(llm, [DOTTED, SHOUT], chat_history=[first, response.message, result])
    (call,) = emulator.requests[-1].json["messages"][1]["tool_calls"]
    assert call["function"]["name"] == "math_add"
    assert call["id"] == "functions.math_add:0"


def test_dotted_names_in_predict_and_call(emulator: Emulator, llm: KimiVertex) -> None:
    """LlamaIndex finds such a tool again."""
    emulator.enqueue(Turn(tool_calls=[Call("math_add", {"a": 1, "b": 2})]))
    assert llm.predict_and_call([DOTTED], user_msg="1+2?").response == "3"


@pytest.fixture(params=["sync", "async"])
def predict_and_call(request: pytest.FixtureRequest) -> Any:
    def run(llm: KimiVertex, **kwargs: Any) -> AgentChatResponse:
        if request.param == "sync":
            return llm.predict_and_call([ADD], user_msg="1+2?", **kwargs)
        return asyncio.run(llm.apredict_and_call([ADD], user_msg="1+2?", **kwargs))

    return run


def test_predict_and_call(emulator: Emulator, llm: KimiVertex, predict_and_call: Any) -> None:
    """`predict_and_call` runs the tool and gives its result."""
    emulator.enqueue(CALL)
    assert predict_and_call(llm).response == "3"


CUT = Call("add", '{"a": 1')


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize(
    ("calls", "reason"),
    [([CUT], "cut off by the token limit"), ([Call("subtract", {"a": 1})], "Tool subtract not found")],
    ids=["cut off", "unknown"],
)
def test_calls_without_a_tool(
    emulator: Emulator,
    make_llm: MakeLLM,
    predict_and_call: Any,
    parallel: bool,
    calls: list[Call],
    reason: str,
) -> None:
    """The result of a call that no tool can execute is an error in words, and an exception only if that is wanted."""
    llm = make_llm(tool_validation="off")
    options = {"allow_parallel_tool_calls": parallel, "error_on_no_tool_call": False}
    emulator.enqueue(*[Turn(tool_calls=calls, finish_reason="length")] * 2)
    result = predict_and_call(llm, **options)
    assert reason in result.response
    assert [source.is_error for source in result.sources] == [True]
    with pytest.raises(ValueError, match=reason):
        predict_and_call(llm, **options, error_on_tool_error=True)


@pytest.mark.parametrize(("parallel", "errors"), [(True, [False, True]), (False, [False])])
def test_good_call_beside_a_cut_one(
    emulator: Emulator, llm: KimiVertex, predict_and_call: Any, parallel: bool, errors: list[bool]
) -> None:
    """The good call is executed; with one call at a time it is the only one."""
    emulator.enqueue(Turn(tool_calls=[Call("add", {"a": 1, "b": 2}), CUT], finish_reason="length"))
    result = predict_and_call(llm, allow_parallel_tool_calls=parallel, error_on_no_tool_call=False)
    assert [source.is_error for source in result.sources] == errors


@pytest.mark.parametrize("parallel", [True, False])
def test_text_instead_of_calls(
    emulator: Emulator, llm: KimiVertex, predict_and_call: Any, parallel: bool
) -> None:
    """Where a call is not demanded, an answer in words is the answer."""
    emulator.enqueue(Turn(text="Three."))
    result = predict_and_call(llm, allow_parallel_tool_calls=parallel, error_on_no_tool_call=False)
    assert (result.response, result.sources) == ("Three.", [])


def test_refused_forced_choice(make_llm: MakeLLM, with_tools: Any) -> None:
    """Where the server refuses a forced choice, the call comes all the same."""
    with Emulator(strict=True, rules=Rules(refuse_forced_tool_choice=True)) as strict:
        llm = make_llm(base_url=strict.base_url)
        response = with_tools(llm, [ADD], user_msg="Add 1 and 2.", tool_required=True)
        assert [call.tool_name for call in llm.get_tool_calls_from_response(response)] == ["add"]


class Long(BaseModel):
    """A schema."""

    text: str


def test_long_descriptions_are_fine(emulator: Emulator, llm: KimiVertex) -> None:
    """A description over OpenAI's limit of 1,024 characters is sent whole."""
    tool = FunctionTool.from_defaults(shout, description="x" * 3_000, fn_schema=Long)
    llm.chat_with_tools([tool], user_msg="?")
    assert len(emulator.requests[-1].json["tools"][0]["function"]["description"]) >= 3_000


def test_plain_tool_dicts_and_tools_in_chat(emulator: Emulator, llm: KimiVertex, chat: Chat) -> None:
    """`tools` of a chat call takes LlamaIndex's tools and OpenAI's dicts."""
    chat(llm, "?", tools=[ADD, SHOUT.metadata.to_openai_tool()])
    assert [tool["function"]["name"] for tool in emulator.requests[-1].json["tools"]] == ["add", "shout"]
