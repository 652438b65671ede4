"""Empty turns and what is made of them, in every form of call."""

from __future__ import annotations

import logging

import pytest

from kimi_vertex import EmptyTurnError, Finish, KimiVertexClient, TextDelta
from kimi_vertex_emulator import Emulator, Raw, Turn

from ..support_core import DONE, THINKING, answer, chunk, each_form, is_stream, perform, whole_body

THOUGHT = Turn(thinking=["Let me ", "think."], text=None)
NOTHING = Turn(thinking=None, text=None)
ANSWER = Turn(thinking="Hm.", text="Hello")


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.fixture
def announced() -> dict[str, Raw]:
    """A turn that announces tool calls and has none."""
    stream = [THINKING, chunk("tool_calls", tool_calls=[]), DONE]
    whole = whole_body(role="assistant", content=None, reasoning_content="Hm. ", tool_calls=[])
    return {
        form: answer(form, stream, [whole.replace(b'"stop"', b'"tool_calls"')])
        for form in ("sync-stream", "sync-whole", "async-stream", "async-whole")
    }


@each_form
def test_flag(emulator: Emulator, form: str, caplog: pytest.LogCaptureFixture) -> None:
    """By default the turn comes back as it is, marked, with one warning that names the place."""
    emulator.enqueue(THOUGHT)
    outcome = perform(KimiVertexClient(base_url=emulator.base_url), form)
    assert outcome.text == ""
    assert outcome.completion is not None
    assert (outcome.completion.empty, outcome.completion.thinking) == ("thinking_only", "Let me think.")
    (warning,) = warnings_in(caplog)
    assert "thinking_only" in warning
    assert emulator.base_url in warning
    assert "Let me" not in warning
    if is_stream(form):
        assert isinstance(outcome.events[-1], Finish)
        assert outcome.events[-1].empty == "thinking_only"


@each_form
def test_announced_calls_that_do_not_come(emulator: Emulator, form: str, announced: dict[str, Raw]) -> None:
    """`tool_calls` without calls is an empty turn of its own kind, not a turn with tools."""
    emulator.enqueue(announced[form])
    completion = perform(KimiVertexClient(base_url=emulator.base_url), form).completion
    assert completion is not None
    assert (completion.empty, completion.finish_reason, completion.tool_calls) == (
        "missing_tool_calls",
        "stop",
        (),
    )


@each_form
def test_retry_where_nothing_was_shown(
    emulator: Emulator, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`retry` asks once more, without streaming, where the caller has seen nothing."""
    emulator.enqueue(NOTHING, ANSWER)
    outcome = perform(KimiVertexClient(base_url=emulator.base_url, empty_turn="retry", max_retries=0), form)
    assert outcome.text == "Hello"
    assert [r.json.get("stream", False) for r in emulator.chat_requests] == [is_stream(form), False]
    assert "stream_options" not in emulator.chat_requests[1].json
    (warning,) = warnings_in(caplog)
    assert 'or set empty_turn="retry"' not in warning
    assert emulator.connections_opened == 1


@each_form
def test_retry_does_not_take_back_what_was_shown(emulator: Emulator, form: str) -> None:
    """Thinking that was streamed stays; the turn is flagged. A whole answer is asked for again."""
    emulator.enqueue(THOUGHT, ANSWER)
    outcome = perform(KimiVertexClient(base_url=emulator.base_url, empty_turn="retry"), form)
    assert len(emulator.chat_requests) == (1 if is_stream(form) else 2)
    assert outcome.text == ("" if is_stream(form) else "Hello")


@each_form
def test_retry_happens_once(emulator: Emulator, form: str, caplog: pytest.LogCaptureFixture) -> None:
    """A second empty turn is returned, flagged; the log has one warning for the call."""
    emulator.enqueue(NOTHING, NOTHING, ANSWER)
    outcome = perform(KimiVertexClient(base_url=emulator.base_url, empty_turn="retry"), form)
    assert outcome.completion is not None
    assert outcome.completion.empty == "nothing"
    assert len(emulator.chat_requests) == 2
    assert len(warnings_in(caplog)) == 1


@each_form
def test_raise(emulator: Emulator, form: str) -> None:
    """`raise` gives the turn in an error, is not retried, and the connection can be used again."""
    emulator.enqueue(THOUGHT, ANSWER)
    client = KimiVertexClient(base_url=emulator.base_url, empty_turn="raise")
    error = perform(client, form).error
    assert isinstance(error, EmptyTurnError)
    assert error.partial is not None
    assert (error.partial.thinking, error.partial.text) == ("Let me think.", "")
    assert "gave neither an answer nor a tool call" in error.message
    assert len(emulator.chat_requests) == 1


@each_form
def test_raise_explains_a_spent_budget(emulator: Emulator, form: str) -> None:
    """Where thinking has used up `max_tokens`, the error says so, and no policy asks again."""
    emulator.enqueue(Turn(thinking="Long", finish_reason="length"))
    error = perform(KimiVertexClient(base_url=emulator.base_url, empty_turn="raise"), form).error
    assert isinstance(error, EmptyTurnError)
    assert "max_tokens was used up by thinking" in error.message
    emulator.enqueue(Turn(thinking="Long", finish_reason="length"), ANSWER)
    perform(KimiVertexClient(base_url=emulator.base_url, empty_turn="retry"), form)
    assert len(emulator.chat_requests) == 2


@each_form
def test_promote(emulator: Emulator, form: str) -> None:
    """`promote` gives the thinking as the answer, too; the turn stays marked."""
    emulator.enqueue(THOUGHT)
    outcome = perform(KimiVertexClient(base_url=emulator.base_url, empty_turn="promote"), form)
    assert outcome.text == "Let me think."
    assert outcome.completion is not None
    assert outcome.completion.empty == "thinking_only"
    if is_stream(form):
        assert TextDelta("Let me think.") in outcome.events


@each_form
def test_promote_leaves_a_cut_turn_alone(emulator: Emulator, form: str) -> None:
    """Thinking that was cut off by the limit is not an answer."""
    emulator.enqueue(Turn(thinking="Long", finish_reason="length"))
    outcome = perform(KimiVertexClient(base_url=emulator.base_url, empty_turn="promote"), form)
    assert outcome.text == ""
