"""What surrounds an answer: choices, usage, errors, the end, and values of the wrong type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from kimi_vertex._answer.decoder import Decoder, StreamErrorEvent, UnreadableData
from kimi_vertex.completion import Completion, accumulate
from kimi_vertex.events import Finish, TextDelta, ThinkingDelta, ToolCallDelta, Usage

from .support_decoder import call, chunk, run_chunks

COUNTS = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def read(*chunks: Mapping[str, Any], **settings: Any) -> Completion:
    return accumulate(run_chunks(Decoder(**settings), chunks))


def usage_of(*usages: Any, thinking: bool = False) -> Usage | None:
    delta = {"content": "Hi", "reasoning_content": "Hm" if thinking else None}
    return read(chunk(delta), *(chunk({}, "stop", usage=usage) for usage in usages)).usage


# Events


def test_order_of_events() -> None:
    """Events keep the order of the wire, with the usage and one finish at the end."""
    chunks = [
        chunk({"reasoning_content": "a"}),
        chunk({"content": "b"}),
        chunk({"reasoning_content": "c", "content": "d"}),
        chunk({"tool_calls": [call(0, "x", "clock", '{"a": 1}')]}),
        chunk({}, "tool_calls", usage=COUNTS),
    ]
    events = run_chunks(Decoder(), chunks)
    kinds = [ThinkingDelta, TextDelta, ThinkingDelta, TextDelta, ToolCallDelta, Usage, Finish]
    assert [type(event) for event in events] == kinds


def test_events_come_at_once() -> None:
    """Plain thinking, text and arguments are given out with the chunk that brings them."""
    reader = Decoder()
    assert reader.feed(json.dumps(chunk({"reasoning_content": "a"}))) == [ThinkingDelta("a")]
    assert reader.feed(json.dumps(chunk({"content": "b"}))) == [TextDelta("b")]
    assert reader.feed(json.dumps(chunk({"tool_calls": [call(4, "x", "clock", '{"a"')]}))) == [
        ToolCallDelta(0, "x", "clock", '{"a"')
    ]
    assert reader.feed(json.dumps(chunk({"tool_calls": [call(4, None, None, ": 1}")]}))) == [
        ToolCallDelta(0, None, None, ": 1}")
    ]


def test_an_empty_object_comes_at_the_end() -> None:
    """An empty object may stand for arguments that a server lost, so that it is given out when that is decided."""
    reader = Decoder()
    begun = reader.feed(json.dumps(chunk({"tool_calls": [call(4, "x", "clock", "{ }")]})))
    assert begun == [ToolCallDelta(0, "x", "clock", "")]
    assert reader.finish()[0] == ToolCallDelta(0, None, None, "{ }")


def test_implicit_thinking_is_held_only_until_decided() -> None:
    """Thinking in its field shows that what follows is the answer, which is then not held back."""
    reader = Decoder(implicit_thinking=True)
    assert reader.feed(json.dumps(chunk({"content": "b"}))) == []
    assert reader.feed(json.dumps(chunk({"reasoning_content": "a"}))) == [TextDelta("b"), ThinkingDelta("a")]
    assert reader.feed(json.dumps(chunk({"content": "c"}))) == [TextDelta("c")]


def test_broken_stream_gives_back_what_was_held() -> None:
    """After a break, the text that was held back is in the partial answer, and a call that is not whole is not executable."""
    reader = Decoder(implicit_thinking=True)
    reader.feed(json.dumps(chunk({"content": "a <"})))
    reader.feed(
        json.dumps(chunk({"tool_calls": [call(0, "x", "clock", "{}"), call(1, "y", "clock", '{"a')]}))
    )
    reader.flush()
    partial = reader.completion
    assert partial.text == "a <"
    assert [c.id for c in partial.tool_calls] == ["x"]
    assert [c.arguments for c in partial.invalid_tool_calls] == ['{"a']
    assert partial.finish_reason is None


@pytest.mark.parametrize(
    ("arguments", "whole"),
    [
        ('{"a": 1}', True),
        ("{}", True),
        ('{"a": 1', False),
        ("[1]", False),
        ("", False),
        ('{"a": NaN}', False),
    ],
)
def test_a_call_in_what_broke_off(arguments: str, whole: bool) -> None:
    """It counts as whole by the rules of a finished answer: one JSON object, without NaN, which JSON does not have."""
    completion = accumulate([ToolCallDelta(0, "functions.f:0", "f", arguments)])
    assert len(completion.tool_calls) == whole
    assert len(completion.invalid_tool_calls) == 1 - whole


def test_promoted_thinking() -> None:
    """If asked to, thinking without an answer becomes the answer; the turn stays flagged."""
    reader = Decoder()
    reader.feed(json.dumps(chunk({"reasoning_content": " It is 4. "}, "stop")))
    reader.finish(promote=True)
    completion = reader.completion
    assert completion.text == "It is 4."
    assert completion.empty == "thinking_only"


# Choices


def test_second_choice() -> None:
    """Only the first choice is read: another one is not mixed into it."""
    both = {
        "choices": [
            {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"},
            {"index": 0, "delta": {"content": "yes"}, "finish_reason": None},
        ]
    }
    completion = read(both, chunk({}, "stop"))
    assert (completion.text, completion.finish_reason) == ("yes", "stop")


@pytest.mark.parametrize("choices", [None, [], [None], {}, "x", 3, [[]]])
def test_no_choice_in_a_chunk(choices: Any) -> None:
    """A chunk without a choice is passed over, its usage read."""
    completion = read(chunk({"content": "Hi"}, "stop"), {"choices": choices, "usage": COUNTS})
    assert completion.text == "Hi"
    assert completion.usage == Usage(7, 5, 12)


@pytest.mark.parametrize(
    "body", [{"choices": None}, {"choices": []}, {"choices": [None]}, {}, [], "x", None, 7]
)
def test_no_choice_in_a_body(body: Any) -> None:
    """A body without a choice is not an answer."""
    with pytest.raises(UnreadableData):
        Decoder().feed_body(body)


@pytest.mark.parametrize("wrapped", [True, False])
def test_predict_body(wrapped: bool) -> None:
    """The answer that `:predict` wraps is read like any other."""
    body: Any = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    reader = Decoder()
    reader.feed_body({"predictions": [body] if wrapped else body, "deployedModelId": "1"})
    assert accumulate([TextDelta("Hi"), *reader.finish()]).text == "Hi"


def test_message_in_a_stream() -> None:
    """A server that streams whole messages is understood; a message beside a delta is not read twice."""
    message = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    assert read({"choices": [message]}).text == "Hi"
    assert read(chunk({"content": "Hi"}), {"choices": [{**message, "delta": {}}]}).text == "Hi"


# Usage


def test_last_usage_wins() -> None:
    """Usage is the last that was sent, never a sum; null and empty ones do not count."""
    cumulative = {"prompt_tokens": 7, "completion_tokens": 1}
    assert usage_of(cumulative, COUNTS, None, {}, [], {"prompt_tokens": None}, "x") == Usage(7, 5, 12)


@pytest.mark.parametrize(
    ("usage", "cached"),
    [
        ({**COUNTS, "prompt_tokens_details": {"cached_tokens": 3}}, 3),
        ({**COUNTS, "cached_tokens": 3}, 3),
        ({**COUNTS, "prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 3}, 0),
        ({**COUNTS, "prompt_tokens_details": None}, None),
        ({**COUNTS, "prompt_tokens_details": [1], "cached_tokens": "3"}, None),
    ],
)
def test_cached_tokens(usage: Any, cached: int | None) -> None:
    """Cached tokens are read from both places, and are unknown where the server is silent."""
    found = usage_of(usage)
    assert found is not None
    assert found.cached_tokens == cached


@pytest.mark.parametrize(
    ("usage", "thinking", "expected"),
    [
        ({**COUNTS, "completion_tokens_details": {"reasoning_tokens": 4}}, True, 4),
        ({**COUNTS, "reasoning_tokens": 4}, True, 4),
        ({**COUNTS, "reasoning_tokens": 0}, True, None),
        ({**COUNTS, "reasoning_tokens": 0}, False, 0),
        (COUNTS, True, None),
    ],
)
def test_thinking_tokens(usage: Any, thinking: bool, expected: int | None) -> None:
    """A count of 0 beside thinking, which Vertex reports, does not count."""
    found = usage_of(usage, thinking=thinking)
    assert found is not None
    assert found.thinking_tokens == expected


@pytest.mark.parametrize("holder", ["choice", "x_groq"])
def test_usage_elsewhere(holder: str) -> None:
    """Usage is found in the choice (Moonshot) and in `x_groq`."""
    last = chunk({}, "stop")
    if holder == "choice":
        last["choices"][0]["usage"] = COUNTS
    else:
        last["x_groq"] = {"usage": COUNTS}
    assert read(chunk({"content": "Hi"}), last).usage == Usage(7, 5, 12)


def test_total_is_made_up() -> None:
    """A missing total is the sum of the two counts."""
    assert usage_of({"prompt_tokens": 7, "completion_tokens": 5}) == Usage(7, 5, 12)


# Reasons and metadata


def test_reasons_twice() -> None:
    """Of two reasons the first counts, unless the second says that the answer was cut; null changes nothing."""

    def reason(*sent: str | None) -> str | None:
        return read(chunk({"content": "Hi"}), *(chunk({}, r) for r in sent)).finish_reason

    assert reason("stop", "stop", None) == "stop"
    assert reason("stop", "length") == "length"
    assert reason("content_filter", "stop") == "content_filter"


def test_refusal() -> None:
    """A refusal is kept as what it is, in pieces too, and the turn is not called empty."""
    completion = read(chunk({"refusal": "I "}), chunk({"refusal": "won't."}), chunk({}, "stop"))
    assert (completion.refusal, completion.text, completion.empty) == ("I won't.", "", None)


def test_metadata() -> None:
    """Everything else that the service says is kept under its own name, streamed as whole."""
    entries = [{"token": "H"}, {"token": "i"}]
    first, second = chunk({"content": "H"}), chunk({"content": "i"})
    first["choices"][0]["logprobs"] = {"content": entries[:1]}
    second["choices"][0]["logprobs"] = {"content": entries[1:]}
    more = {"created": 1, "system_fingerprint": "f", "metadata": {"weight_version": "w"}}
    usage = {**COUNTS, "extra_properties": {"google": {"traffic_type": "ON_DEMAND"}}}
    last = chunk({}, "stop", usage=usage, **more)
    last["choices"][0]["matched_stop"] = 163586
    completion = read(first, second, last)
    assert completion.metadata == {
        "created": 1,
        "system_fingerprint": "f",
        "weight_version": "w",
        "traffic_type": "ON_DEMAND",
        "matched_stop": 163586,
        "logprobs": {"content": entries},
    }
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop", "matched_stop": 163586}
    choice["logprobs"] = {"content": entries}
    reader = Decoder()
    reader.feed_body({"choices": [choice], "usage": usage, **more})
    reader.finish()
    assert reader.completion.metadata == completion.metadata


# Errors

GOOGLE = {"error": {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED"}}
ERRORS: list[tuple[str, Any, str, int | None, str | None]] = [
    ("object", GOOGLE, "Resource exhausted.", 429, "RESOURCE_EXHAUSTED"),
    ("list", [GOOGLE], "Resource exhausted.", 429, "RESOURCE_EXHAUSTED"),
    (
        "flat, vLLM",
        {"object": "error", "message": "Too long.", "type": "BadRequestError", "param": None, "code": 400},
        "Too long.",
        400,
        "BadRequestError",
    ),
    (
        "flat, without the field object",
        {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"},
        "Overloaded.",
        503,
        "UNAVAILABLE",
    ),
    (
        "nested, vLLM",
        {"error": {"message": "Too long.", "type": "BadRequestError", "code": 400}},
        "Too long.",
        400,
        "BadRequestError",
    ),
    (
        "Moonshot",
        {"error": {"type": "content_filter", "message": "high risk"}},
        "high risk",
        400,
        "content_filter",
    ),
    ("code as text", {"error": {"code": "502", "message": "Bad."}}, "Bad.", 502, "502"),
    ("text", {"error": "upstream failed"}, "upstream failed", None, None),
    ("true", {"error": True, "message": "failed"}, "failed", None, None),
    ("no message", {"error": {"code": 500}}, '{"code": 500}', 500, None),
    ("odd code", {"error": {"code": 10**9, "message": "x"}}, "x", None, None),
    ("beside choices", {"choices": [], **GOOGLE}, "Resource exhausted.", 429, "RESOURCE_EXHAUSTED"),
]


@pytest.mark.parametrize("whole", [False, True], ids=["event", "body"])
@pytest.mark.parametrize(
    ("data", "message", "status", "code"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS]
)
def test_errors_with_status_200(
    data: Any, message: str, status: int | None, code: str | None, whole: bool
) -> None:
    """An error in the place of an answer is an error, in whichever form it comes."""
    reader = Decoder()
    with pytest.raises(StreamErrorEvent) as caught:
        reader.feed_body(data) if whole else reader.feed(json.dumps(data))
    assert (caught.value.error.message, caught.value.error.status) == (message, status)
    assert caught.value.error.code == code


def test_error_in_the_choice() -> None:
    """OpenRouter puts the error into the choice: the text beside it is given out, and the error is there to raise."""
    reader = Decoder()
    broken = chunk({"content": "half"}, "error")
    broken["choices"][0]["error"] = {"code": 502, "message": "Upstream broke."}
    assert reader.feed(json.dumps(broken)) == [TextDelta("half")]
    assert isinstance(reader.failure, StreamErrorEvent)
    assert reader.failure.error.message == "Upstream broke."
    assert reader.completion.text == "half"


@pytest.mark.parametrize("reason", ["error", "abort", "Cancelled"])
def test_reason_that_is_an_error(reason: str) -> None:
    """A reason that means failure is one, even without an error object."""
    with pytest.raises(StreamErrorEvent, match=reason):
        Decoder().feed(json.dumps(chunk({}, reason)))


@pytest.mark.parametrize("data", ["{", '{"choices": [', "<html>", "data", "[1]", "7", '"x"', "[" * 5000])
def test_unreadable_events(data: str) -> None:
    """What is neither a chunk nor an error nor the end is reported."""
    with pytest.raises(UnreadableData):
        Decoder().feed(data)


@pytest.mark.parametrize("data", ["", " ", "\n", "null", "{}", '{"id": "x"}', '{"type": "ping"}'])
def test_events_without_meaning(data: str) -> None:
    """Empty events, pings and the like are passed over, and do not end the stream."""
    reader = Decoder()
    assert reader.feed(data) == []
    assert not reader.complete


@pytest.mark.parametrize("data", ["[DONE]", " [DONE]\n"])
def test_end(data: str) -> None:
    """A stream is complete with [DONE] after a chunk, or with a reason."""
    reader = Decoder()
    assert not reader.complete
    reader.feed(json.dumps(chunk({"content": "Hi"})))
    assert not reader.complete
    reader.feed(data)
    assert reader.done
    assert reader.complete
