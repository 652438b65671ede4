"""Tool calls judged by their schemas in whole calls of the client: off, flagged, repaired."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from kimi_vertex import (
    Completion,
    ConfigurationError,
    Finish,
    KimiVertexClient,
    RequestStats,
    ToolCallDelta,
    accumulate,
)
from kimi_vertex_emulator import Call, Emulator, Raw, Turn

from ..support_core import Outcome, chunk, each_form, each_stream, is_stream, perform


def tool(name: str, **properties: Any) -> dict[str, Any]:
    """A tool that needs all of these properties."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


TOOLS = [tool("count", n={"type": "integer"}), tool("say", words={"type": "string"})]
STRING_FOR_NUMBER = Call("count", '{"n": "5"}')
NO_NUMBER = Call("count", '{"n": "x"}')
GOOD = Call("say", '{"words": "hi"}')


def ask(emulator: Emulator, form: str, validation: Any, *turns: Turn | Raw, **settings: Any) -> Outcome:
    """The outcome of one call with the two tools; the events of a stream join to its completion."""
    emulator.enqueue(*turns)
    client = KimiVertexClient(base_url=emulator.base_url, tool_validation=validation, **settings)
    outcome = perform(client, form, tools=TOOLS)
    if is_stream(form) and outcome.error is None:
        assert accumulate(outcome.events) == outcome.completion
    return outcome


def answer(outcome: Outcome) -> Completion:
    """The answer, which must be there."""
    if outcome.error is not None:
        raise outcome.error
    assert outcome.completion is not None
    return outcome.completion


def arguments(completion: Completion) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in completion.tool_calls]


@each_form
def test_off(emulator: Emulator, form: str) -> None:
    """With `off` a call that the schema does not admit comes as it was written."""
    completion = answer(ask(emulator, form, "off", Turn(tool_calls=[NO_NUMBER, GOOD])))
    assert [call.arguments for call in completion.tool_calls] == ['{"n": "x"}', '{"words": "hi"}']
    assert completion.invalid_tool_calls == ()


@each_form
def test_default(emulator: Emulator, form: str, caplog: pytest.LogCaptureFixture) -> None:
    """By default the model is asked again, once; the log and the figures say so, and what stays invalid is logged too."""
    heard: list[RequestStats] = []
    turns = [Turn(tool_calls=[Call("count", text)]) for text in ("{n}", '{"n": 5', '{"n": 5}')]
    client = KimiVertexClient(base_url=emulator.base_url, on_request=heard.append)
    emulator.enqueue(*turns)
    invalid = answer(perform(client, form, tools=TOOLS)).invalid_tool_calls
    assert [call.replaced for call in invalid] == [True, False]
    assert arguments(answer(perform(client, form, tools=TOOLS))) == [("count", {"n": 5})]
    assert [stats.reasked for stats in heard] == [True, False]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text[:29] for text in said] == ["Asking the model again, becau", "The answer has tool calls tha"]
    assert all("count: the arguments" in text for text in said)


@each_form
def test_flag(emulator: Emulator, form: str) -> None:
    """`flag` makes a call that fails its schema invalid, with the place and the reason, and leaves the others."""
    completion = answer(ask(emulator, form, "flag", Turn(tool_calls=[STRING_FOR_NUMBER, GOOD])))
    assert arguments(completion) == [("say", {"words": "hi"})]
    (invalid,) = completion.invalid_tool_calls
    assert (invalid.name, invalid.arguments) == ("count", '{"n": "5"}')
    assert invalid.error == "n: '5' is not of type 'integer'"
    assert completion.finish_reason == "tool_calls"
    assert len(emulator.chat_requests) == 1


@each_stream
def test_flag_does_not_hold_a_stream_back(emulator: Emulator, form: str) -> None:
    """With `flag` all deltas up to the end are those of `off`."""
    flagged, plain = (
        ask(emulator, form, validation, Turn(thinking="Hm", tool_calls=[NO_NUMBER])).events
        for validation in ("flag", "off")
    )
    deltas = [event for event in plain if isinstance(event, ToolCallDelta)]
    assert [event for event in flagged if isinstance(event, ToolCallDelta)] == deltas
    assert len(deltas) > 1
    assert isinstance(flagged[-1], Finish)
    assert list(flagged[-1].invalid_calls) == [0]


@each_form
def test_repair(emulator: Emulator, form: str) -> None:
    """`repair` writes a certain value as the schema wants it and says where; the rest is flagged."""
    completion = answer(ask(emulator, form, "repair", Turn(tool_calls=[STRING_FOR_NUMBER, NO_NUMBER, GOOD])))
    assert arguments(completion) == [("count", {"n": 5}), ("say", {"words": "hi"})]
    repaired, kept = completion.tool_calls
    assert completion.metadata["repaired_tool_calls"] == {repaired.id: ["n"]}
    assert kept.arguments == GOOD.arguments
    (invalid,) = completion.invalid_tool_calls
    assert invalid.arguments == '{"n": "x"}'
    assert "reasked" not in completion.metadata


@each_stream
def test_repair_shows_the_name_at_once(emulator: Emulator, form: str) -> None:
    """A call's name and id come with its first piece, its arguments in one piece when they are whole."""
    pieces = [
        chunk(
            tool_calls=[
                {"index": 0, "id": "functions.count:0", "function": {"name": "count", "arguments": ""}}
            ]
        ),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"n": '}}]),
        chunk(content="..."),
        chunk("tool_calls", tool_calls=[{"index": 0, "function": {"arguments": '"5"}'}}]),
    ]
    events = ask(
        emulator, form, "repair", Raw([*pieces, b"data: [DONE]\n\n"]), implicit_thinking=False
    ).events
    assert [type(event).__name__ for event in events] == [
        "ToolCallDelta",
        "TextDelta",
        "ToolCallDelta",
        "Finish",
    ]
    assert events[0] == ToolCallDelta(0, "functions.count:0", "count", "")
    assert events[2] == ToolCallDelta(0, None, None, '{"n": 5}')


@each_form
@pytest.mark.parametrize("validation", ["flag", "repair", "reask"])
def test_undeclared_tools_are_left_alone(emulator: Emulator, form: str, validation: str) -> None:
    """A tool that the request does not declare has no schema to be judged by."""
    completion = answer(ask(emulator, form, validation, Turn(tool_calls=[Call("other", '{"n": "x"}')])))
    assert arguments(completion) == [("other", {"n": "x"})]
    assert completion.invalid_tool_calls == ()


@each_form
@pytest.mark.parametrize("validation", ["flag", "repair", "reask"])
def test_a_cut_call_stays_a_cut_call(emulator: Emulator, form: str, validation: str) -> None:
    """A call that the token limit cut is reported as such, with all of its text, and never asked for again."""
    turn = Turn(tool_calls=[Call("count", '{"n": "5')], finish_reason="length")
    completion = answer(ask(emulator, form, validation, turn))
    assert completion.finish_reason == "length"
    (invalid,) = completion.invalid_tool_calls
    assert invalid.arguments == '{"n": "5'
    assert invalid.error.startswith("cut off by the token limit")
    assert len(emulator.chat_requests) == 1


@each_stream
@pytest.mark.parametrize(
    ("validation", "written", "valid", "shown"),
    [
        ("repair", '{"n": "5"}', '{"n": 5}', None),
        ("repair", '{"n": "x"}', None, ""),
        ("repair", '{"n": "5', None, '{"n": "5'),
        ("flag", '{"n": 5}', '{"n": 5}', None),
        ("flag", '{"n": "x"}', None, '{"n": "x"}'),
        ("reask", '{"n": 5}', '{"n": 5}', None),
        ("reask", '{"n": "x"}', None, '{"n": "x"}'),
        ("reask", '{"n": "5', None, '{"n": "5'),
    ],
)
def test_a_broken_stream_gives_nothing_unchecked(
    emulator: Emulator, form: str, validation: str, written: str, valid: str | None, shown: str | None
) -> None:
    """Of the calls in a broken answer the partial answer has the valid ones as calls, and no other."""
    call = {"index": 0, "id": "a", "function": {"name": "count", "arguments": written}}
    error = ask(
        emulator, form, validation, Raw([chunk(tool_calls=[call]), "cut"]), max_retries=0, pace=None
    ).error
    partial = getattr(error, "partial", None)
    assert isinstance(partial, Completion)
    assert [call.arguments for call in partial.tool_calls] == ([] if valid is None else [valid])
    assert [call.arguments for call in partial.invalid_tool_calls] == ([] if shown is None else [shown])


def test_leaked_calls_are_judged_too(emulator: Emulator) -> None:
    """A call that a server let through as text is judged and repaired like any other."""
    text = (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.count:0<|tool_call_argument_begin|>"
        '{"n": "5"}<|tool_call_end|><|tool_calls_section_end|>'
    )
    completion = answer(ask(emulator, "sync-stream", "repair", Turn(text=text)))
    assert arguments(completion) == [("count", {"n": 5})]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("tool_validation", "always"), ("tool_validation", None)],
)
def test_wrong_settings(setting: str, value: Any) -> None:
    """A setting that makes no sense is refused when the client is made."""
    with pytest.raises(ConfigurationError, match=setting):
        KimiVertexClient(base_url="http://127.0.0.1:1/v1", **{setting: value})


_ON_A_LOOP = """
import asyncio, sys, threading
from kimi_vertex import KimiVertexClient
threads = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "jsonschema.validators":
            threads.append(threading.current_thread())
sys.meta_path.insert(0, Finder())
async def main():
    KimiVertexClient(base_url="http://127.0.0.1:1/v1", tool_validation="flag")
    while not threads:
        await asyncio.sleep(0.001)
asyncio.run(main())
assert threading.main_thread() not in threads, threads
"""


def test_jsonschema_is_imported_beside_an_event_loop() -> None:
    """A client that is made on an event loop does not hold it up with the import, which reads many files."""
    subprocess.run([sys.executable, "-c", _ON_A_LOOP], check=True)


def test_jsonschema_is_imported_with_the_setting_only() -> None:
    """Jsonschema is loaded by a client that needs it, when it is made; without it, making one fails and names the extra."""
    code = """
import sys
from kimi_vertex import ConfigurationError, KimiVertexClient
KimiVertexClient(base_url="http://127.0.0.1:1/v1", tool_validation="off")
assert "jsonschema" not in sys.modules
sys.modules["jsonschema"] = None
try:
    KimiVertexClient(base_url="http://127.0.0.1:1/v1", tool_validation="flag")
except ConfigurationError as error:
    assert "kimi-vertex[validate]" in str(error), error
else:
    raise AssertionError
del sys.modules["jsonschema"]
KimiVertexClient(base_url="http://127.0.0.1:1/v1", tool_validation="flag")
assert "jsonschema" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
