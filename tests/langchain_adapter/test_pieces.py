"""A streamed chunk that was filled from a template is the chunk that LangChain's constructors make."""

from __future__ import annotations

import copy
import gc
import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessageChunk, ChatMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel, Field

from kimi_vertex import TextDelta, ThinkingDelta, ToolCallDelta
from langchain_kimi_vertex._chunks import ChunkBuilder
from langchain_kimi_vertex._fast import Template
from langchain_kimi_vertex._handed_out import let_go
from langchain_kimi_vertex._joining import JoiningChunk

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


_AFTER = pytest.mark.parametrize("handed_out", [False, True])
"""Before and after the chunk has let go of its message."""


def _filled(delta: Delta, *, handed_out: bool = False) -> JoiningChunk:
    chunk = ChunkBuilder("m").add(delta)
    assert chunk is not None
    if handed_out:
        let_go(chunk)
    return chunk


def _is_held(message: object, chunk: ChatGenerationChunk) -> bool:
    return any(held is message for held in gc.get_referents(vars(BaseModel)["__dict__"].__get__(chunk)))


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
    return JoiningChunk(message=message)


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
@_AFTER
def test_every_slot_is_equal(handed_out: bool, delta: Delta) -> None:
    """Class, values, their types and order, the set fields, extra and private values: for the chunk and its message."""
    filled, ordinary = _filled(delta, handed_out=handed_out), _ordinary(delta)
    assert handed_out or filled == ordinary
    assert isinstance(filled, type(ordinary))
    assert vars(filled) == vars(ordinary)
    assert _slots(filled)[handed_out:] == _slots(ordinary)[handed_out:]
    assert _slots(filled.message) == _slots(ordinary.message)
    assert json.dumps(filled.model_dump()) == json.dumps(ordinary.model_dump())
    assert json.dumps(filled.message.model_dump()) == json.dumps(ordinary.message.model_dump())


@given(_DELTAS)
@_AFTER
def test_every_view_is_equal(handed_out: bool, delta: Delta) -> None:
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
        assert view(_filled(delta, handed_out=handed_out)) == view(_ordinary(delta))


@given(_DELTAS)
@_AFTER
def test_copies_are_equal(handed_out: bool, delta: Delta) -> None:
    """The chunk can be pickled and copied like any other."""
    ordinary = _ordinary(delta)
    copies = [
        pickle.loads(pickle.dumps(_filled(delta, handed_out=handed_out))),
        copy.copy(_filled(delta, handed_out=handed_out)),
        copy.deepcopy(_filled(delta, handed_out=handed_out)),
        _filled(delta, handed_out=handed_out).model_copy(),
    ]
    for copied in copies:
        assert handed_out or copied == ordinary
        assert _slots(copied)[handed_out:] == _slots(ordinary)[handed_out:]
        assert vars(copied) == vars(ordinary)
    renamed = _filled(delta, handed_out=handed_out).model_copy(update={"text": "x", "arguments": 1})
    expected = ordinary.model_copy(update={"text": "x", "arguments": 1})
    assert handed_out or renamed == expected
    assert vars(renamed) == vars(expected)


@given(_DELTAS)
def test_what_is_set_later_is_set(delta: Delta) -> None:
    """A chunk that has let go of its message takes new values like any other, and can be rid of them."""
    for name, value in (
        ("generation_info", {"a": 1}),
        ("text", "x"),
        ("message", AIMessageChunk(content="x")),
        ("_tag", 1),
    ):
        late, ordinary = _filled(delta, handed_out=True), _ordinary(delta)
        for chunk in (late, ordinary):
            setattr(chunk, name, value)
        assert _slots(late)[1:] == _slots(ordinary)[1:]
        assert vars(late) == vars(ordinary)
        delattr(late, name)
        assert name not in vars(late)


@pytest.mark.parametrize("name", ["content", "id", "index", "thinking", "arguments", "missing"])
def test_no_attribute_comes_with_letting_go(name: str) -> None:
    """What a chunk keeps in place of its message is nothing that others see, first or later."""
    for delta in (ThinkingDelta("a"), TextDelta("a"), ToolCallDelta(0, None, None, "{")):
        chunk = _filled(delta, handed_out=True)
        assert not hasattr(chunk, name)
        assert chunk.message is not None
        assert not hasattr(chunk, name)


@pytest.mark.parametrize(
    "delta",
    [ThinkingDelta("a"), ThinkingDelta(""), TextDelta("a"), TextDelta(""), ToolCallDelta(0, None, None, "{")],
)
def test_a_message_that_was_handed_out_is_let_go(delta: Delta) -> None:
    """LangChain holds the chunk until the stream ends; the message is gone when its consumer is done with it."""
    chunk = _filled(delta)
    chunk.message.id = "lc_run--1"
    chunk.message.response_metadata = {"model_provider": "kimi_vertex"}
    message = chunk.message
    assert _is_held(message, chunk)
    let_go(chunk)
    assert not _is_held(message, chunk)
    remade = chunk.message
    assert remade is not message
    assert remade == message
    assert _slots(remade) == _slots(message)
    assert chunk.message is remade


_DONE_TO_MESSAGES: dict[str, Any] = {
    "content": ["a"],
    "name": "somebody",
    "foreign": 1,
    "_tag": 1,
    "type": "ai",
    "usage_metadata": UsageMetadata(input_tokens=1, output_tokens=1, total_tokens=2),
    "additional_kwargs": {"reasoning_content": "a", "mine": 1},
    "response_metadata": {},
    "chunk_position": "last",
    "tool_calls": [tool_call(name="f", args={}, id="i")],
    "invalid_tool_calls": [invalid_tool_call(name="f", args="", id="i", error="no")],
    "tool_call_chunks": [tool_call_chunk(args="1", index=0), tool_call_chunk(args="2", index=0)],
}
_DONE_TO_CHUNKS: dict[str, Any] = {
    "generation_info": {},
    "text": "other",
    "_tag": 1,
    "message": ChatMessageChunk(role="x", content="a"),
}
_CHANGES = [
    *[(True, name, value) for name, value in _DONE_TO_MESSAGES.items()],
    *[(False, name, value) for name, value in _DONE_TO_CHUNKS.items()],
]


@pytest.mark.parametrize("delta", [ThinkingDelta("a"), TextDelta("a"), ToolCallDelta(0, None, None, "{")])
@pytest.mark.parametrize(("to_message", "name", "value"), _CHANGES)
def test_a_message_that_somebody_changed_is_kept(
    to_message: bool, name: str, value: Any, delta: Delta
) -> None:
    """What a handler or a consumer has put in cannot be made again."""
    chunk = _filled(delta)
    setattr(chunk.message if to_message else chunk, name, value)
    message = chunk.message
    let_go(chunk)
    assert chunk.message is message
    assert type(chunk) is JoiningChunk


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
    """Fields that a newer framework adds are filled as its constructor does, with new values for each."""
    numbers = iter(range(100))

    class Newer(BaseModel):
        text: str
        kind: str = "new"
        number: int = Field(default_factory=lambda: next(numbers))
        nested: dict[str, list[int]] = Field(default={"a": [1]})

    template = Template(Newer(text=""), "text")
    first, second = template.fill({"text": "a"}), template.fill({"text": "b"})
    assert first == Newer(text="a", number=1)
    assert second == Newer(text="b", number=2)
    first.nested["a"].append(2)
    assert second.nested == {"a": [1]}
