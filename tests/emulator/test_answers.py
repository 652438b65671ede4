"""The brain's other answers: JSON by schema, the end of an answer that was begun, and an echo."""

from __future__ import annotations

import json
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "degrees": {"type": "number"},
        "sky": {"type": "string", "enum": ["clear", "cloudy"]},
        "summary": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["city", "degrees", "sky", "summary", "tags"],
}


def test_a_json_schema_is_obeyed(kimi: Any) -> None:
    """The answer is an instance of the schema with the question's values."""
    wanted = {"type": "json_schema", "json_schema": {"name": "Weather", "schema": SCHEMA}}
    value = json.loads(kimi.text("It is 18.5 degrees and cloudy in Paris.", response_format=wanted))
    assert (value["city"], value["degrees"], value["sky"]) == ("Paris", 18.5, "cloudy")
    assert len(value["tags"]) == 2
    assert "note" not in value


def test_json_mode_uses_the_keys_of_the_prompt(kimi: Any) -> None:
    """With json_object the keys named in the prompt are filled."""
    prompt = "Tell a joke as JSON with 'setup' and 'punchline' keys."
    value = json.loads(kimi.text(prompt, response_format={"type": "json_object"}))
    assert set(value) == {"setup", "punchline"}


def test_json_mode_without_a_hint_is_still_an_object(kimi: Any) -> None:
    """With json_object any prompt gives an object."""
    assert isinstance(json.loads(kimi.text("Hi", response_format={"type": "json_object"})), dict)


def test_a_schema_in_the_prompt_is_obeyed(kimi: Any) -> None:
    """An output parser's format instructions are followed, the last schema in the prompt counts."""
    example = '{"properties": {"foo": {"type": "string"}}, "required": ["foo"]}'
    prompt = (
        f"It is 3 degrees in Oslo. Conform to the JSON schema below, like {example}.\n{json.dumps(SCHEMA)}"
    )
    assert json.loads(kimi.text(prompt))["city"] == "Oslo"


def test_tools_come_before_the_structured_answer(kimi: Any, tool: Any) -> None:
    """With tools and a schema the brain calls first, and fills the schema from the results."""
    wanted = {"type": "json_schema", "json_schema": {"name": "Weather", "schema": SCHEMA}}
    weather = tool("get_weather", "Weather at a place", location={"type": "string"})
    results = {"get_weather": lambda location: "cloudy, 7 degrees"}
    rounds, answer = kimi.loop("How is the weather in Oslo?", [weather], results, response_format=wanted)
    assert rounds == [[("get_weather", {"location": "Oslo"})]]
    value = json.loads(answer)
    assert (value["city"], value["degrees"], value["sky"]) == ("Oslo", 7, "cloudy")


def test_the_free_answer_says_who_answers(kimi: Any) -> None:
    """Without tools or passages the answer names the emulator and the question."""
    text = kimi.text("What is love?")
    assert "emulator" in text
    assert "What is love?" in text
