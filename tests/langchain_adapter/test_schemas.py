"""Structured output of every kind of schema: what is sent is pydantic's own, what comes back is validated as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.tools import tool
from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter
from typing_extensions import TypedDict

from kimi_vertex_emulator import Call, Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex

from .conftest import MakeModel


class Node(BaseModel):
    """A tree."""

    value: int
    children: list[Node] = []


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    day: date
    color: Color


@dataclass
class Point:
    x: int
    y: int = 0


class Loop(TypedDict):
    """A loop."""

    name: str
    next: list[Loop]


class Optionals(TypedDict):
    """LangChain's way to write a default."""

    name: Annotated[str, ..., "The name."]
    rating: Annotated[int | None, None, "The rating."]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


class Numbers(RootModel[list[int]]):
    pass


class Plain:
    def __init__(self, x: int) -> None:
        self.x = x


TREE = {"value": 1, "children": [{"value": 2, "children": []}]}
KINDS: list[tuple[str, Any, Any, Any]] = [
    ("recursive class", Node, TREE, Node(value=1, children=[Node(value=2)])),
    ("strict class", Strict, {"day": "2026-01-02", "color": "red"}, Strict(day=date(2026, 1, 2), color=Color.RED)),
    ("enum", Color, "blue", Color.BLUE),
    ("dataclass", Point, {"x": 1}, Point(1)),
    ("typed dict", Optionals, {"name": "n"}, {"name": "n"}),
    ("recursive typed dict", Loop, {"name": "a", "next": []}, {"name": "a", "next": []}),
    ("union", Cat | Dog, {"kind": "cat", "lives": 9}, Cat(kind="cat", lives=9)),
    ("root model", Numbers, [1, 2], Numbers([1, 2])),
    ("root model without a name", RootModel[list[int]], [1, 2], RootModel[list[int]]([1, 2])),
    ("list", list[Point], [{"x": 1, "y": 2}], [Point(1, 2)]),
    ("definitions", Node.model_json_schema(), TREE, TREE),
    ("nullable", {"title": "N", "type": "object", "properties": {"a": {"type": "string", "nullable": True}}}, {"a": None}, {"a": None}),
    ("OpenAI's inner form", {"name": "N", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}, {"a": "b"}, {"a": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "schema", "value", "expected"),
    [
        pytest.param(method, *kind, id=f"{name}, {method}")
        for name, *kind in KINDS
        for method in ("json_schema", "function_calling")
        if method == "json_schema" or name in ("recursive class", "enum", "union", "definitions")
    ],
)
async def test_every_kind(
    emulator: Emulator, model: ChatKimiVertex, method: Any, schema: Any, value: Any, expected: Any
) -> None:
    """Each kind of schema gives its objects, whole and streamed; the server, too, can make such an answer of it."""
    structured = model.with_structured_output(schema, method=method)
    structured.invoke("q")  # the emulator fills the schema that it gets
    asked = emulator.requests[-1].json
    text = TypeAdapter(Any).dump_json(value).decode()
    if method == "json_schema":
        turn = Turn(
            thinking="t", text=["Here: ```json\n", text[:3], text[3:], "\n```"] if text[0] in "{[" else text
        )
    else:
        name = asked["tools"][0]["function"]["name"]
        arguments = value if isinstance(value, dict) and schema != Cat | Dog else {"value": value}
        turn = Turn(thinking="t", tool_calls=[Call(name, arguments)])
    emulator.enqueue(turn, turn)
    assert await structured.ainvoke("q") == expected
    assert list(structured.stream("q"))[-1] == expected


def test_the_schema_is_pydantics(emulator: Emulator, model: ChatKimiVertex) -> None:
    """Definitions and formats are sent as pydantic writes them; the root is not a reference."""
    model.with_structured_output(Node).invoke("q")
    own = Node.model_json_schema()
    sent = emulator.requests[-1].json["response_format"]["json_schema"]
    assert sent == {
        "name": "Node",
        "description": "A tree.",
        "schema": {**own["$defs"]["Node"], "$defs": own["$defs"]},
    }


@tool
def plant(node: Node) -> str:
    """Plant a tree."""
    return str(node.value)


@pytest.mark.parametrize("given", [Node, plant])
def test_tools_that_contain_themselves(emulator: Emulator, model: ChatKimiVertex, given: Any) -> None:
    """A recursive class as a tool, or as a tool's argument, is sent whole."""
    model.bind_tools([given]).invoke("q")
    parameters = emulator.requests[-1].json["tools"][0]["function"]["parameters"]
    assert parameters["$defs"] == Node.model_json_schema()["$defs"]
    assert parameters["type"] == "object"


@pytest.mark.parametrize(
    "schema",
    [Plain, {}, {"a": 1}, "Answer", 5, Any, object, Callable[[], int]],
    ids=lambda schema: str(schema)[:30],
)
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_what_cannot_work_is_refused_when_bound(model: ChatKimiVertex, schema: Any, method: Any) -> None:
    """A class that pydantic does not know, or a schema that is none, is a mistake of the program."""
    with pytest.raises(ValueError, match="schema"):
        model.with_structured_output(schema, method=method)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_what_does_not_fit_is_an_error(emulator: Emulator, make_model: MakeModel, method: Any) -> None:
    """An answer that is whole but does not fit says what is wrong."""
    wrong = {"value": "many"}
    is_call = method == "function_calling"
    emulator.enqueue(Turn(tool_calls=[Call("Node", wrong)]) if is_call else Turn(text='{"value": "many"}'))
    with pytest.raises(OutputParserException, match="does not fit Node"):
        make_model(tool_validation="off").with_structured_output(Node, method=method).invoke("q")


def test_one_object_is_asked_for(
    emulator: Emulator, model: ChatKimiVertex, caplog: pytest.LogCaptureFixture
) -> None:
    """Parallel calls are switched off where one object is wanted; a server that makes them all the same is reported."""
    emulator.enqueue(Turn(tool_calls=[Call("Point", {"x": 1}), Call("Point", {"x": 2})]))
    with caplog.at_level(logging.WARNING):
        assert model.with_structured_output(Point, method="function_calling").invoke("q") == Point(1)
    assert emulator.requests[-1].json["parallel_tool_calls"] is False
    assert "made 2 calls" in caplog.text
