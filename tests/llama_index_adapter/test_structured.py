"""Structured output in every path: tool, JSON schema, text, fence, refusal, streams."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import json
from itertools import pairwise
from typing import Any, Generic, Literal, TypeVar
from typing import TypedDict as TypingTypedDict

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.program import FunctionCallingProgram, LLMTextCompletionProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter
from typing_extensions import TypedDict

from kimi_vertex import InvalidRequestError
from kimi_vertex_emulator import Call, Emulator, Rules, Turn
from llama_index_kimi_vertex import KimiVertex, ThinkingDeltaEvent

from .conftest import MakeLLM, Recorder, collect

T = TypeVar("T")


class Album(BaseModel):
    """A record."""

    title: str
    year: int
    songs: list[str]


BLUE: dict[str, Any] = {"title": "Blue", "year": 1971, "songs": ["All I Want", "Carey"]}
PROMPT = PromptTemplate("Describe {what}.")
CALL = Turn(thinking="A call.", tool_calls=[Call("Album", BLUE)])
TEXT = Turn(thinking="As text.", text=json.dumps(BLUE))
FENCE = Turn(
    thinking="In a fence.", text="Here it is:\n```json\n" + json.dumps(BLUE, indent=1) + "\n```\nEnjoy."
)
ANSWERS = pytest.mark.parametrize("answer", [CALL, TEXT, FENCE], ids=["call", "text", "fence"])


@pytest.fixture(params=["sync", "async", "sync stream", "async stream"])
def predict(request: pytest.FixtureRequest) -> Any:
    """The objects of one of the four structured methods; the last one is the result."""

    def run(llm: KimiVertex, cls: type[BaseModel] = Album, **kwargs: Any) -> list[Any]:
        arguments = {"what": "Blue", **kwargs}
        if request.param == "sync":
            return [llm.structured_predict(cls, PROMPT, **arguments)]
        if request.param == "async":
            return [asyncio.run(llm.astructured_predict(cls, PROMPT, **arguments))]
        if request.param == "sync stream":
            return list(llm.stream_structured_predict(cls, PROMPT, **arguments))
        return asyncio.run(collect(llm.astream_structured_predict(cls, PROMPT, **arguments)))

    run.__name__ = request.param
    return run


@ANSWERS
def test_object(emulator: Emulator, llm: KimiVertex, predict: Any, answer: Turn) -> None:
    """The object is read from a call, from plain JSON and from a fence, in all four methods."""
    emulator.enqueue(answer)
    assert predict(llm)[-1] == Album(**BLUE)
    body = emulator.requests[-1].json
    assert [tool["function"]["name"] for tool in body["tools"]] == ["Album"]
    assert body["tools"][0]["function"]["description"] == "A record."


@ANSWERS
@pytest.mark.parametrize("mode", ["tool", "json_schema"])
def test_streams_show_partial_objects(emulator: Emulator, make_llm: MakeLLM, answer: Turn, mode: str) -> None:
    """A streamed object grows: titles before songs, and no step without news."""
    emulator.enqueue(answer)
    objects: list[Any] = list(
        make_llm(structured_output=mode).stream_structured_predict(Album, PROMPT, what="Blue")
    )
    assert len(objects) > 2
    assert objects[0] != objects[-1]
    assert objects[-1] == Album(**BLUE)
    assert all(first != second for first, second in pairwise(objects))


@pytest.mark.parametrize("answer", [TEXT, FENCE], ids=["text", "fence"])
def test_json_schema_mode(emulator: Emulator, make_llm: MakeLLM, predict: Any, answer: Turn) -> None:
    """`structured_output="json_schema"` sends the schema as `response_format` and no tool."""
    emulator.enqueue(answer)
    assert predict(make_llm(structured_output="json_schema"))[-1] == Album(**BLUE)
    body = emulator.requests[-1].json
    assert body["response_format"]["json_schema"]["name"] == "Album"
    assert "title" in body["response_format"]["json_schema"]["schema"]["properties"]
    assert "tools" not in body


def test_system_prompt_is_honored(make_llm: MakeLLM, emulator: Emulator, predict: Any) -> None:
    """`system_prompt` comes first in all four methods, once."""
    emulator.enqueue(CALL)
    predict(make_llm(system_prompt="Be exact."))
    messages = emulator.requests[-1].json["messages"]
    assert [message["content"] for message in messages if message["role"] == "system"] == ["Be exact."]
    assert messages[0]["role"] == "system"


def test_refused_forced_choice(make_llm: MakeLLM, predict: Any) -> None:
    """Where a forced tool is refused while the model thinks, the object comes all the same."""
    with Emulator(strict=True, rules=Rules(refuse_forced_tool_choice=True)) as strict:
        strict.enqueue(CALL)
        assert predict(make_llm(base_url=strict.base_url))[-1] == Album(**BLUE)
        assert [request.json["tool_choice"] for request in strict.requests] == ["required", "auto"]


def test_thinking_is_delivered(
    emulator: Emulator, make_llm: MakeLLM, predict: Any, recorder: Recorder
) -> None:
    """Structured calls show their thinking to `on_thinking` and on the dispatcher."""
    heard: list[str] = []
    emulator.enqueue(CALL)
    predict(make_llm(on_thinking=heard.append))
    assert "".join(heard) == "A call."
    assert "".join(event.delta for event in recorder.of(ThinkingDeltaEvent)) == "A call."


def test_events(emulator: Emulator, llm: KimiVertex, predict: Any, recorder: Recorder) -> None:
    """One start and one end of a structured prediction, around one chat."""
    emulator.enqueue(CALL)
    predict(llm)
    kinds = (LLMStructuredPredictStartEvent, LLMChatEndEvent, LLMStructuredPredictEndEvent)
    assert [recorder.count(kind) for kind in kinds] == [1, 1, 1]
    assert recorder.of(LLMStructuredPredictEndEvent)[0].output == Album(**BLUE)


def test_no_object(emulator: Emulator, llm: KimiVertex, predict: Any) -> None:
    """Without an object the error says what came instead."""
    emulator.enqueue(Turn(thinking="t", text="No."))
    with pytest.raises(ValueError, match=r"no Album object\. .*'No\.'"):
        predict(llm)
    assert len(emulator.requests) == 1


def test_cut_off_object(emulator: Emulator, llm: KimiVertex, predict: Any) -> None:
    """An answer cut by the token limit raises and names the remedy."""
    emulator.enqueue(Turn(thinking="t", tool_calls=[Call("Album", '{"title": "Bl')], finish_reason="length"))
    with pytest.raises(ValueError, match="max_tokens"):
        predict(llm)
    assert len(emulator.requests) == 1


def test_text_beside_an_unusable_call(emulator: Emulator, llm: KimiVertex, predict: Any) -> None:
    """Where the model's call cannot be read, JSON in its text is not taken for the object."""
    example = Turn(text="For example " + json.dumps(BLUE), tool_calls=[Call("Album", "{title}")])
    emulator.enqueue(example, example)
    with pytest.raises(ValueError, match=r"no Album object\. Its call cannot be used: .*not valid JSON"):
        predict(llm)


@ANSWERS
def test_structured_llm(emulator: Emulator, llm: KimiVertex, answer: Turn) -> None:
    """`as_structured_llm` gives objects in chat, stream and their async forms."""
    structured = llm.as_structured_llm(Album)
    emulator.enqueue(answer, answer, answer, answer)
    messages = [ChatMessage("Describe Blue with {braces}.")]
    results = [
        structured.chat(messages).raw,
        list(structured.stream_chat(messages))[-1].raw,
        asyncio.run(structured.achat(messages)).raw,
        asyncio.run(collect(structured.astream_chat(messages)))[-1].raw,
    ]
    assert results == [Album(**BLUE)] * 4
    assert emulator.requests[0].json["messages"][0]["content"] == "Describe Blue with {braces}."


@ANSWERS
@pytest.mark.parametrize("asynchronous", [False, True])
def test_function_calling_program(
    emulator: Emulator, llm: KimiVertex, answer: Turn, asynchronous: bool
) -> None:
    """LlamaIndex's own program, which selectors use, reads the object from call, text and fence."""
    program = FunctionCallingProgram.from_defaults(Album, "Describe {what}.", llm=llm)
    emulator.enqueue(answer)
    result = asyncio.run(program.acall(what="Blue")) if asynchronous else program(what="Blue")
    assert result == Album(**BLUE)


def test_streaming_function_calling_program(emulator: Emulator, llm: KimiVertex) -> None:
    """LlamaIndex's own program streams objects from the calls that are mirrored in `additional_kwargs`."""
    emulator.enqueue(CALL)
    program = FunctionCallingProgram.from_defaults(Album, "Describe {what}.", llm=llm)
    assert list(program.stream_call(what="Blue"))[-1] == Album(**BLUE)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_text_program_mode(emulator: Emulator, make_llm: MakeLLM, asynchronous: bool) -> None:
    """`PydanticProgramMode.LLM` still means a text program."""
    llm = make_llm(pydantic_program_mode=PydanticProgramMode.LLM)
    emulator.enqueue(TEXT)
    if asynchronous:
        result = asyncio.run(llm.astructured_predict(Album, PROMPT, what="Blue"))
    else:
        result = llm.structured_predict(Album, PROMPT, what="Blue")
    assert result == Album(**BLUE)
    assert "tools" not in emulator.requests[-1].json
    emulator.enqueue(TEXT)
    assert LLMTextCompletionProgram.from_defaults(
        output_cls=Album, prompt_template_str="Describe Blue.", llm=make_llm()
    )() == Album(**BLUE)


class Box(BaseModel, Generic[T]):
    content: T


def test_generic_class(emulator: Emulator, llm: KimiVertex, predict: Any) -> None:
    """A generic class, whose name no tool may have, works."""
    emulator.enqueue(Turn(thinking="t", tool_calls=[Call("Box_int", {"content": 3})]))
    assert predict(llm, Box[int])[-1] == Box[int](content=3)
    assert emulator.requests[-1].json["tools"][0]["function"]["name"] == "Box_int"


def test_options_of_the_call(emulator: Emulator, llm: KimiVertex) -> None:
    """`llm_kwargs` reach the request; what the structured call owns is not overridden by them."""
    emulator.enqueue(CALL)
    llm.structured_predict(Album, PROMPT, llm_kwargs={"max_tokens": 500, "tool_choice": "none"}, what="Blue")
    body = emulator.requests[-1].json
    assert body["max_tokens"] == 500
    assert body["tool_choice"] == "required"


class Color(enum.Enum):
    RED = "red"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    color: Color
    day: dt.date


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Numbers(RootModel[list[int]]):
    pass


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


@dataclasses.dataclass
class Point:
    x: int


class Line(TypedDict):
    x: int


class Corner(TypingTypedDict):
    x: int


class Route(TypingTypedDict, total=False):
    """A typed dict of the standard library, which pydantic does not read before Python 3.12."""

    lines: list[Corner]
    end: Corner | None


OBJECTS: list[tuple[Any, Any, Any, bool]] = [
    (Strict, {"color": "red", "day": "2026-01-02"}, Strict(color=Color.RED, day=dt.date(2026, 1, 2)), False),
    (Node, {"value": 1, "children": [{"value": 2}]}, Node(value=1, children=[Node(value=2)]), False),
    (Numbers, [1, 2], Numbers([1, 2]), True),
    (Cat | Dog, {"kind": "dog"}, Dog(kind="dog"), True),
    (Cat | None, {"kind": "cat"}, Cat(kind="cat"), True),
    (Color, "red", Color.RED, True),
    (Point, {"x": 1}, Point(1), False),
    (Line, {"x": 1}, {"x": 1}, False),
    (Route, {"lines": [{"x": 1}], "end": None}, {"lines": [{"x": 1}], "end": None}, False),
    (list[int], [1, 2], [1, 2], True),
    (list[Point], [{"x": 1}], [Point(1)], True),
    (Cat | None, None, None, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "expected", "wrapped"), OBJECTS, ids=[str(case[0]) for case in OBJECTS]
)
@pytest.mark.parametrize("mode", ["tool", "json_schema"])
def test_any_type(
    emulator: Emulator, make_llm: MakeLLM, kind: Any, value: Any, expected: Any, wrapped: bool, mode: Any
) -> None:
    """Whatever pydantic can read is asked for as an object by pydantic's schema, one at a time, and read as JSON."""
    llm, prompt = make_llm(structured_output=mode), PromptTemplate("?")
    written = {"value": value} if wrapped else value
    turn = Turn(tool_calls=[Call("f", written)]) if mode == "tool" else Turn(text=json.dumps(written))
    emulator.enqueue(turn, turn)
    assert llm.structured_predict(kind, prompt) == expected
    assert list(llm.stream_structured_predict(kind, prompt))[-1] == expected
    body = emulator.requests[-1].json
    if mode == "tool":
        schema = body["tools"][0]["function"]["parameters"]
        assert body["parallel_tool_calls"] is False
    else:
        schema = body["response_format"]["json_schema"]["schema"]
    assert schema["type"] == "object"
    if kind is not Route:
        assert schema.get("$defs") == TypeAdapter(kind).json_schema().get("$defs")


def test_type_without_a_schema(emulator: Emulator, llm: KimiVertex) -> None:
    """A class that pydantic does not know is refused before anything is sent."""

    class Plain:
        pass

    kind: Any = Plain
    with pytest.raises(InvalidRequestError, match="Plain cannot be asked for"):
        llm.structured_predict(kind, PromptTemplate("?"))
    assert emulator.requests == []


def test_second_object_is_not_lost_in_silence(
    emulator: Emulator, llm: KimiVertex, caplog: pytest.LogCaptureFixture
) -> None:
    """Of several objects the first is taken, and the log says so."""
    emulator.enqueue(Turn(tool_calls=[Call("Cat", {"kind": "cat"})] * 2))
    assert llm.structured_predict(Cat, PromptTemplate("?")) == Cat(kind="cat")
    assert "The model gave 2 objects instead of one" in caplog.text


def test_bare_list(emulator: Emulator, make_llm: MakeLLM) -> None:
    """A list that the model wrote without the object around it is read."""
    emulator.enqueue(Turn(text="```json\n[1, 2]\n```"))
    llm = make_llm(structured_output="json_schema")
    assert llm.structured_predict(Numbers, PromptTemplate("?")) == Numbers([1, 2])
