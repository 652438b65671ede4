"""A streamed chunk that was filled without validation is the chunk that LangChain's constructors make."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from pydantic import BaseModel, Field

from kimi_vertex import TextDelta, ThinkingDelta, ToolCallDelta
from langchain_kimi_vertex._chunks import Chunks, _Template

Delta = ThinkingDelta | TextDelta | ToolCallDelta

_TEXTS = st.text(max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _fragments(draw: st.DrawFn) -> str:
    """A piece cut out of JSON, or anything else that a model may write."""
    text = draw(st.sampled_from(["", " ", "\n\t", "\u00a0", "\ufeff"])) + json.dumps(
        draw(_JSON), ensure_ascii=draw(st.booleans())
    )
    start = draw(st.integers(0, len(text)))
    piece = text[start : draw(st.integers(start, len(text)))]
    return draw(st.sampled_from([piece, text, draw(st.text(alphabet='{}[]":,\\ \n1aé', max_size=12))]))


_CALLS = st.builds(
    ToolCallDelta,
    index=st.just(0),
    id=st.none() | _TEXTS,
    name=st.none() | _TEXTS,
    arguments=_fragments(),
)
_DELTAS = st.builds(ThinkingDelta, _TEXTS) | st.builds(TextDelta, _TEXTS) | _CALLS


def _filled(delta: Delta) -> ChatGenerationChunk:
    [chunk] = Chunks("m").add(delta)
    return chunk


def _ordinary(delta: Delta) -> ChatGenerationChunk:
    provider = {"model_provider": "kimi_vertex"}
    if isinstance(delta, TextDelta):
        message = AIMessageChunk(content=delta.text, response_metadata=provider)
    elif isinstance(delta, ThinkingDelta):
        extra = {"reasoning_content": delta.text}
        message = AIMessageChunk(content="", additional_kwargs=extra, response_metadata=provider)
    else:
        piece = tool_call_chunk(name=delta.name, args=delta.arguments, id=delta.id, index=delta.index)
        message = AIMessageChunk(content="", tool_call_chunks=[piece], response_metadata=provider)
    return ChatGenerationChunk(message=message)


def _slots(model: BaseModel) -> tuple[Any, ...]:
    return (
        type(model),
        [(name, type(value)) for name, value in vars(model).items()],
        model.model_fields_set,
        model.__pydantic_extra__,
        model.__pydantic_private__,
    )


@given(_DELTAS)
@example(ToolCallDelta(0, None, None, '{"a": [1, {"b": "c'))
@example(ToolCallDelta(0, None, None, ' \n{"a": 1}'))
@example(ToolCallDelta(0, "i", "f", ""))
@example(ToolCallDelta(0, None, None, "{" * 30))
def test_every_slot_is_equal(delta: Delta) -> None:
    """Class, values, their types and order, the set fields, extra and private values: for the chunk and its message."""
    filled, ordinary = _filled(delta), _ordinary(delta)
    assert filled == ordinary
    assert vars(filled) == vars(ordinary)
    assert _slots(filled) == _slots(ordinary)
    assert _slots(filled.message) == _slots(ordinary.message)
    assert json.dumps(filled.model_dump()) == json.dumps(ordinary.model_dump())
    assert json.dumps(filled.message.model_dump()) == json.dumps(ordinary.message.model_dump())


@given(_DELTAS)
def test_every_view_is_equal(delta: Delta) -> None:
    """What users and tracers see of the chunk: blocks, attributes, text, `repr`, dumps."""
    for view in (
        repr,
        dumpd,
        dumps,
        lambda chunk: chunk.text,
        lambda chunk: chunk.generation_info,
        lambda chunk: chunk.model_fields_set,
        lambda chunk: chunk.model_dump(),
        lambda chunk: chunk.message.text,
        lambda chunk: chunk.message.content_blocks,
        lambda chunk: chunk.message.lc_attributes,
        lambda chunk: chunk.model_dump_json(exclude_unset=True),
        lambda chunk: chunk.message.model_dump_json(exclude_defaults=True),
    ):
        assert view(_filled(delta)) == view(_ordinary(delta))


@given(_DELTAS)
def test_copies_are_equal(delta: Delta) -> None:
    """The chunk can be pickled and copied like any other."""
    ordinary = _ordinary(delta)
    copies = [
        pickle.loads(pickle.dumps(_filled(delta))),
        copy.copy(_filled(delta)),
        copy.deepcopy(_filled(delta)),
        _filled(delta).model_copy(),
    ]
    for copied in copies:
        assert copied == ordinary
        assert _slots(copied) == _slots(ordinary)
        assert vars(copied) == vars(ordinary)
    renamed = _filled(delta).model_copy(update={"text": "x", "arguments": 1})
    expected = ordinary.model_copy(update={"text": "x", "arguments": 1})
    assert renamed == expected
    assert vars(renamed) == vars(expected)


@given(_DELTAS)
def test_what_is_set_later_is_set(delta: Delta) -> None:
    """A chunk takes new values like any other, and can be rid of them."""
    for name, value in (
        ("generation_info", {"a": 1}),
        ("text", "x"),
        ("message", AIMessageChunk(content="x")),
        ("_tag", 1),
    ):
        filled, ordinary = _filled(delta), _ordinary(delta)
        for chunk in (filled, ordinary):
            setattr(chunk, name, value)
        assert _slots(filled) == _slots(ordinary)
        assert vars(filled) == vars(ordinary)
        delattr(filled, name)
        assert name not in vars(filled)


@given(st.lists(_DELTAS, min_size=1, max_size=12))
def test_sums_are_equal(deltas: list[Delta]) -> None:
    """LangChain adds filled chunks up to what it makes of ordinary ones, in one go and one by one."""
    ways: list[Callable[[list[ChatGenerationChunk]], Any]] = [
        merge_chat_generation_chunks,
        lambda chunks: reduce(operator.add, chunks),
    ]
    for add in ways:
        filled = add([_filled(delta) for delta in deltas])
        ordinary = add([_ordinary(delta) for delta in deltas])
        assert filled == ordinary
        assert json.dumps(filled.model_dump()) == json.dumps(ordinary.model_dump())
        assert _slots(filled.message) == _slots(ordinary.message)


def test_adding_changes_no_chunk() -> None:
    """The chunks that a consumer still holds stay as they were."""
    deltas: list[Delta] = [
        ThinkingDelta("a"),
        ToolCallDelta(0, "i", "f", "{"),
        ToolCallDelta(0, None, None, "}"),
        ThinkingDelta("b"),
    ]
    chunks = [_filled(delta) for delta in deltas]
    before = [chunk.model_dump() for chunk in chunks]
    merge_chat_generation_chunks(chunks)
    assert [chunk.model_dump() for chunk in chunks] == before


@pytest.mark.parametrize("delta", [ThinkingDelta("a"), TextDelta("a"), ToolCallDelta(0, "i", "f", "{")])
def test_nothing_is_shared(delta: Delta) -> None:
    """What is done to one chunk is not seen in the next one."""
    first, second, untouched = (_filled(delta) for _ in range(3))
    message = first.message
    assert isinstance(message, AIMessageChunk)
    message.id = "x"
    message.name = "y"
    setattr(message, "foreign", 1)  # noqa: B010  # LangChain's messages take any attribute
    for value in vars(message).values():
        if isinstance(value, dict):
            value["new"] = 1
        elif isinstance(value, list):
            value.append({})
    assert _slots(second.message) == _slots(untouched.message)
    assert second == untouched


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_serialised_as_langchains_own() -> None:
    """A dump is loaded wherever LangChain is, as an ordinary chunk."""
    filled = _filled(TextDelta("Blue."))
    loaded = load(dumpd(filled), allowed_objects=[ChatGenerationChunk, AIMessageChunk])
    assert type(loaded) is ChatGenerationChunk
    assert loaded.message == filled.message


def test_a_new_field_appears_with_its_default() -> None:
    """Fields that a newer framework adds are filled with their defaults, a container of its own for each model."""

    class Newer(BaseModel):
        text: str
        kind: str = "new"
        tags: list[str] = Field(default=["a"])

    template = _Template(Newer(text=""), "text")
    first, second = template.fill(text="a"), template.fill(text="b")
    assert first == Newer(text="a")
    assert second == Newer(text="b")
    first.tags.append("x")
    assert second.tags == ["a"]
