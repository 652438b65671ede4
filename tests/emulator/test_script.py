"""Scripted turns in the dialect of Kimi on Vertex, streamed and whole."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import Call, Emulator, Raw, Turn

from .support_http import PLAIN

FULL = Turn(
    thinking=["Let ", "me see"],
    text=["It is\u2028", "18\u0085", "🚀"],
    tool_calls=[Call("add", {"a": 1, "b": "ü"}), Call("now", {})],
)


def deltas(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["choices"][0]["delta"] for event in events if event["choices"]]


def test_a_stream_opens_with_role_and_empty_fields(kimi: Any) -> None:
    """The first chunk has the role, empty content and null thinking."""
    assert deltas(kimi.events("Hi"))[0] == {"role": "assistant", "content": "", "reasoning_content": None}


def test_scripted_deltas_are_sent_as_they_are(kimi: Any) -> None:
    """A sequence gives exactly its elements as deltas, thinking first, odd characters intact."""
    kimi.emulator.enqueue(FULL)
    sent = deltas(kimi.events("Hi"))
    assert [delta["reasoning_content"] for delta in sent if delta.get("reasoning_content")] == [
        "Let ",
        "me see",
    ]
    assert [delta["content"] for delta in sent if delta.get("content")] == ["It is\u2028", "18\u0085", "🚀"]


@pytest.mark.parametrize("text", ["one", "Some words in a row.", "多くの文字", "x" * 40, "  spaced\n\nout "])
def test_a_string_is_cut_into_several_deltas(kimi: Any, text: str) -> None:
    """A string is sent in at least two pieces that join to it, the same ones each time."""
    kimi.emulator.enqueue(Turn(text=text), Turn(text=text))
    first, second = (
        [delta["content"] for delta in deltas(kimi.events("Hi")) if delta.get("content")] for _ in "ab"
    )
    assert len(first) >= 2
    assert "".join(first) == text
    assert first == second


def test_tool_calls_are_streamed_as_sglang_does(kimi: Any) -> None:
    """A call opens with id, name and empty arguments, then goes on with pieces without id and name."""
    kimi.emulator.enqueue(FULL)
    fragments = [delta["tool_calls"][0] for delta in deltas(kimi.events("Hi")) if delta.get("tool_calls")]
    opening = [(part["index"], part["id"], part["function"]["name"]) for part in fragments if part["id"]]
    assert opening == [(0, "functions.add:0", "add"), (1, "functions.now:1", "now")]
    assert all(part["function"]["arguments"] == "" for part in fragments if part["id"])
    pieces = [part["function"] for part in fragments if part["id"] is None and part["index"] == 0]
    assert len(pieces) > 1
    assert all(piece["name"] is None for piece in pieces)
    assert "".join(piece["arguments"] for piece in pieces) == '{"a": 1, "b": "ü"}'


def test_ids_count_over_the_conversation(kimi: Any) -> None:
    """The counter in a native id goes on behind the calls of the history."""
    call = {"id": "functions.add:0", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "Add"},
        {
            "role": "assistant",
            "reasoning_content": "",
            "tool_calls": [call, {**call, "id": "functions.add:1"}],
        },
    ]
    kimi.emulator.enqueue(Turn(tool_calls=[Call("add"), Call("sub", id="mine")]))
    assert [call["id"] for call in kimi.message(history)["tool_calls"]] == ["functions.add:2", "mine"]


def test_usage_stands_on_the_finish_chunk_by_default(kimi: Any) -> None:
    """Without being asked, Vertex reports the usage together with the finish reason."""
    last = kimi.events("Hi")[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["total_tokens"] > 0


def test_usage_has_a_chunk_of_its_own_when_asked_for(kimi: Any) -> None:
    """With include_usage the usage comes in a last chunk without choices, and nowhere else."""
    events = kimi.events("Hi", stream_options={"include_usage": True})
    assert events[-1]["choices"] == []
    assert [event for event in events if "usage" in event] == events[-1:]
    assert events[-2]["choices"][0]["finish_reason"] == "stop"


def test_a_whole_body_has_the_skeleton_of_vertex(kimi: Any) -> None:
    """A whole answer has the fields of a captured Vertex body, thinking tokens reported as 0."""
    kimi.emulator.enqueue(FULL)
    body = kimi.post("Hi").json()
    assert set(body) == {"choices", "created", "id", "metadata", "model", "object", "usage"}
    assert body["metadata"] == {"weight_version": "default"}
    assert body["usage"]["reasoning_tokens"] == 0
    assert body["usage"]["extra_properties"]["google"]["traffic_type"] == "ON_DEMAND"
    (choice,) = body["choices"]
    assert (choice["finish_reason"], choice["matched_stop"]) == ("tool_calls", 163586)
    assert choice["message"]["reasoning_content"] == "Let me see"
    assert choice["message"]["content"] == "It is\u202818\u0085🚀"
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["add", "now"]


@pytest.mark.parametrize("stream", [False, True])
def test_non_ascii_text_is_sent_raw(kimi: Any, stream: bool) -> None:
    """U+2028 and emoji stand in the JSON as UTF-8, not as escapes."""
    kimi.emulator.enqueue(FULL)
    content = kimi.post("Hi", stream=stream).content
    assert "\u2028".encode() in content
    assert "🚀".encode() in content


def test_lone_surrogates_are_escaped(kimi: Any) -> None:
    """Text that has no UTF-8 form is sent as JSON escapes."""
    kimi.emulator.enqueue(Turn(text=["\ud83d", "\ude80"]))
    assert b'"\\ud83d"' in kimi.post("Hi", stream=True).content


def test_the_model_is_echoed(kimi: Any) -> None:
    """The body names the model of the request."""
    assert kimi.post("Hi", model="moonshotai/other").json()["model"] == "moonshotai/other"


def test_empty_thinking_differs_from_none(kimi: Any) -> None:
    """`""` is sent as an empty string, `None` as null."""
    kimi.emulator.enqueue(Turn(thinking="", text="a"), Turn(text="b"))
    assert [kimi.message("Hi")["reasoning_content"] for _ in "ab"] == ["", None]


def test_finish_reason_usage_and_argument_text_can_be_scripted(kimi: Any) -> None:
    """What the script states is sent unchanged, broken arguments included."""
    kimi.emulator.enqueue(
        Turn(tool_calls=[Call("add", '{"a": ')], finish_reason="length", usage={"total_tokens": 7})
    )
    body = kimi.post("Hi").json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"a": '
    assert body["usage"] == {"total_tokens": 7}


def test_the_queue_is_served_in_order_then_the_brain(kimi: Any) -> None:
    """Scripted answers come first, in order; then the brain answers and says what it is."""
    kimi.emulator.enqueue(Turn(text="one"), Raw([b"{}"], status=503), Turn(text="three"))
    assert kimi.emulator.pending == 3
    assert kimi.text("Hi") == "one"
    assert kimi.post("Hi").status_code == 503
    assert kimi.text("Hi") == "three"
    assert "emulator" in kimi.text("Hi")


def test_a_refused_request_uses_up_no_turn(kimi: Any) -> None:
    """A turn stays in the queue when the rules refuse the request."""
    kimi.emulator.enqueue(Turn(text="mine"))
    assert kimi.post([{"role": "developer", "content": "x"}]).status_code == 400
    assert kimi.text("Hi") == "mine"


def test_only_answers_can_be_enqueued(emulator: Emulator) -> None:
    """Anything but a Turn or a Raw is refused, and a Turn on a token route too."""
    with pytest.raises(TypeError, match="str"):
        emulator.enqueue("hello")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="token"):
        emulator.enqueue(Turn(), route="token")


def test_stop_sequences_cut_the_answer(kimi: Any) -> None:
    """The brain's answer ends before the first stop sequence."""
    whole = kimi.text("Say what you are")
    assert kimi.text("Say what you are", stop=["emulator"]) == whole.partition("emulator")[0]


def test_max_tokens_cut_thinking_first(kimi: Any) -> None:
    """A small budget is used up by thinking: reason length, no content."""
    choice = kimi.post("Hi", max_tokens=4).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning_content"]


def test_max_tokens_cut_a_call_in_the_middle_of_its_arguments(kimi: Any, tool: Any) -> None:
    """A call that does not fit is sent half, with reason length."""
    tools = [tool("search_docs", "Search the docs", query={"type": "string"})]
    thinking = {"chat_template_kwargs": {"thinking": False}}
    choice = kimi.post("Search the docs for retries", tools=tools, max_tokens=5, **thinking).json()[
        "choices"
    ][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"query": "Search th'


@pytest.mark.parametrize(
    "switch", [{"chat_template_kwargs": {"thinking": False}}, {"thinking": {"type": "disabled"}}]
)
def test_thinking_can_be_switched_off(kimi: Any, switch: dict[str, Any]) -> None:
    """Either switch gives an answer without thinking."""
    assert kimi.message("Hi", **switch)["reasoning_content"] is None
    assert kimi.message("Hi")["reasoning_content"]


def test_an_emulator_can_have_a_pace(kimi: Any) -> None:
    """Turns that say no pause of their own take the emulator's between two events."""
    kimi.emulator.pace = 0.03
    kimi.emulator.enqueue(Turn(text=["a", "b"]))
    kimi.events("Hi")
    offsets = [at for at, _ in kimi.emulator.exchanges[0].events]
    assert offsets[-1] - offsets[0] >= 0.06


async def test_a_turn_can_pause_between_its_events(emulator: Emulator) -> None:
    """With a pause the thinking is there while the answer is still to come."""
    emulator.enqueue(Turn(thinking=["thought"], text=["answer"], pause=0.1))
    body = {"model": "a/b", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with (
        httpx.AsyncClient(verify=PLAIN) as client,
        client.stream("POST", f"{emulator.base_url}/chat/completions", json=body) as response,
    ):
        pieces = response.aiter_bytes()
        early = b""
        while b"thought" not in early:
            early += await anext(pieces)
        assert b"answer" not in early
        assert b"answer" in b"".join([piece async for piece in pieces])
    sent = {
        name: at
        for at, data in emulator.exchanges[0].pieces
        for name in (b"thought", b"answer")
        if name in data
    }
    assert sent[b"answer"] - sent[b"thought"] > 0.09
