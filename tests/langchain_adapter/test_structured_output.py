"""Objects instead of messages: what is asked of the server, and what is made of its answer."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core import exceptions
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from kimi_vertex_emulator import Call, Emulator, Rules, Turn
from langchain_kimi_vertex import ChatKimiVertex


class Answer(BaseModel):
    """A reasoned answer."""

    cause: str
    sure: bool = Field(description="Whether it is certain.")


class AnswerDict(TypedDict):
    """A reasoned answer."""

    cause: str
    sure: bool


JSON_SCHEMA = {
    "title": "Answer",
    "description": "A reasoned answer.",
    "type": "object",
    "properties": {"cause": {"type": "string"}, "sure": {"type": "boolean"}},
    "required": ["cause", "sure"],
}
OBJECT = {"cause": "light", "sure": True}
TEXT = '{"cause": "light", "sure": true}'


@pytest.mark.parametrize("schema", [Answer, AnswerDict, JSON_SCHEMA])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_methods_and_schemas(
    emulator: Emulator, model: ChatKimiVertex, method: Any, schema: Any
) -> None:
    """Every method gives an object of every kind of schema, sync and async."""
    turn = Turn(tool_calls=[Call("Answer", OBJECT)]) if method == "function_calling" else Turn(text=TEXT)
    if schema is AnswerDict and method == "function_calling":
        turn = Turn(tool_calls=[Call("AnswerDict", OBJECT)])
    emulator.enqueue(turn, turn)
    structured = model.with_structured_output(schema, method=method)
    expected = Answer(cause="light", sure=True) if schema is Answer else OBJECT
    assert structured.invoke("q") == expected
    assert await structured.ainvoke("q") == expected


@pytest.mark.parametrize("strict", [None, True, False])
def test_json_schema_is_sent(emulator: Emulator, model: ChatKimiVertex, strict: bool | None) -> None:
    """The default method sends the schema, its name, and `strict` only if it was given."""
    emulator.enqueue(Turn(text=TEXT))
    model.with_structured_output(Answer, strict=strict).invoke("q")
    sent = emulator.requests[-1].json["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "Answer"
    assert set(sent["json_schema"]["schema"]["properties"]) == {"cause", "sure"}
    assert sent["json_schema"].get("strict") is strict
    assert "tools" not in emulator.requests[-1].json


def test_json_mode_is_sent(emulator: Emulator, model: ChatKimiVertex) -> None:
    """`json_mode` asks for any JSON object and needs no schema."""
    emulator.enqueue(Turn(text=TEXT))
    assert model.with_structured_output(method="json_mode").invoke("q") == OBJECT
    assert emulator.requests[-1].json["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    "text", [f"```json\n{TEXT}\n```", f"```\n{TEXT}\n```", f"Here it is: {TEXT}", f" {TEXT}\n"]
)
def test_wrapped_json_is_read(emulator: Emulator, model: ChatKimiVertex, text: str) -> None:
    """JSON in a code fence or behind a sentence is accepted."""
    emulator.enqueue(Turn(thinking="{", text=text))
    assert model.with_structured_output(Answer).invoke("q") == Answer(cause="light", sure=True)


@pytest.mark.parametrize("schema", [Answer, JSON_SCHEMA])
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_is_no_object(
    emulator: Emulator, model: ChatKimiVertex, schema: Any, stream: bool
) -> None:
    """An answer that max_tokens cut off raises, with the reason, and is not completed by guessing."""
    emulator.enqueue(Turn(text='{"sure": true, "cause": "lig', finish_reason="length"))
    structured = model.with_structured_output(schema)
    with pytest.raises(OutputParserException, match="max_tokens"):
        list(structured.stream("q")) if stream else structured.invoke("q")


@pytest.mark.parametrize("schema", [Answer, JSON_SCHEMA])
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_call_is_no_object(
    emulator: Emulator, model: ChatKimiVertex, schema: Any, stream: bool
) -> None:
    """The same for `function_calling`."""
    call = Call("Answer", '{"sure": true, "cause": "lig')
    emulator.enqueue(Turn(tool_calls=[call], finish_reason="length"))
    structured = model.with_structured_output(schema, method="function_calling")
    with pytest.raises(OutputParserException, match="unusable"):
        # A stream gives partial dicts before it knows; what counts is that it does not end well.
        list(structured.stream("q")) if stream else structured.invoke("q")


@pytest.mark.parametrize("stream", [False, True])
def test_text_beside_an_unusable_call(emulator: Emulator, model: ChatKimiVertex, stream: bool) -> None:
    """Where the model's call cannot be read, JSON in its text is not taken for the object."""
    example = Turn(text=f"For example {TEXT}", tool_calls=[Call("Answer", "{cause}")])
    emulator.enqueue(example, example)
    structured = model.with_structured_output(Answer, method="function_calling")
    with pytest.raises(OutputParserException, match="unusable"):
        list(structured.stream("q")) if stream else structured.invoke("q")


def test_function_calling_accepts_json_text(emulator: Emulator, model: ChatKimiVertex) -> None:
    """A model that answers with the JSON instead of calling the tool is understood."""
    emulator.enqueue(Turn(text=TEXT))
    structured = model.with_structured_output(Answer, method="function_calling")
    assert structured.invoke("q") == Answer(cause="light", sure=True)


def test_thinking_only_is_an_explicit_error(emulator: Emulator, model: ChatKimiVertex) -> None:
    """A turn without text says so, instead of a JSON error."""
    emulator.enqueue(Turn(thinking="Hm.", finish_reason="stop"))
    with pytest.raises(OutputParserException, match="has no text"):
        model.with_structured_output(Answer).invoke("q")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_include_raw(emulator: Emulator, model: ChatKimiVertex, method: Any) -> None:
    """`include_raw` returns the message, thinking included, and the parse error instead of raising it."""
    emulator.enqueue(Turn(thinking="Hm.", text="No idea."))
    result: Any = model.with_structured_output(Answer, method=method, include_raw=True).invoke("q")
    assert result["raw"].additional_kwargs["reasoning_content"] == "Hm."
    assert result["parsed"] is None
    assert isinstance(result["parsing_error"], OutputParserException)


def test_objects_stream(emulator: Emulator, model: ChatKimiVertex) -> None:
    """Dict schemas stream growing objects; the last is the whole."""
    emulator.enqueue(Turn(thinking="Hm.", text=['{"cause": "li', 'ght", "su', 're": true}']))
    parts = list(model.with_structured_output(JSON_SCHEMA).stream("q"))
    assert parts[0] == {"cause": "li"}
    assert parts[-1] == OBJECT


def test_forced_tool_that_the_server_refuses() -> None:
    """Where forcing a tool is refused beside thinking, `function_calling` still gets its object."""
    with Emulator(rules=Rules(refuse_forced_tool_choice=True)) as emulator:
        emulator.enqueue(Turn(thinking="Hm.", tool_calls=[Call("Answer", OBJECT)]))
        model = ChatKimiVertex(base_url=emulator.base_url)
        result = model.with_structured_output(Answer, method="function_calling").invoke(
            "Why is the sky blue?"
        )
        assert result == Answer(cause="light", sure=True)
        assert [request.json.get("tool_choice") for request in emulator.requests][-1] in (None, "auto")


@pytest.mark.parametrize(("schema", "method"), [(None, "json_schema"), (Answer, "telepathy")])
def test_bad_arguments(model: ChatKimiVertex, schema: Any, method: Any) -> None:
    """A missing schema and an unknown method are errors at once."""
    with pytest.raises(ValueError, match="method"):
        model.with_structured_output(schema, method=method)


@pytest.mark.parametrize("stream", [False, True])
def test_refusals_are_visible(emulator: Emulator, model: ChatKimiVertex, stream: bool) -> None:
    """A filtered answer has a refusal block, and structured output reports it as one where LangChain can."""
    turn = Turn(text="I", finish_reason="content_filter")
    emulator.enqueue(turn, turn)
    message = model.invoke("q")
    blocks: Any = message.content_blocks
    assert [block["type"] for block in blocks] == ["text", "refusal"]
    error = getattr(exceptions, "ModelRefusalError", OutputParserException)
    structured = model.with_structured_output(Answer)
    with pytest.raises(error):
        list(structured.stream("q")) if stream else structured.invoke("q")
