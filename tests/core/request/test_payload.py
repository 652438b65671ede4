"""What a request's body holds beside the messages: what the caller has set, and nothing else."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import json
import time
import uuid
from types import MappingProxyType
from typing import Any

import pytest

from kimi_vertex._request.body import without_forced_choice
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message, ToolCall

from .support_payload import IMAGE, MANAGED, SEES, body, payload, sent

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def test_least_body() -> None:
    """Without settings there is the model and the conversation, and nothing else."""
    assert body() == {"model": MANAGED, "messages": [{"role": "user", "content": "hi"}]}


def test_no_model() -> None:
    """Where the endpoint decides on the model, none is named."""
    assert body(model=None) == {"messages": [{"role": "user", "content": "hi"}]}


def test_stream() -> None:
    """A stream is asked for together with its usage."""
    assert body(stream=True) == {**body(), "stream": True, "stream_options": {"include_usage": True}}


OPTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "sampling",
        {"temperature": 1.0, "top_p": 0.95, "max_tokens": 16000, "seed": 7},
        {"temperature": 1.0, "top_p": 0.95, "max_tokens": 16000, "seed": 7},
    ),
    ("zero is a setting", {"temperature": 0.0, "seed": 0}, {"temperature": 0.0, "seed": 0}),
    ("None is not set", {"temperature": None, "tools": None, "stop": None}, {}),
    ("one stop", {"stop": "END"}, {"stop": "END"}),
    ("several stops", {"stop": ("a", "b")}, {"stop": ["a", "b"]}),
    ("no stops", {"stop": []}, {}),
    ("json mode", {"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    (
        "json schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"oneOf": []}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"oneOf": []}}}},
    ),
    (
        "thinking switches",
        {"chat_template_kwargs": {"thinking": False}, "thinking": {"type": "disabled"}},
        {"chat_template_kwargs": {"thinking": False}, "thinking": {"type": "disabled"}},
    ),
    ("any field", {"extra_body": {"top_k": 4, "extra_body": {"google": {}}}}, {"top_k": 4, "extra_body": {"google": {}}}),
    ("extra fields win", {"temperature": 1.0, "extra_body": {"temperature": 0.6}}, {"temperature": 0.6}),
    ("tools as they are", {"tools": [TOOL], "parallel_tool_calls": False}, {"tools": [TOOL], "parallel_tool_calls": False}),
    ("tools from anything", {"tools": (tool for tool in [TOOL])}, {"tools": [TOOL]}),
    ("no tools", {"tools": [], "tool_choice": "auto"}, {}),
    ("extra tools win", {"tools": [{**TOOL, "x": 1}], "extra_body": {"tools": (tool for tool in [TOOL])}}, {"tools": [TOOL]}),
    ("extra messages win", {"extra_body": {"messages": [{"role": "user"}]}}, {"messages": [{"role": "user"}]}),
    ("any mapping", {"response_format": MappingProxyType({"type": "text"})}, {"response_format": {"type": "text"}}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "fields"), [case[1:] for case in OPTIONS], ids=[case[0] for case in OPTIONS]
)
def test_options(options: dict[str, Any], fields: dict[str, Any]) -> None:
    """Each option is one field of the body; those that are not set are left out."""
    assert body(**options) == {**body(), **fields}


def test_predict_wraps() -> None:
    """The method `:predict` gets the same body as one instance that says what it is."""
    endpoint = {"endpoint": "projects/my-proj/locations/us-central1/endpoints/1", "api": "predict"}
    assert body(model=None, target=endpoint) == {
        "instances": [{"@requestFormat": "chatCompletions", "messages": [{"role": "user", "content": "hi"}]}]
    }


NAMED = {"type": "function", "function": {"name": "f"}}
CHOICES: list[tuple[Any, Any]] = [
    (None, None),
    (False, None),
    ("auto", "auto"),
    ("none", "none"),
    ("required", "required"),
    ("any", "required"),
    (True, "required"),
    ("f", NAMED),
    (NAMED, NAMED),
    ({"type": "function", "name": "f"}, NAMED),
    ({"type": "tool", "name": "f"}, NAMED),
    ({"type": "any"}, "required"),
    ({"type": "auto"}, "auto"),
    ({"type": "none"}, "none"),
    ({"type": "required"}, "required"),
]


@pytest.mark.parametrize(("choice", "wire"), CHOICES, ids=[str(case[0]) for case in CHOICES])
def test_tool_choice(choice: Any, wire: Any) -> None:
    """Every way to say which tool is to be called has one form on the wire."""
    assert body(tools=[TOOL], tool_choice=choice).get("tool_choice") == wire


@pytest.mark.parametrize(
    ("choice", "options", "sent"),
    [
        ({"type": "auto", "disable_parallel_tool_use": True}, {}, False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": True}, {}, False),
        ({"type": "any", "disable_parallel_tool_use": False}, {}, None),
        ({"type": "any", "disable_parallel_tool_use": True}, {"parallel_tool_calls": True}, True),
    ],
)
def test_one_call_at_a_time(choice: Any, options: dict[str, Any], sent: bool | None) -> None:
    """Anthropic says it in the tool choice, OpenAI in a field of its own, which wins."""
    assert body(tools=[TOOL], tool_choice=choice, **options).get("parallel_tool_calls") == sent


@pytest.mark.parametrize(
    "choice", ["g", {"type": "function", "function": {"name": "g"}}, 5, {"type": "odd"}, {}]
)
def test_impossible_tool_choice(choice: Any) -> None:
    """A choice that names none of the tools is refused, with their names."""
    with pytest.raises(InvalidRequestError, match="the tools are f"):
        body(tools=[TOOL], tool_choice=choice)


def _allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


OTHER = {"type": "function", "function": {"name": "g", "parameters": {}}}


@pytest.mark.parametrize(
    ("choice", "tools", "wire"),
    [
        (_allowed("auto", "g"), [OTHER], "auto"),
        (_allowed("required", "g"), [OTHER], "required"),
        (_allowed("auto", "g", "f"), [TOOL, OTHER], "auto"),
        ({"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]}, [TOOL], "auto"),
    ],
)
def test_allowed_tools(choice: Any, tools: list[Any], wire: str) -> None:
    """OpenAI's choice among some of the tools, which Kimi's servers do not know, is kept by offering only these."""
    built = body(tools=[TOOL, OTHER], tool_choice=choice)
    assert (built["tools"], built["tool_choice"]) == (tools, wire)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (_allowed("auto", "h"), "the tools are f, g"),
        (_allowed("any", "f"), "needs a mode"),
        (_allowed("auto"), "a list of tools"),
        ({"type": "allowed_tools"}, "a list of tools"),
        ({"type": "allowed_tools", "allowed_tools": {"tools": [5]}}, "the tools are f, g"),
    ],
)
def test_allowed_tools_that_are_wrong(choice: Any, words: str) -> None:
    """A choice among tools that are not there, or of an unknown mode, is refused in words."""
    with pytest.raises(InvalidRequestError, match=words):
        body(tools=[TOOL, OTHER], tool_choice=choice)


OWN = {"type": "builtin_function", "function": {"name": "$web_search"}}
NAMELESS = {"type": "web_search"}


@pytest.mark.parametrize(
    ("tools", "choice", "wire"),
    [
        ([NAMELESS], "auto", "auto"),
        ([NAMELESS], "any", "required"),
        ([TOOL, NAMELESS], "f", NAMED),
        ([TOOL, NAMELESS], NAMELESS, NAMELESS),
        ([OWN], OWN, OWN),
        ([OWN], "$web_search", {"type": "function", "function": {"name": "$web_search"}}),
    ],
)
def test_choice_beside_a_servers_own_tools(tools: list[Any], choice: Any, wire: Any) -> None:
    """Tools that the server runs itself are offered and chosen as their server names them."""
    built = body(tools=tools, tool_choice=choice)
    assert (built["tools"], built["tool_choice"]) == (tools, wire)


def test_one_answer_for_each_request() -> None:
    """`n=1` is what there is; several answers would be paid for and dropped."""
    assert body(extra_body={"n": 1})["n"] == 1
    with pytest.raises(InvalidRequestError, match="n=2 asks for several answers"):
        body(extra_body={"n": 2})


@pytest.mark.parametrize("stream", [True, False])
def test_streaming_is_decided_by_the_method(stream: bool) -> None:
    """`stream` and `stream_options` of other libraries are tolerated; usage is asked for in every stream."""
    given = {"stream": not stream, "stream_options": {"include_usage": False, "continuous_usage_stats": True}}
    options = {"include_usage": True, "continuous_usage_stats": True}
    expected = {"stream": True, "stream_options": options} if stream else {}
    assert body(stream=stream, extra_body=given) == {**body(), **expected}


@pytest.mark.parametrize("choice", ["required", True, "f", NAMED])
def test_forced_choice_without_tools(choice: Any) -> None:
    """A call cannot be demanded where there is no tool to call."""
    with pytest.raises(InvalidRequestError, match="there are no tools"):
        body(tool_choice=choice)


@pytest.mark.parametrize(
    ("choice", "asked"), [("required", "one of the tools"), ("f", "the tool `f`")], ids=["required", "named"]
)
def test_fallback(choice: str, asked: str) -> None:
    """A refused choice becomes `auto` and an instruction at the end; the first request stays as it was."""
    first = payload(tools=[TOOL], tool_choice=choice)
    second = without_forced_choice(first)
    assert (first.forced_choice, second.forced_choice) == (True, False)
    assert second.body["tool_choice"] == "auto"
    assert second.body["messages"][:-1] == first.body["messages"]
    assert second.body["messages"][-1]["role"] == "system"
    assert asked in second.body["messages"][-1]["content"]


def test_fallback_before_prefill() -> None:
    """The beginning of the answer stays the last message."""
    messages = [Message("user", "u"), Message("assistant", "It is ")]
    second = without_forced_choice(payload(messages, tools=[TOOL], tool_choice="required"))
    assert [message["role"] for message in second.body["messages"]] == ["user", "system", "assistant"]


def test_schemas_go_out_unchanged() -> None:
    """The servers read JSON Schema as it is."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"const": 1}}}}}
    assert body(tools=[tool])["tools"] == [tool]


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        (TOOL, "tools is a dict"),
        (5, "tools is a int"),
        ([TOOL, "f"], r"tools\[1\] is not in OpenAI's form"),
        ([{"name": "f"}], r"tools\[0\]"),
        ([{"type": "function", "function": {"description": "d"}}], r"tools\[0\]"),
        ([{"type": "function", "function": {"name": ""}}], r"tools\[0\]"),
    ],
)
def test_bad_tools(tools: Any, said: str) -> None:
    """A tool of another form is refused, with its position."""
    with pytest.raises(InvalidRequestError, match=said):
        body(tools=tools)


@pytest.mark.parametrize("stop", [[""], ["a", 5], 5, ["a", None]])
def test_bad_stop(stop: Any) -> None:
    """Stop sequences that servers refuse are refused here."""
    with pytest.raises(InvalidRequestError, match="stop is"):
        body(stop=stop)


def test_nothing_is_changed() -> None:
    """Building and encoding leave every object of the caller's as it was."""
    messages: list[Any] = [
        {"role": "developer", "content": ["a", {"type": "text", "text": ""}]},
        {"role": "user", "content": [dict(IMAGE), "x"]},
        {"role": "assistant", "content": "", "reasoning_content": "t", "tool_calls": [
            {"id": "b", "function": {"name": "f", "arguments": {"a": [1]}}}, {"id": "a", "function": {"name": "f", "arguments": "{"}},
        ]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "r"}]},
        {"role": "tool", "tool_call_id": "b", "content": "r"},
    ]  # fmt: skip
    options: dict[str, Any] = {
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"const": 1}}}}}
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "stop": ["x"],
        "extra_body": {"a": {"b": 1}},
        "response_format": {"type": "json_object"},
    }
    before = copy.deepcopy((messages, options))
    built = payload(messages, model=SEES, stream=True, **options)
    without_forced_choice(built).encoded()
    assert (messages, options) == before


class _Color(enum.Enum):
    RED = "red"


UNWRITABLE: list[tuple[str, dict[str, Any], str]] = [
    ("not a number", {"temperature": float("nan")}, "temperature is nan"),
    ("infinity", {"extra_body": {"a": [{"b": float("inf")}]}}, r"a\[0\]\.b is inf"),
    ("a set", {"response_format": {"a": {1}}}, "response_format.a is a value of type set"),
    (
        "in a tool",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": time.gmtime}}}]},
        r"tools\[0\]\.function\.parameters\.default is a value of type builtin_function_or_method",
    ),
    ("a class", {"response_format": Message}, "response_format is a value of type type"),
    ("a key", {"extra_body": {"a": {(1, 2): 1}}}, "a has a key of type tuple"),
    ("bytes", {"extra_body": {"a": b"x"}}, "a is a value of type bytes"),
    (
        "in extra messages",
        {"extra_body": {"messages": [{"a": uuid.UUID(int=1)}]}},
        r"messages\[0\].a is a value of type UUID",
    ),
    ("an id", {"extra_body": {"a": uuid.UUID(int=1)}}, "a is a value of type UUID"),
    ("a date", {"extra_body": {"a": dt.date(2026, 1, 1)}}, "a is a value of type date"),
    ("a member", {"extra_body": {"a": _Color.RED}}, "a is a value of type _Color"),
    ("a dataclass", {"extra_body": {"a": ToolCall("", "", "")}}, "a is a value of type ToolCall"),
]


@pytest.mark.parametrize(
    ("options", "said"), [case[1:] for case in UNWRITABLE], ids=[c[0] for c in UNWRITABLE]
)
def test_unwritable(options: dict[str, Any], said: str) -> None:
    """What JSON cannot hold is refused, with its place in the body."""
    with pytest.raises(InvalidRequestError, match=f"cannot be written as JSON: {said}"):
        body(**options)


@pytest.mark.parametrize("odd", [float("nan"), uuid.UUID(int=1), _Color.RED], ids=["nan", "id", "member"])
def test_unwritable_part(odd: Any) -> None:
    """What JSON cannot hold is refused in a message's part too, even where an encoder would write something for it."""
    image = {"type": "image_url", "image_url": {"url": "data:,", "detail": odd}}
    with pytest.raises(InvalidRequestError, match=r"messages\[0\]\.content\[0\]\.image_url\.detail is "):
        body([Message("user", [image])], model=SEES)


def test_same_bytes() -> None:
    """Messages, which are encoded apart, look as the rest of the body does."""
    text = 'a "b" \\ / \n\t\x00\x1f\x7f caf\xe9 \u2028 \U0001f680'
    built = payload([Message("user", text), Message("assistant", text, thinking=text), "u"], seed=1)
    whole = json.dumps(built.body, ensure_ascii=False, separators=(",", ":"))
    assert built.encoded() == whole.encode()


def test_endless() -> None:
    """A value that contains itself is refused, and so is one that is nested without end."""
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(InvalidRequestError, match="contains itself"):
        body(extra_body={"x": endless})
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        body(extra_body={"x": deep})


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("\ud83d\ude80", "\U0001f680"),
        ("a\ud83d", "a\ufffd"),
        ("\ude80b", "\ufffdb"),
        ("\ude80\ud83d", "\ufffd\ufffd"),
        ("\U0001f680 caf\xe9 \u2028 \x00", "\U0001f680 caf\xe9 \u2028 \x00"),
    ],
    ids=["halves", "first half", "second half", "wrong way round", "whole"],
)
def test_surrogates(text: str, wire: str) -> None:
    """Halves of a character that meet are joined; lone ones are replaced; all else is sent as it is."""
    assert sent(text)[0]["content"] == wire


def test_answers_are_read_by_what_was_sent() -> None:
    """New calls are checked against the declared tools, and must not collide with ids of the history."""
    built = payload(["u", Message("assistant", tool_calls=[ToolCall("call_1", "f", "{}")])], tools=[TOOL])
    assert built.tools.names == {"f"}
    assert built.history.ids == {"call_1", "functions.f:0"}
    assert payload(extra_body={"tools": [TOOL]}).tools.names == {"f"}


def conversation(turns: int) -> list[Message]:
    messages: list[Message] = []
    for turn in range(turns):
        call = ToolCall(f"call_{turn}", "search", json.dumps({"q": "x" * 700}))
        messages += [
            Message("user", "What about it?\n" * 50),
            Message("assistant", "", thinking="Let me see. " * 100, tool_calls=[call]),
            Message("tool", "A line of text\n" * 80, tool_call_id=call.id),
        ]

    return messages


def seconds(work: Any) -> float:
    """The least CPU time of a few runs."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def test_cost() -> None:
    """A long conversation is built and written in less time than the standard encoder needs to write it."""
    messages = conversation(200)
    built = payload(messages)
    assert len(built.encoded()) > 800_000
    writing = seconds(lambda: json.dumps(built.body, ensure_ascii=False))
    assert seconds(lambda: payload(messages).encoded()) < 2 * writing


def test_growth() -> None:
    """Four times the turns take about four times as long."""
    small, large = (conversation(turns) for turns in (100, 400))
    assert seconds(lambda: payload(large).encoded()) < 8 * seconds(lambda: payload(small).encoded())
