"""Tools without a description, and answers that hold no object: what the user reads first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from kimi_vertex import KimiVertexClient
from kimi_vertex_emulator import Call, Emulator, Turn
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

from .support_errors import SEEN


def bare(a: int, b: dict[str, int] | None = None) -> dict[str, int]:
    return {"a": a, **(b or {})}


def documented(a: int) -> int:
    """Double a number."""
    return 2 * a


def _core(base_url: str) -> Callable[[], Any]:
    tools = [
        {"type": "function", "function": {"name": "bare", "parameters": {}}},
        {"type": "function", "function": {"name": "documented", "description": "Double a number."}},
    ]
    client = KimiVertexClient(base_url=base_url)
    return lambda: client.complete("Hi", tools=tools)


def _langchain(base_url: str) -> Callable[[], Any]:
    model = ChatKimiVertex(base_url=base_url).bind_tools([bare, documented])
    return lambda: model.invoke("Hi")


def _llama_index(base_url: str) -> Callable[[], Any]:
    llm, tools = KimiVertex(base_url=base_url), [FunctionTool.from_defaults(f) for f in (bare, documented)]
    return lambda: llm.chat_with_tools(tools, "Hi")


@pytest.mark.parametrize("make", [_core, _langchain, _llama_index])
def test_a_tool_without_a_description_is_told_of_once(
    make: Callable[[str], Callable[[], Any]], emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The model chooses by the description: a function without docstring is a warning, once for a client."""
    run = make(emulator.base_url)
    with caplog.at_level(logging.WARNING, "kimi_vertex"):
        run()
        run()
    assert [record.getMessage()[:SEEN] for record in caplog.records] == [
        "The tool bare has no description: write a docstring. The model chooses tools by their descriptions."
    ]


class Person(BaseModel):
    name: str
    age: int


PROSE = "Sorry, I cannot say who that is. " * 20
WRONG = '{"name": "Ada", "age": "unknown"}'


def _parsed(base_url: str, method: Any) -> Any:
    return ChatKimiVertex(base_url=base_url).with_structured_output(Person, method=method).invoke("Who?")


@pytest.mark.parametrize(
    ("method", "turn", "words"),
    [
        ("json_schema", Turn(text=PROSE), ["no complete JSON", 'method="function_calling"']),
        ("json_schema", Turn(text=WRONG), ["does not fit Person", 'method="function_calling"']),
        ("json_schema", Turn(text="{", finish_reason="length"), ["no complete JSON", "raise it"]),
        ("function_calling", Turn(text=PROSE), ["made no call", 'method="json_schema"']),
        (
            "function_calling",
            Turn(tool_calls=[Call("Person", WRONG)]),
            ["does not fit Person", 'method="json_schema"'],
        ),
    ],
)
def test_langchain_answers_without_an_object(
    method: str, turn: Turn, words: list[str], emulator: Emulator
) -> None:
    """A structured answer in prose, or of another form, says what to try within the first 120 characters."""
    emulator.enqueue(turn, turn)
    with pytest.raises(ValueError, match=r"Person|JSON|call") as caught:
        _parsed(emulator.base_url, method)
    seen = str(caught.value)[:SEEN]
    assert [word for word in words if word not in seen] == [], seen


@pytest.mark.parametrize("mode", ["tool", "json_schema"])
def test_llama_index_answers_without_an_object(mode: Any, emulator: Emulator) -> None:
    """The same in LlamaIndex, where the object is built by its structured prediction."""
    emulator.enqueue(Turn(text=PROSE), Turn(text=PROSE))
    llm = KimiVertex(base_url=emulator.base_url, structured_output=mode)
    with pytest.raises(ValueError, match="Person") as caught:
        llm.structured_predict(Person, PromptTemplate("Who?"))
    seen = str(caught.value)[:SEEN]
    assert "gave no Person object" in seen
    assert 'structured_output ("tool", "json_schema")' in seen


def test_llama_index_prose_of_a_stream(emulator: Emulator) -> None:
    """A stream of objects that brings none ends in the same words."""
    emulator.enqueue(Turn(text=PROSE), Turn(text=PROSE))
    llm = KimiVertex(base_url=emulator.base_url)
    with pytest.raises(ValueError, match="gave no Person object"):
        list(llm.as_structured_llm(Person).stream_chat([ChatMessage("Who?")]))
