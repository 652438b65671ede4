"""Values of the wrong type anywhere in an answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from kimi_vertex._answer.decoder import Decoder
from kimi_vertex.completion import Completion, accumulate

from .support_decoder import call, chunk, run_chunks


def read(*chunks: Mapping[str, Any]) -> Completion:
    return accumulate(run_chunks(Decoder(), chunks))


@pytest.mark.parametrize("value", [3, True, {"a": 1}, [3, None, {"text": 5}], [[]], 0.5])
@pytest.mark.parametrize(
    "key", ["content", "reasoning_content", "reasoning", "reasoning_details", "tool_calls", "refusal"]
)
def test_odd_values_in_a_delta(key: str, value: Any) -> None:
    """A field of the wrong type holds nothing, and does no harm."""
    assert read(chunk({key: value}), chunk({"content": "Hi"}), chunk({}, "stop")) == read(
        chunk({"content": "Hi"}), chunk({}, "stop")
    )
    reader = Decoder()
    reader.feed_body({"choices": [{"message": {"content": "Hi", key: value}, "finish_reason": "stop"}]})
    reader.finish()
    assert reader.completion.text == ("" if key == "content" else "Hi")
    assert reader.completion.tool_calls == ()


@pytest.mark.parametrize("index", ["0", 0.0, [0], {}, True, None, "x", -1, 10**30])
@pytest.mark.parametrize("id_", [None, "", 5, [1], {}])
def test_odd_indices_and_ids(index: Any, id_: Any) -> None:
    """A call is put together whatever stands in its index and id."""
    fragments = [call(index, id_, "clock", '{"a"'), call(index, id_, None, ": 1}")]
    completion = read(*(chunk({"tool_calls": [f]}) for f in fragments), chunk({}, "tool_calls"))
    assert [(c.name, c.arguments) for c in completion.tool_calls] == [("clock", '{"a": 1}')]


@pytest.mark.parametrize(
    "function", [None, 3, "clock", [], {"name": None}, {"name": 5, "arguments": 5}, {"name": ""}]
)
def test_odd_functions(function: Any) -> None:
    """A fragment without a name is not an executable call."""
    completion = read(
        chunk({"tool_calls": [{"index": 0, "function": function}]}), chunk({"content": "Hi"}, "stop")
    )
    assert completion.tool_calls == ()


@pytest.mark.parametrize(
    "calls", [call(0, "x", "clock", "{}"), [None, 3, call(0, "x", "clock", "{}"), "y", []]]
)
def test_odd_lists_of_calls(calls: Any) -> None:
    """One call without a list around it is read, and so is one among rubbish."""
    completion = read(chunk({"tool_calls": calls}), chunk({}, "tool_calls"))
    assert [c.id for c in completion.tool_calls] == ["x"]


def test_deep_nesting() -> None:
    """Arguments nested deeper than Python can read are reported, not raised."""
    depth = 100_000  # Python 3.13 reads 5,000
    deep = '{"a": ' * depth + "1" + "}" * depth
    completion = read(chunk({"tool_calls": [call(0, "x", "clock", deep)]}), chunk({}, "tool_calls"))
    assert [c.arguments for c in completion.invalid_tool_calls] == [deep]


def test_decoder_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """The decoder logs nothing: the answer is the user's."""
    with caplog.at_level(logging.DEBUG):
        read(chunk({"content": "secret"}, "stop"))
    assert caplog.records == []
