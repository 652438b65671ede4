"""What is read from LangChain's messages, whichever model or version wrote them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from kimi_vertex import InvalidRequestError, Message, ToolCall
from kimi_vertex_emulator import Emulator
from langchain_kimi_vertex import ChatKimiVertex
from langchain_kimi_vertex._messages import to_core_messages

_CALL = {"name": "f", "args": {"x": "é"}, "id": "functions.f:0", "type": "tool_call"}


def _one(message: BaseMessage) -> Message:
    """The core's message, with its texts joined as the core joins them."""
    (converted,) = to_core_messages([message])
    parts = converted.content
    if isinstance(parts, list) and all(part["type"] == "text" for part in parts):
        return replace(converted, content="".join(part["text"] for part in parts))
    return converted


def _sent(emulator: Emulator, *messages: Any) -> list[dict[str, Any]]:
    """The messages on the wire, to a model that sees."""
    ChatKimiVertex(base_url=emulator.base_url, model="moonshotai/kimi-k2.5").invoke(list(messages))
    return emulator.requests[-1].json["messages"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SystemMessage("s"), Message("system", "s")),
        (HumanMessage("u", name="ann"), Message("user", "u")),
        (ChatMessage(content="d", role="developer"), Message("system", "d")),
        (ChatMessage(content="a", role="assistant"), Message("assistant", "a")),
        (ToolMessage("r", tool_call_id="1", name="f"), Message("tool", "r", tool_call_id="1", name="f")),
        (
            ToolMessage("r", tool_call_id="1", status="error", artifact=object()),
            Message("tool", "r", tool_call_id="1"),
        ),
        (AIMessageChunk(content="a"), Message("assistant", "a")),
    ],
)
def test_roles(message: BaseMessage, expected: Message) -> None:
    """Each of LangChain's message types has its role."""
    assert _one(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        RemoveMessage(id="1"),
        ChatMessage(content="x", role="narrator"),
    ],
)
def test_unknown_roles_are_refused(message: BaseMessage) -> None:
    """A message that no role fits is an error, not a guess."""
    with pytest.raises(InvalidRequestError, match="Message 1 is"):
        to_core_messages([HumanMessage("u"), message])


@pytest.mark.parametrize(
    ("content", "kwargs", "thinking"),
    [
        ("a", {"reasoning_content": "t"}, "t"),
        ("a", {"reasoning_content": ""}, ""),
        ("a", {"reasoning": "t"}, "t"),
        ("a", {"thinking": "t"}, "t"),
        ("a", {"reasoning_details": [{"type": "reasoning.text", "text": "t"}]}, "t"),
        ("a", {"reasoning": {"id": "rs_1"}}, None),
        ("a", {"reasoning": {"id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}]}}, "t"),
        ("a", {}, None),
        ([{"type": "reasoning", "reasoning": "t"}, {"type": "text", "text": "a"}], {}, "t"),
        ([{"type": "reasoning", "reasoning": "t"}, "a", {"type": "reasoning", "reasoning": "u"}], {}, "tu"),
        ([{"type": "thinking", "thinking": "t", "signature": "x"}, {"type": "text", "text": "a"}], {}, "t"),
        ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]}, "a"], {}, "t"),
        ([{"type": "reasoning", "encrypted_content": "x", "summary": []}, "a"], {}, None),
        ([{"type": "reasoning_content", "reasoning_content": {"text": "t"}}, "a"], {}, "t"),
        ([{"type": "redacted_thinking", "data": "x"}, "a"], {}, None),
        ([{"type": "reasoning", "reasoning": "block"}, "a"], {"reasoning_content": "kwarg"}, "kwarg"),
        ([{"type": "non_standard", "value": {"type": "thinking", "thinking": "t"}}, "a"], {}, "t"),
    ],
)
def test_thinking_is_found(content: Any, kwargs: dict[str, Any], thinking: str | None) -> None:
    """Thinking is read from `additional_kwargs`, else from blocks in every known form; it is never text."""
    assert _one(AIMessage(content, additional_kwargs=kwargs)) == Message("assistant", "a", thinking=thinking)


def test_tool_calls() -> None:
    """Calls keep their ids, and arguments are JSON with its letters as they are."""
    message = _one(AIMessage("", tool_calls=[_CALL]))
    assert message.tool_calls == (ToolCall("functions.f:0", "f", '{"x": "é"}'),)


def test_invalid_tool_calls_are_sent_back() -> None:
    """An unreadable call keeps its raw text, so that the model sees what it wrote."""
    invalid = {"name": "f", "args": '{"x', "id": "i", "error": "cut", "type": "invalid_tool_call"}
    message = _one(AIMessage("", tool_calls=[_CALL], invalid_tool_calls=[invalid]))
    assert message.tool_calls[1] == ToolCall("i", "f", '{"x')


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {"x": "é"}},
        {"type": "tool_call", "id": "functions.f:0", "name": "f", "args": {"x": "é"}},
        {
            "type": "function_call",
            "call_id": "functions.f:0",
            "id": "fc",
            "name": "f",
            "arguments": '{"x": "é"}',
        },
    ],
)
@pytest.mark.parametrize("field", [[], [_CALL]])
def test_calls_in_content_count_once(block: dict[str, Any], field: list[Any]) -> None:
    """A call that stands in the content is read from there only if `tool_calls` does not have it."""
    message = _one(AIMessage(["a", block], tool_calls=field))
    assert message == Message("assistant", "a", tool_calls=(ToolCall("functions.f:0", "f", '{"x": "é"}'),))


def test_replaced_calls_are_not_sent_back() -> None:
    """A call that the model has replaced by a better one stays in the message and out of the history."""
    invalid: Any = {
        "name": "f",
        "args": "{}",
        "id": "functions.f:0",
        "error": "no",
        "type": "invalid_tool_call",
    }
    nameless: Any = {"name": None, "args": "{", "id": "i", "error": "cut", "type": "invalid_tool_call"}
    message = AIMessage(
        "",
        tool_calls=[{**_CALL, "id": "functions.f:1"}],
        invalid_tool_calls=[invalid, nameless],
        response_metadata={"replaced_tool_calls": ["functions.f:0"]},
    )
    assert [(call.id, call.name) for call in _one(message).tool_calls] == [
        ("functions.f:1", "f"),
        ("i", "unknown"),
    ]
    result = ToolMessage("Not executed: no.", tool_call_id="functions.f:0")
    turn = to_core_messages([message, result])[0]
    assert "functions.f:0" in [call.id for call in turn.tool_calls]  # an agent loop has answered it


def test_openais_first_form_of_calls() -> None:
    """A `function_call` and the FunctionMessage that answers it belong together by the function's name."""
    call = AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": '{"x": 1}'}})
    assert to_core_messages([call, FunctionMessage(content="r", name="f")]) == [
        Message("assistant", "", tool_calls=(ToolCall("f", "f", '{"x": 1}'),)),
        Message("tool", "r", tool_call_id="f", name="f"),
    ]


def test_dict_history_keeps_its_thinking(emulator: Emulator) -> None:
    """A history of dicts, as vLLM writes them, keeps its thinking."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = {"role": "assistant", "content": "", "reasoning": "t", "tool_calls": [call]}
    sent = _sent(
        emulator,
        {"role": "user", "content": "u"},
        turn,
        {"role": "tool", "content": "r", "tool_call_id": "c"},
    )
    assert sent[1]["reasoning_content"] == "t"


def test_anthropic_tool_results_precede_the_text() -> None:
    """Results inside a user's message become tool messages before what the user says."""
    content: list[Any] = [
        {"type": "text", "text": "and?"},
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "1"}]},
        {"type": "tool_result", "tool_use_id": "b", "content": "2"},
    ]
    assert to_core_messages([HumanMessage(content)]) == [
        Message("tool", [{"type": "text", "text": "1"}], tool_call_id="a"),
        Message("tool", "2", tool_call_id="b"),
        Message("user", [{"type": "text", "text": "and?"}]),
    ]


_DATA_URL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "image", "base64": "AA==", "mime_type": "image/png"}, _DATA_URL),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            _DATA_URL,
        ),
        ({"type": "image_url", "image_url": "data:image/png;base64,AA=="}, _DATA_URL),
        (
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        ),
        (
            {"type": "image", "url": "https://x/y.png"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        ),
    ],
)
def test_images(emulator: Emulator, block: dict[str, Any], part: dict[str, Any]) -> None:
    """Images in LangChain's, OpenAI's and Anthropic's form become the server's form."""
    message = HumanMessage([{"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}}, block])
    assert _sent(emulator, message)[0]["content"] == [{"type": "text", "text": "see"}, part]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "base64": "AA==", "mime_type": "audio/wav"},
        {"type": "file", "file_id": "f1"},
        {"type": "image", "file_id": "f1"},
        {"type": "image_url", "image_url": {}},
        {"type": "mystery"},
    ],
)
def test_unsupported_content_is_refused(emulator: Emulator, block: dict[str, Any]) -> None:
    """What a user sends and the model cannot read raises, with its place; it does not disappear."""
    with pytest.raises(ModelInvalidRequestError, match=r"Message 1 \(user\) has a content part, number 1"):
        _sent(emulator, SystemMessage("s"), HumanMessage(["see", block]))


def test_an_image_is_refused_by_its_place(emulator: Emulator) -> None:
    """An image for a model that reads only text is refused with the numbers of its message and its block."""
    image = {"type": "image", "url": "https://example.com/a.png"}
    with pytest.raises(
        ModelInvalidRequestError, match=r"only text, but message 1 .* number 2, of type 'image_url'"
    ):
        ChatKimiVertex(base_url=emulator.base_url, model="kimi-k2-thinking").invoke(
            [SystemMessage("s"), HumanMessage(["see", "", image])]
        )


def test_text_blocks_join_to_a_string(emulator: Emulator) -> None:
    """Content that is text only is sent as one string; a document stands apart."""
    texts: list[Any] = ["a", {"type": "text", "text": "b"}, {"text": "c"}]
    document = {"type": "text-plain", "text": "d", "mime_type": "text/plain"}
    assert _sent(emulator, HumanMessage(texts))[0]["content"] == "abc"
    assert _sent(emulator, HumanMessage(["a", document]))[0]["content"] == "a\nd"


RESULTS: list[tuple[str, Any, str]] = [
    ("MCP texts", [{"type": "text", "text": "10"}, {"type": "text", "text": "20"}], "10\n20"),
    ("a file", [{"type": "file", "base64": "AA==", "mime_type": "application/pdf", "filename": "r.pdf"}], "[file 'r.pdf', application/pdf: its content is not shown]"),
    ("audio", [{"type": "audio", "base64": "AA==", "mime_type": "audio/wav"}], "[audio, audio/wav: its content is not shown]"),
    ("a link", [{"type": "resource_link", "uri": "https://x/y", "name": "n"}], "[resource link 'n', https://x/y: its content is not shown]"),
    ("an unknown block", [{"type": "mystery", "a": 1}], '{"type": "mystery", "a": 1}'),
    ("no type", [{"a": 1}], '{"a": 1}'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "text"), [case[1:] for case in RESULTS], ids=[case[0] for case in RESULTS]
)
def test_tool_results_never_kill_a_thread(emulator: Emulator, content: Any, text: str) -> None:
    """What a tool returns is text with borders, or a note of what it was; also when tokens are counted."""
    history = [
        HumanMessage("u"),
        AIMessage("", tool_calls=[_CALL]),
        ToolMessage(content, tool_call_id="functions.f:0"),
    ]
    assert _sent(emulator, *history)[2]["content"] == text
    assert ChatKimiVertex(base_url=emulator.base_url).get_num_tokens_from_messages(history) > 0


def test_images_of_tools(emulator: Emulator) -> None:
    """An image in a tool's result goes to a model that sees, and is a note for one that does not."""
    image = {"type": "image", "base64": "AA==", "mime_type": "image/png"}
    history = [
        HumanMessage("u"),
        AIMessage("", tool_calls=[_CALL]),
        ToolMessage([image], tool_call_id="functions.f:0"),
    ]
    assert _sent(emulator, *history)[2]["content"] == [_DATA_URL]
    ChatKimiVertex(base_url=emulator.base_url).invoke(history)
    assert "image/png" in emulator.requests[-1].json["messages"][2]["content"]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"type": "image", "base64": "AA==", "mime_type": "image/png"}, "image, image/png"),
        ({"type": "image", "file_id": "f1"}, "image, f1"),
        ({"type": "audio", "base64": "AA==", "mime_type": "audio/wav"}, "audio, audio/wav"),
        ({"type": "image_generation_call", "result": "AA=="}, "image generation call"),
    ],
)
def test_another_model_s_files(emulator: Emulator, block: Any, words: str) -> None:
    """What another model made, in its turn of a history, is a note for a model that cannot see it; its text stays."""
    history = [HumanMessage("u"), AIMessage([{"type": "text", "text": "Here:"}, block]), HumanMessage("v")]
    model = ChatKimiVertex(base_url=emulator.base_url)
    model.invoke(history)
    assert (
        emulator.requests[-1].json["messages"][1]["content"] == f"Here:\n[{words}: its content is not shown]"
    )
    assert model.get_num_tokens_from_messages(history) > 0
