"""Damaged streams, at random and by property; `fuzz_decoder.py` makes longer runs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_vertex import Completion
from kimi_vertex._answer.arguments import ArgumentStream
from kimi_vertex._answer.decoder import StreamErrorEvent, UnreadableData
from kimi_vertex._answer.markers import K2, Scanner, Token
from kimi_vertex._json import normalize_arguments
from kimi_vertex._surrogates import join_surrogates

from .fuzz_decoder import one_run
from .support_decoder import Row, decoder, run_stream

bounded = settings(derandomize=True, max_examples=50, deadline=None)

PIECES = st.sampled_from(
    [*K2.meaning, "`", "```", "\n", " ", "a", "<", "<|", "|>", "◁", "{", "}", "functions.bash:1", "世"]
)
CUT_TEXT = st.lists(st.lists(PIECES | st.text(max_size=3), max_size=4).map("".join), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["content", "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "refusal", "role"]
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "choices": JSON
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": JSON,
                    "delta": JSON | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
                    "message": JSON,
                    "finish_reason": JSON | st.sampled_from(["stop", "length", "tool_calls"]),
                    "usage": JSON,
                    "logprobs": JSON,
                    "error": st.none() | JSON,
                },
            ),
            max_size=2,
        ),
        "usage": JSON
        | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), JSON, max_size=2),
        "id": JSON,
        "model": JSON,
        "metadata": JSON,
        "x_groq": JSON,
        "error": st.none() | JSON,
    },
)


@pytest.mark.parametrize("batch", range(4))
def test_damaged_streams(batch: int) -> None:
    """Whatever is done to a stream, what is made of it keeps the promises of `fuzz_decoder`."""
    for seed in range(10_000_000 + batch * 300, 10_000_000 + (batch + 1) * 300):
        one_run(seed)


@bounded
@given(CUT_TEXT)
def test_nothing_is_lost_in_the_scanner(parts: list[str]) -> None:
    """What the scanner gives out, joined, is what it was given, apart from beginnings of cut tokens."""
    scanner = Scanner(K2)
    items = [item for part in parts for item in scanner.feed(part)] + list(scanner.feed("", last=True))
    assert "".join(item.text if isinstance(item, Token) else item for item in items) == "".join(parts)


@bounded
@given(CUT_TEXT)
def test_cuts_do_not_matter(parts: list[str]) -> None:
    """Any text is read the same, however it is cut."""
    whole = Row("whole", [{"content": "".join(parts), "reasoning": ""}, {"reasoning": "".join(parts)}])
    cut = [*({"content": part} for part in parts), *({"reasoning": part} for part in parts)]
    assert run_stream(whole, [{"reasoning": ""}, *cut]) == run_stream(whole)


@settings(bounded, max_examples=25)
@given(st.lists(CHUNKS, max_size=4))
def test_any_types(chunks: list[object]) -> None:
    """Values of any type anywhere in a chunk raise nothing but the decoder's own exceptions."""
    reader = decoder(Row("any", []))
    try:
        for data in chunks:
            reader.feed(json.dumps(data))
    except (StreamErrorEvent, UnreadableData):
        reader.flush()
    else:
        reader.finish()


@bounded
@given(JSON)
def test_any_body(body: object) -> None:
    """A body of any shape raises nothing but the decoder's own exceptions."""
    reader = decoder(Row("any", []))
    try:
        reader.feed_body(body, json.dumps(body).encode())
        reader.finish()
    except (StreamErrorEvent, UnreadableData):
        assert reader.completion == Completion()


@bounded
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.data())
def test_objects_pass_as_they_are(value: dict[str, object], data: st.DataObject) -> None:
    """A valid object's text comes out unchanged, however it is cut."""
    text = json.dumps(
        value, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))
    )
    text = join_surrogates("", text)[0]
    at = data.draw(st.integers(0, len(text)))
    stream = ArgumentStream()
    passed = stream.feed(text[:at]) + stream.feed(text[at:])
    owed, error = stream.finish()
    assert (owed, error) == ("" if value else text, None)
    assert passed + owed == text == normalize_arguments(text)


@bounded
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), JSON, max_size=3))
def test_second_encodings_are_undone(value: dict[str, object]) -> None:
    """An object that was encoded twice, or fenced, is the object."""
    text = json.dumps(value)
    for odd in (json.dumps(text), f"```json\n{text}\n```", f" {text}\n"):
        normal = normalize_arguments(odd)
        assert normal is not None
        assert json.loads(normal) == value
