"""Asking again for tool calls that cannot be executed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from kimi_vertex import (
    Completion,
    RateLimitError,
    RequestStats,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from kimi_vertex_emulator import Call, Emulator, Raw, Turn

from ..support_core import chunk, each_form, each_stream
from .test_toolvalidation import GOOD, NO_NUMBER, answer, arguments, ask

COUNTS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
BAD_TURN = Turn(thinking="First. ", tool_calls=[NO_NUMBER, GOOD], usage=COUNTS)
BETTER = Turn(thinking="Second.", tool_calls=[Call("count", {"n": 5}), GOOD], usage=COUNTS)


@each_form
def test_the_second_answer_counts(emulator: Emulator, form: str) -> None:
    """The calls are those of the second answer, the usage is that of both, and the first one's calls are invalid."""
    completion = answer(ask(emulator, form, "reask", BAD_TURN, BETTER))
    assert arguments(completion) == [("count", {"n": 5}), ("say", {"words": "hi"})]
    reasons = {call.name: call.error for call in completion.invalid_tool_calls}
    assert reasons == {
        "count": "n: 'x' is not of type 'integer'",
        "say": "not executed, because another call of this turn is invalid",
    }
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (20, 30)
    assert completion.metadata["reasked"] == 1
    # What a stream has shown cannot be taken back, and a whole answer is what its stream would have been.
    assert completion.thinking == "First. Second."


@each_form
def test_which_calls_are_only_unfit(emulator: Emulator, form: str) -> None:
    """Of invalid calls, those that are whole and only do not fit their schema are told from those that cannot be read."""
    lacking, unreadable = Call("count", "{}"), Call("count", "five")
    bad = Turn(tool_calls=[NO_NUMBER, lacking, unreadable])
    completion = answer(ask(emulator, form, "reask", bad, bad))
    assert [call.unfit for call in completion.invalid_tool_calls if not call.replaced] == [True, True, False]


@each_form
def test_the_history_goes_on_without_the_rejected_calls(emulator: Emulator, form: str) -> None:
    """The message for the history has the calls of the second answer only: those of the first stand replaced."""
    completion = answer(ask(emulator, form, "reask", BAD_TURN, BETTER))
    assert completion.to_message().tool_calls == completion.tool_calls
    assert all(call.replaced for call in completion.invalid_tool_calls)


@each_form
def test_what_the_model_is_told(emulator: Emulator, form: str) -> None:
    """The second request adds the turn with its thinking, the reason for the bad call, and that the good one did not run."""
    ask(emulator, form, "reask", BAD_TURN, BETTER)
    first, second = (request.json for request in emulator.chat_requests)
    turn, *results = second["messages"][len(first["messages"]) :]
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert turn["reasoning_content"] == "First. "
    assert [call["id"] for call in turn["tool_calls"]] == [result["tool_call_id"] for result in results]
    by_name = {result["name"]: result["content"] for result in results}
    assert "n: 'x' is not of type 'integer'" in by_name["count"]
    assert "another call of this turn is invalid" in by_name["say"]
    assert {**first, "messages": 0} == {**second, "messages": 0}


@each_stream
def test_a_stream_goes_on(emulator: Emulator, form: str) -> None:
    """What both answers hold is shown as it comes, the calls of the second with the next indices, one usage, one end."""
    turns = [
        Turn(thinking=["A"], text="b", tool_calls=[NO_NUMBER]),
        Turn(thinking=["C"], text="d", tool_calls=[GOOD]),
    ]
    events = ask(emulator, form, "reask", *turns, implicit_thinking=False).events
    shown = [event.text for event in events if isinstance(event, ThinkingDelta | TextDelta)]
    assert shown == ["A", "b", "C", "d"]
    begun = [(event.index, event.name) for event in events if isinstance(event, ToolCallDelta) and event.name]
    assert begun == [(0, "count"), (1, "say")]
    assert sum(isinstance(event, Usage) for event in events) == 1


@each_form
def test_it_is_bounded(emulator: Emulator, form: str) -> None:
    """The model is asked again once; then its answer stands, with its bad calls flagged."""
    completion = answer(ask(emulator, form, "reask", *[BAD_TURN] * 3))
    assert len(emulator.chat_requests) == 2
    assert [(call.name, call.replaced) for call in completion.invalid_tool_calls] == [
        ("count", True),
        ("say", True),
        ("count", False),
    ]
    assert arguments(completion) == [("say", {"words": "hi"})]
    assert completion.metadata["reasked"] == 1
    assert completion.usage is not None
    assert completion.usage.total_tokens == 30


@each_form
def test_nothing_is_asked_about_valid_calls(emulator: Emulator, form: str) -> None:
    """An answer whose calls are valid stands, and nothing says that it was judged."""
    completion = answer(ask(emulator, form, "reask", Turn(tool_calls=[GOOD])))
    assert arguments(completion) == [("say", {"words": "hi"})]
    assert len(emulator.chat_requests) == 1
    assert "reasked" not in completion.metadata


@each_stream
def test_a_stream_is_not_held_back(emulator: Emulator, form: str) -> None:
    """With `reask` all deltas of a first answer are those of `off`, in the same pieces."""
    turn = Turn(thinking="Hm", text="So.", tool_calls=[NO_NUMBER, GOOD])
    plain = ask(emulator, form, "off", turn).events
    deltas = [event for event in plain if isinstance(event, ThinkingDelta | TextDelta | ToolCallDelta)]
    asked = ask(emulator, form, "reask", turn, Turn(text="Never mind.")).events
    assert len([event for event in deltas if isinstance(event, ToolCallDelta)]) > 2
    assert asked[: len(deltas)] == deltas


@each_stream
def test_a_second_answer_that_breaks_off(emulator: Emulator, form: str) -> None:
    """What has come of both answers is in the error's `partial`, and none of it is an executable call."""
    call = {"index": 0, "id": "a", "function": {"name": "count", "arguments": '{"n": '}}
    broken = Raw([chunk(reasoning_content="Second."), chunk(tool_calls=[call]), "cut"])
    outcome = ask(emulator, form, "reask", BAD_TURN, broken, max_retries=0, pace=None)
    partial = getattr(outcome.error, "partial", None)
    assert isinstance(partial, Completion)
    assert partial.thinking == "First. Second."
    assert partial.tool_calls == ()
    assert [call.name for call in partial.invalid_tool_calls] == ["count", "say", "count"]


@pytest.mark.usefixtures("short_jitter")
@pytest.mark.parametrize("form", ["sync-whole", "async-whole"])
def test_a_second_answer_is_retried_from_its_beginning(emulator: Emulator, form: str) -> None:
    """If it breaks off unseen, a whole answer holds nothing of the attempt that failed."""
    broken = Raw([chunk(reasoning_content="Lost."), "cut"])
    completion = answer(ask(emulator, form, "reask", BAD_TURN, broken, BETTER))
    assert completion.thinking == "First. Second."
    assert arguments(completion) == [("count", {"n": 5}), ("say", {"words": "hi"})]


@each_form
def test_unreadable_arguments(emulator: Emulator, form: str) -> None:
    """A call whose arguments are no JSON is asked for again, and does not break the history that it is sent with."""
    completion = answer(ask(emulator, form, "reask", Turn(tool_calls=[Call("count", '{"n": 5')]), BETTER))
    assert arguments(completion) == [("count", {"n": 5}), ("say", {"words": "hi"})]
    assert "the arguments break off" in emulator.chat_requests[1].json["messages"][-1]["content"]


@each_form
def test_an_answer_in_words(emulator: Emulator, form: str) -> None:
    """Asked again, the model may give up the call and answer."""
    completion = answer(ask(emulator, form, "reask", Turn(tool_calls=[NO_NUMBER]), Turn(text="Never mind.")))
    assert (completion.text, completion.tool_calls, completion.finish_reason) == ("Never mind.", (), "stop")


@each_form
def test_new_ids(emulator: Emulator, form: str) -> None:
    """Each answer's calls have ids of their own, whatever the server calls them."""
    turn = Turn(tool_calls=[Call("count", '{"n": "x"}', id="functions.count:0")])
    completion = answer(ask(emulator, form, "reask", turn, turn))
    sent = [m["tool_call_id"] for m in emulator.chat_requests[1].json["messages"] if m["role"] == "tool"]
    assert sent == ["functions.count:0"]
    assert [c.id for c in completion.invalid_tool_calls] == ["functions.count:0", "functions.count:1"]


@each_stream
def test_a_call_without_a_name(emulator: Emulator, form: str) -> None:
    """A call that names no tool can be sent back, too."""
    call = {"index": 0, "id": "a", "function": {"arguments": '{"z": 1}'}}
    done = b"data: [DONE]\n\n"
    nameless = Raw([chunk("tool_calls", reasoning_content="Hm.", tool_calls=[call]), done])
    completion = answer(ask(emulator, form, "reask", nameless, BETTER))
    assert [call.name for call in completion.tool_calls] == ["count", "say"]
    assert emulator.chat_requests[1].json["messages"][-1]["name"] == "unknown"


@each_form
def test_the_second_request_is_retried(emulator: Emulator, form: str) -> None:
    """A server that fails at the second request is tried again, because nothing of that answer was shown."""
    failure = Raw([b"{}"], status=500, headers={"retry-after": "0"})
    completion = answer(ask(emulator, form, "reask", BAD_TURN, failure, BETTER))
    assert arguments(completion)[0] == ("count", {"n": 5})
    assert completion.usage is not None
    assert completion.usage.total_tokens == 30


@each_form
def test_a_failure_keeps_the_first_answer(emulator: Emulator, form: str) -> None:
    """If the second request fails, the error holds the first answer with its calls judged."""
    outcome = ask(emulator, form, "reask", BAD_TURN, Raw([b"{}"], status=429), max_retries=0, pace=None)
    assert isinstance(outcome.error, RateLimitError)
    partial = outcome.error.partial
    assert partial is not None
    assert partial.thinking == "First. "
    assert [call.name for call in partial.tool_calls] == ["say"]
    assert [call.name for call in partial.invalid_tool_calls] == ["count"]


@each_form
def test_figures(emulator: Emulator, form: str) -> None:
    """`on_request` is told of one call, with both requests and the usage of both."""
    told: list[RequestStats] = []
    ask(emulator, form, "reask", BAD_TURN, BETTER, on_request=told.append)
    (stats,) = told
    assert stats.attempts == 2
    assert stats.usage is not None
    assert stats.usage.total_tokens == 30


@pytest.mark.parametrize("second", [Turn(thinking="Done."), Turn(text="")])
def test_an_empty_second_answer_is_flagged(emulator: Emulator, second: Any) -> None:
    """An empty turn is one although an earlier answer had text."""
    first = Turn(thinking="A", text="Let me see.", tool_calls=[NO_NUMBER])
    completion = answer(ask(emulator, "sync-stream", "reask", first, second))
    assert completion.empty is not None


def test_without_jsonschema() -> None:
    """Without the package, calls that cannot be read or lack a required argument are asked about, and only they."""
    code = """
import sys
sys.modules["jsonschema"] = None
from kimi_vertex import KimiVertexClient
from kimi_vertex_emulator import Call, Emulator, Turn
schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
tools = [{"type": "function", "function": {"name": "count", "parameters": schema}}]
for arguments, requests in (('{"n": 5', 2), ("{}", 2), ('{"n": "x"}', 1), ('{"n": 5}', 1)):
    with Emulator() as emulator, KimiVertexClient(
        base_url=emulator.base_url, tool_validation="reask"
    ) as client:
        emulator.enqueue(Turn(tool_calls=[Call("count", arguments)]), Turn(tool_calls=[Call("count", {"n": 5})]))
        answer = client.complete("Count!", tools=tools)
        assert len(emulator.chat_requests) == requests, arguments
        assert len(answer.tool_calls) == 1, arguments
        assert len(answer.invalid_tool_calls) == requests - 1, arguments
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
