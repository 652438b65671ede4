"""Conversations as a strict server receives them: what Kimi's servers refuse never reaches one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kimi_vertex import InvalidRequestError, KimiVertexClient, Message, RequestOptions, ToolCall
from kimi_vertex_emulator import Call, Emulator, Rules, Turn

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTION = Message("user", "Is it warm in Oslo and Rome?")


def client_of(emulator: Emulator, **settings: Any) -> KimiVertexClient:
    return KimiVertexClient(base_url=emulator.base_url, **settings)


def messages_of(emulator: Emulator) -> list[dict[str, Any]]:
    return emulator.requests[-1].json["messages"]  # type: ignore[no-any-return]


def test_thinking_and_calls_come_back(emulator: Emulator) -> None:
    """An answer's message, appended to the history, is sent as the server sent it."""
    emulator.enqueue(
        Turn(
            thinking="Two cities.", tool_calls=[Call("weather", {"city": "Oslo"}), Call("weather", {"city": "Rome"})]
        ),
        Turn(thinking="Now I know.", text="Only in Rome."),
    )  # fmt: skip
    with client_of(emulator) as client:
        first = client.complete([QUESTION], tools=[TOOL])
        results = [Message("tool", "3 C", tool_call_id=call.id) for call in first.tool_calls]
        client.complete([QUESTION, first.to_message(), *reversed(results)], tools=[TOOL])
    assert messages_of(emulator)[1:] == [
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "Two cities.",
            "tool_calls": [
                {
                    "id": f"functions.weather:{index}",
                    "type": "function",
                    "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'},
                }
                for index, city in enumerate(("Oslo", "Rome"))
            ],
        },
        {"role": "tool", "content": "3 C", "tool_call_id": "functions.weather:0", "name": "weather"},
        {"role": "tool", "content": "3 C", "tool_call_id": "functions.weather:1", "name": "weather"},
    ]


def test_servers_that_count_anew(emulator: Emulator) -> None:
    """A server that gives every turn the same id gets unique ones back, over a whole run."""
    turns = 5
    emulator.enqueue(
        *(Turn(thinking="t", tool_calls=[Call("weather", {"city": "Oslo"}, id="functions.weather:0")]) for _ in range(turns)),
        Turn(text="Done."),
    )  # fmt: skip
    messages = [QUESTION]
    with client_of(emulator) as client:
        while (answer := client.complete(messages, tools=[TOOL])).tool_calls:
            messages.append(answer.to_message())
            messages += [Message("tool", "3 C", tool_call_id=call.id) for call in answer.tool_calls]
    sent = messages_of(emulator)
    ids = [call["id"] for message in sent for call in message.get("tool_calls", ())]
    assert ids == [f"functions.weather:{index}" for index in range(turns)]
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == ids


FOREIGN: list[tuple[str, Sequence[Any]]] = [
    (
        "another model's turn, without thinking",
        [
            Message("assistant", None, tool_calls=[ToolCall("call_9a", "weather", '{"city": "Oslo"}')]),
            Message("tool", "3 C", tool_call_id="call_9a"),
        ],
    ),
    (
        "a damaged call",
        [
            Message("assistant", "", tool_calls=[ToolCall("toolu_1", "weather", '{"city": ')]),
            Message("tool", "The arguments could not be read.", tool_call_id="toolu_1"),
        ],
    ),
    (
        "Google's example of parallel calls, where the ids are the tool's name",
        [
            {
                "role": "assistant",
                "content": "I'll look both up.",
                "tool_calls": [
                    {"type": "function", "id": "weather", "function": {"name": "weather", "arguments": f'{{"city":"{city}"}}'}}
                    for city in ("Oslo", "Rome")
                ],
            },
            {"role": "tool", "content": "3 C", "tool_call_id": "weather"},
            {"role": "tool", "content": "25 C", "tool_call_id": "weather"},
        ],
    ),
    (
        "an empty turn, an agent's names and empty parts",
        [
            Message("assistant", "", thinking="Hm."),
            Message("user", [{"type": "text", "text": ""}, {"type": "text", "text": "Well?"}], name="ann"),
            Message("assistant", "Soon.", name="supervisor"),
            {"role": "developer", "content": "Be brief."},
            QUESTION,
        ],
    ),
    ("a call without result", [Message("assistant", "", tool_calls=[ToolCall("", "weather", "")]), QUESTION]),
]  # fmt: skip


@pytest.mark.parametrize("history", [case[1] for case in FOREIGN], ids=[case[0] for case in FOREIGN])
def test_foreign_history(emulator: Emulator, history: Sequence[Any]) -> None:
    """A history from elsewhere is accepted by a server that enforces Kimi's rules."""
    emulator.enqueue(Turn(text="Only in Rome."))
    with client_of(emulator) as client:
        assert client.complete([QUESTION, *history], tools=[TOOL]).text == "Only in Rome."
    sent = messages_of(emulator)
    calls = [call["id"] for message in sent for call in message.get("tool_calls", ())]
    results = [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    assert calls == [f"functions.weather:{index}" for index in range(len(calls))]
    assert results == calls[: len(results)]
    assert all("name" not in message for message in sent if message["role"] != "tool")


def test_both_results_of_equal_ids_are_told_apart(emulator: Emulator) -> None:
    """Of two calls with one id, the first result is the first call's."""
    emulator.enqueue(Turn(text="Only in Rome."))
    with client_of(emulator) as client:
        client.complete([QUESTION, *FOREIGN[2][1]], tools=[TOOL])
    results = {m["tool_call_id"]: m["content"] for m in messages_of(emulator) if m["role"] == "tool"}
    assert results == {"functions.weather:0": "3 C", "functions.weather:1": "25 C"}


def test_long_run_is_accepted(emulator: Emulator) -> None:
    """400 turns with calls under random ids are sent in order, each result with its call."""
    messages: list[Message] = []
    for turn in range(400):
        call = ToolCall(f"call_{turn * 7919 % 1000}", "weather", '{"city": "Oslo"}')
        messages += [
            QUESTION,
            Message("assistant", "", tool_calls=[call]),
            Message("tool", f"{turn} C", tool_call_id=call.id),
        ]
    emulator.enqueue(Turn(text="Warm."))
    with client_of(emulator) as client:
        client.complete(messages, tools=[TOOL])
    sent = messages_of(emulator)
    assert [m["tool_call_id"] for m in sent if m["role"] == "tool"] == [
        f"functions.weather:{i}" for i in range(400)
    ]
    assert [m["content"] for m in sent if m["role"] == "tool"] == [f"{turn} C" for turn in range(400)]


def test_prefill(emulator: Emulator) -> None:
    """A trailing assistant message stays the last, white space included, for the server to go on from."""
    emulator.enqueue(Turn(text="warm."))
    with client_of(emulator) as client:
        client.complete([QUESTION, Message("assistant", "In Rome it is ")])
    assert messages_of(emulator)[-1] == {"role": "assistant", "content": "In Rome it is "}


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_forced_choice_falls_back(emulator: Emulator, choice: str) -> None:
    """A server that refuses a forced call is asked again with an instruction, and from then on at once."""
    emulator.rules = Rules(refuse_forced_tool_choice=True)
    call = Turn(thinking="t", tool_calls=[Call("weather", {"city": "Oslo"})])
    emulator.enqueue(call, call)
    with client_of(emulator) as client:
        for _ in range(2):
            assert client.complete([QUESTION], tools=[TOOL], tool_choice=choice).tool_calls
    choices = [request.json["tool_choice"] for request in emulator.requests]
    named = {"type": "function", "function": {"name": "weather"}}
    assert choices == [named if choice == "weather" else "required", "auto", "auto"]
    assert "weather" in messages_of(emulator)[-1]["content"] or choice == "required"
    assert messages_of(emulator)[-1]["role"] == "system"


def test_self_deployed_gets_both_fields(emulator: Emulator) -> None:
    """A server of one's own reads the thinking from either field."""
    emulator.enqueue(Turn(text="Warm."))
    with KimiVertexClient(base_url=f"{emulator.origin}/v1", model="moonshotai/Kimi-K2.5") as client:
        client.complete([QUESTION, Message("assistant", "Yes.", thinking="Sun."), QUESTION])
    sent = messages_of(emulator)[1]
    assert (sent["reasoning_content"], sent["reasoning"]) == ("Sun.", "Sun.")


def test_image_reaches_a_model_that_sees(emulator: Emulator) -> None:
    """An image goes out in OpenAI's form where the model takes images."""
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    emulator.enqueue(Turn(text="A dot."))
    with client_of(emulator, model="moonshotai/kimi-k2.5-maas") as client:
        client.complete([Message("user", [{"type": "text", "text": "What is it?"}, part])])
    assert messages_of(emulator)[0]["content"] == [{"type": "text", "text": "What is it?"}, part]


def test_every_setting_at_once(emulator: Emulator) -> None:
    """A streamed request holds what was set, and what a stream needs."""
    emulator.enqueue(Turn(text="Warm."))
    options = RequestOptions(
        temperature=1.0, max_tokens=16000, stop=["END"], response_format={"type": "json_object"}, seed=1,
        chat_template_kwargs={"thinking": True, "preserve_thinking": True}, thinking={"type": "enabled"},
        extra_body={"top_k": 5}, tools=[TOOL],
    )  # fmt: skip
    with client_of(emulator, top_p=0.95) as client:
        for _ in client.stream([QUESTION], **options):
            pass
    sent = emulator.requests[-1].json
    assert {key: value for key, value in sent.items() if key not in ("model", "messages")} == {
        "temperature": 1.0,
        "top_p": 0.95,
        "max_tokens": 16000,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
        "seed": 1,
        "chat_template_kwargs": {"thinking": True, "preserve_thinking": True},
        "thinking": {"type": "enabled"},
        "tools": [TOOL],
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_k": 5,
    }


REFUSED: list[tuple[str, Any, RequestOptions]] = [
    ("an image", [Message("user", [{"type": "image_url", "image_url": {"url": "https://e.com/a"}}])], {}),
    ("an orphan result", [QUESTION, Message("tool", "3 C", tool_call_id="call_1")], {}),
    ("an unknown role", [{"role": "critic", "content": "x"}], {}),
    ("no message", [], {}),
    ("a tool that is not declared", [QUESTION], {"tools": [TOOL], "tool_choice": "search"}),
    ("not a number", [QUESTION], {"extra_body": {"top_k": float("nan")}}),
    ("a value without JSON form", [QUESTION], {"response_format": {"type": {"json_object"}}}),
]


@pytest.mark.parametrize(("messages", "options"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused_before_anything_is_sent(emulator: Emulator, messages: Any, options: RequestOptions) -> None:
    """What cannot be sent raises, and the server never hears of it."""
    with client_of(emulator) as client, pytest.raises(InvalidRequestError):
        client.complete(messages, **options)
    assert emulator.requests == []
