"""A tool call that broke off or is unreadable is never executable, however LangChain joins the chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.utils.json import parse_partial_json

from kimi_vertex import Event, Finish, TextDelta, ThinkingDelta, ToolCallDelta, accumulate
from langchain_kimi_vertex._chunks import Chunks
from langchain_kimi_vertex._events_v3 import ProtocolEvents
from langchain_kimi_vertex._invalid import original_arguments, refusing_fragment
from langchain_kimi_vertex._messages import to_core_messages

_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\{}[]\n,: é\u2028😀'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet='k"\\{', max_size=3), inner, max_size=3)
    ),
)


def _is_executable(arguments: str) -> bool:
    """What LangChain does to the arguments of a joined call."""
    try:
        return isinstance(parse_partial_json(arguments) if arguments else {}, dict)
    except ValueError:
        return False


@given(
    value=st.dictionaries(st.text(max_size=3), _JSON, max_size=4),
    cut=st.integers(min_value=0),
    escaped=st.booleans(),
)
def test_no_prefix_of_an_object_is_repaired(value: dict[str, Any], cut: int, escaped: bool) -> None:
    """Whatever place a call's arguments broke off at, LangChain's JSON repair refuses them with the fragment."""
    text = json.dumps(value, ensure_ascii=escaped)
    text = text[: cut % (len(text) + 1)]
    assert not _is_executable(text + refusing_fragment(text))


@given(text=st.text(alphabet='{}[]"\\:,a1 \n', max_size=40))
def test_no_rubbish_is_repaired(text: str) -> None:
    """The fragment also works behind text that never was JSON, and comes off again without a trace."""
    assert not _is_executable(text + refusing_fragment(text))
    assert original_arguments(text + refusing_fragment(text)) == text


def _rendered(renderer: Any, events: Sequence[Event]) -> list[Any]:
    items = [item for event in events for item in renderer.add(event)]
    return [*items, *renderer.finish(accumulate(events))]


def _sum(events: Sequence[Event]) -> AIMessageChunk:
    total, *others = [chunk.message for chunk in _rendered(Chunks("m"), events)]
    for message in others:
        total = total + message
    assert isinstance(total, AIMessageChunk)
    return total


_CUT = (
    ThinkingDelta("hm"),
    TextDelta("I will look."),
    ToolCallDelta(0, "functions.read:0", "read", '{"path": "/etc/hosts"}'),
    ToolCallDelta(1, "functions.delete:1", "delete", '{"path": "/var'),
    Finish("length", invalid_calls={1: "cut off by max_tokens"}),
)


def test_sum_of_a_cut_stream() -> None:
    """In the sum of the chunks the whole call is executable and the cut one is not."""
    total = _sum(_CUT)
    assert [call["name"] for call in total.tool_calls] == ["read"]
    assert [call["name"] for call in total.invalid_tool_calls] == ["delete"]


def test_without_the_fragment_langchain_completes_the_call() -> None:
    """The fragment is needed: LangChain alone makes half the path an executable argument."""
    total = _sum([event for event in _CUT if not isinstance(event, Finish)])
    assert [call["args"] for call in total.tool_calls] == [{"path": "/etc/hosts"}, {"path": "/var"}]


@pytest.mark.parametrize("arguments", ["", '{"path": "/"}', "[1]", '"text"', '{"a": {"b": [1, "x\\'])
def test_any_flagged_call_is_refused(arguments: str) -> None:
    """What the core calls invalid stays invalid, even if its arguments are empty or complete."""
    total = _sum(
        [
            ToolCallDelta(0, "functions.f:0", "f", arguments),
            Finish("tool_calls", invalid_calls={0: "no"}),
        ]
    )
    assert not total.tool_calls
    assert total.content_blocks == [
        {"type": "invalid_tool_call", "id": "functions.f:0", "name": "f", "args": arguments, "error": "no"}
    ]


def test_native_events_carry_the_exact_text_and_the_reason() -> None:
    """The v3 stream finishes a cut call as `invalid_tool_call` with its own arguments and the reason."""
    events = _rendered(ProtocolEvents("m"), _CUT)
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert finished[-1] == {
        "type": "invalid_tool_call",
        "id": "functions.delete:1",
        "name": "delete",
        "args": '{"path": "/var',
        "error": "cut off by max_tokens",
    }


def test_the_history_gets_the_original_arguments() -> None:
    """The marker of a joined stream is not sent back to the model."""
    total = _sum(_CUT)
    (message,) = to_core_messages(
        [AIMessage(**total.model_dump(exclude={"type", "tool_call_chunks", "chunk_position"}))]
    )
    assert [call.arguments for call in message.tool_calls] == ['{"path": "/etc/hosts"}', '{"path": "/var']
