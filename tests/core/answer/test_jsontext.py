"""A JSON object is found in an answer's text, however the model wrapped it; half an object does not count."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_vertex import find_json_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9999, 9999) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=4)
FENCE = "```"


@pytest.mark.parametrize(
    "wrapped",
    [
        "{}",
        "  {}\n",
        "The object is {} as you wished.",
        "```json\n{}\n```",
        "```JSON {} ```",
        "Here it is:\n\n```\n{}\n```\nAnything else?",
        "```json\n{}",
    ],
)
@given(value=OBJECTS)
def test_wrappings(wrapped: str, value: dict[str, Any]) -> None:
    """The object is read alone, among words, and in a fence, closed or not."""
    assert find_json_object(wrapped.replace("{}", json.dumps(value))) == value


@pytest.mark.parametrize("pretext", ["", "```json\n", "Here: "])
@given(value=OBJECTS.filter(bool), data=st.data())
def test_cut_off_objects(pretext: str, value: dict[str, Any], data: st.DataObject) -> None:
    """An object that is cut off anywhere gives nothing, not even the objects inside it."""
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cut = data.draw(st.integers(0, len(text) - 1))
    assert find_json_object(pretext + text[:cut]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("No object.", None),
        ("[1, 2]", None),
        ('[{"a": 1}, {"a": 2}]', None),
        ('"{}"', {}),
        ('See [1]: {"a": 1}', {"a": 1}),
        ('{"a": {"b": 2}}', {"a": {"b": 2}}),
        ("Use {braces} like {'this'}: {\"a\": 1}", {"a": 1}),
        ('First {"a": 1}, then {"a": 2}.', {"a": 1}),
        (f'{FENCE}{{"a": 1}}{FENCE} no, {FENCE}{{"a": 2}}{FENCE}', {"a": 2}),
        (f'In words {{"a": 1}}, in a fence {FENCE}json\n{{"a": 2}}\n{FENCE}.', {"a": 2}),
        (f'{{"code": "{FENCE}js\\n{{}}\\n{FENCE}"}}', {"code": f"{FENCE}js\n{{}}\n{FENCE}"}),
        ('{"text": "two\nlines"}', {"text": "two\nlines"}),
        ('{"a": NaN}', None),
        ('{"a": {"b": 1}, wrong}', None),
        ('{"a": {"b": 1}, wrong} again: {"c": 2}', {"c": 2}),
        ('{"items": [{"name": "x"}, {"na', None),
        ('{"a": ' + "9" * 5000 + "}", None),
        ('{"a":' * 100_000, None),
    ],
)
def test_choices(text: str, expected: dict[str, Any] | None) -> None:
    """Which object counts where there are several, and what does not count."""
    assert find_json_object(text) == expected


def test_cost_is_linear() -> None:
    """A long answer that was cut off is read once, not once for each brace in it."""

    def seconds(items: int) -> float:
        text = '{"items": [' + '{"name": "x", "tags": {"a": 1}}, ' * items
        began = process_time()
        assert find_json_object(text) is None
        return process_time() - began

    assert any(seconds(20_000) < 30 * seconds(2_000) for _ in range(5))
