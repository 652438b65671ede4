"""Objects are read from JSON that is still arriving."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_kimi_vertex._responses import PartialObject, read_partial

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9999, 9999) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=4)


@given(OBJECTS, st.data())
def test_no_prefix_raises(value: dict[str, Any], data: st.DataObject) -> None:
    """Any beginning of an object reads as an object whose keys are among the whole one's."""
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cut = data.draw(st.integers(0, len(text)))
    assert read_partial(text[:cut]).keys() <= value.keys()


@given(OBJECTS)
def test_whole_object(value: dict[str, Any]) -> None:
    """The whole text reads as the whole object."""
    assert read_partial(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "Al', {"name": "Al"}),
        ('{"name": "Al", "a', {"name": "Al"}),
        ('{"name": "Al", "age":', {"name": "Al"}),
        ('{"list": [1, {"x": "y', {"list": [1, {"x": "y"}]}),
        ('{"name": "say \\', {"name": "say "}),
        ('{"name": "\\u00e', {"name": ""}),
        ('{"ok": tru', {}),
        ('```json\n{"a": 1', {"a": 1}),
        ("", {}),
        ("[1, 2", {}),
        ('{"a": 1}} and more', {"a": 1}),
        ('{"a": ]', {}),
        ('{"a": "\\ud800"}', {"a": "\ud800"}),
        ('{"a": "\ud800"}', {"a": "\ud800"}),
    ],
)
def test_prefixes(text: str, expected: dict[str, Any]) -> None:
    """Strings are shown while they arrive, keys and words only when they are whole."""
    assert read_partial(text) == expected


def test_long_arguments_cost_linear_reading() -> None:
    """A text that arrives in small pieces is not read again for each of them."""
    read: list[int] = []
    whole = json.dumps({"text": "x" * 60_000})
    partial = PartialObject()
    for end in range(4, len(whole), 4):
        before = partial.value
        if partial.update(whole[:end]) is not before:
            read.append(end)
    assert sum(read) < 60 * len(whole)
    assert len(str(partial.value["text"])) > 0.9 * len(whole)
