"""The built-in brain: small, deterministic, and honest about being no model.

It calls declared tools that the question speaks of, fills in JSON schemas, and else says what it was asked. It works by
rules over words, without chance or state: the same conversation always gets the same turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kimi_vertex_emulator._chat import ChatRequest, Tool
from kimi_vertex_emulator._filling import Words, fill
from kimi_vertex_emulator.answers import Call, Turn

__all__ = ["respond"]

_MORE: Final = {"high": " I look again.", "max": " I look again, and once more."}
"""What a higher effort adds to the thinking."""
_SELF = "I am the kimi-vertex emulator."
_ECHO = "This is the kimi-vertex emulator, not a Kimi model. It was asked: “{}”"
_LONGEST_ECHO = 160
_MOST_READ = 6000
_LONG_BLANK = re.compile(r"\s{16,}")
_MOST_STRAYS = 200
_THRESHOLD = 2
_GENERIC = frozenset("a an and call do for from get in is make new of or run the to tool use with".split())
_ASKS_FOR_JSON = re.compile(r"json schema|conforms? to the (?:json )?schema|output schema", re.IGNORECASE)
_KEYS = re.compile(r"((?:['\"`]\w+['\"`](?:,?\s+and\s+|,\s*)?)+)\s*(?:as\s+)?(?:keys?|fields?|properties)\b")


def respond(chat: ChatRequest) -> Turn:
    """The turn with which the brain answers."""
    users = [index for index, message in enumerate(chat.messages) if message.role == "user"]
    recent = chat.messages[users[-1] if users else 0 :]
    question = _digest(recent[0].text if users else "")
    names = {call.id: call.name for message in recent for call in message.tool_calls}
    results = [
        (names.get(message.tool_call_id or "", "the tool"), message.text)
        for message in recent
        if message.role == "tool"
    ]
    # Newest first: what a result says is what the next call is about.
    sources = [question, *(_digest(text) for _, text in reversed(results))]
    system = _digest("\n".join(message.text for message in chat.messages if message.role == "system"))
    text, calls = None, list[Call]()
    if tool := _next_tool(chat, question, list(names.values())):
        why, calls = f"This needs {tool.name}, so I call it.", [Call(tool.name, _arguments(tool, sources))]
    elif results:
        why, text = "The tools have answered.", "\n".join(f"{name} says: {said}" for name, said in results)
    else:
        asked = " ".join(question.split())[:_LONGEST_ECHO] or "nothing"
        why, text = "I only say what I was asked.", _ECHO.format(asked)
    if text is not None and (schema := _wanted(chat, f"{system}\n{question}")) is not None:
        words = Words([_without_object(question), *sources[1:]], answer=text)
        why = "JSON is wanted, so I fill in the schema."
        text = json.dumps(fill(schema, words), ensure_ascii=False)
    thinking = f"{_SELF} {why}{_MORE.get(chat.effort or '', '')}" if chat.thinking else None
    return Turn(thinking=thinking, text=text, tool_calls=calls)


def _without_object(question: str) -> str:
    """A question without the schema in it, whose words and numbers are not what is asked."""
    start, end = question.find("{"), question.rfind("}")
    return f"{question[:start]} {question[end + 1 :]}" if 0 <= start < end else question


def _digest(text: str) -> str:
    """The beginning and the end of a long text, where instructions stand, without long runs of blanks."""
    if len(text) > 2 * _MOST_READ:
        text = f"{text[:_MOST_READ]}\n{text[-_MOST_READ:]}"
    return _LONG_BLANK.sub(" ", text)


def _next_tool(chat: ChatRequest, question: str, called: Sequence[str]) -> Tool | None:
    """The tool that comes next: the first one in the question that was not called yet, if there is one."""
    if not chat.tools or chat.tool_choice == "none":
        return None
    scores = {tool.name: _score(tool, question) for tool in chat.tools}
    wanted = [tool for tool in chat.tools if scores[tool.name] >= _THRESHOLD and tool.name not in called]
    wanted.sort(key=lambda tool: _place(tool, question))
    if chat.tool_choice in ("required", "named"):
        named = [tool for tool in chat.tools if tool.name == chat.named_tool]
        allowed = named if chat.tool_choice == "named" and named else list(chat.tools)
        likeliest = max(allowed, key=lambda tool: (tool.name not in called, scores[tool.name]))
        return next((tool for tool in wanted if tool in allowed), likeliest)
    return wanted[0] if wanted else None


def _words(text: str) -> set[str]:
    found = re.findall(r"[A-Za-z]+|[^\W\d_A-Za-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text))
    return {word.lower() for word in found} - _GENERIC


def _alike(left: str, right: str) -> bool:
    """Whether two words are one: equal, or one begins the other and neither is short."""
    short, long = sorted((left, right), key=len)
    return left == right or (len(short) >= 4 and long.startswith(short[: max(4, len(short) - 2)]))


def _score(tool: Tool, question: str) -> int:
    """How much the question speaks of the tool: its name counts most."""
    if tool.name and re.search(rf"(?<!\w){re.escape(tool.name)}(?!\w)", question):
        return 10
    asked = _words(question)
    hits = [
        sum(any(_alike(word, other) for other in asked) for word in _words(text))
        for text in (tool.name, tool.description)
    ]
    return 2 * hits[0] + hits[1]


def _place(tool: Tool, question: str) -> int:
    """Where the question first speaks of the tool."""
    names = "|".join(re.escape(word[:5]) for word in [tool.name, *sorted(_words(tool.name))] if word)
    found = re.search(names, question, re.IGNORECASE) if names else None
    return found.start() if found else len(question)


def _arguments(tool: Tool, sources: Sequence[str]) -> dict[str, Any]:
    properties = tool.parameters.get("properties") or {}
    literal: Mapping[str, Any] = {}
    if isinstance(properties, Mapping):
        # Arguments that the question gives as a JSON object.
        objects = _json_objects(sources[0])
        literal = next((value for value in objects if value and set(value) <= set(properties)), {})
    given = fill({"type": "object", **tool.parameters}, Words(sources))
    return {**(given if isinstance(given, dict) else {}), **literal}


def _wanted(chat: ChatRequest, prompt: str) -> Mapping[str, Any] | None:
    """The schema of the answer, if `response_format` or the prompt asks for JSON."""
    wanted = chat.response_format or {}
    if wanted.get("type") == "json_schema":
        described = wanted.get("json_schema")
        schema = described.get("schema") if isinstance(described, Mapping) else None
        return schema if isinstance(schema, Mapping) else {"type": "object"}
    if wanted.get("type") == "json_object":
        return _described(prompt) or _of_keys(prompt)
    return _described(prompt) if _ASKS_FOR_JSON.search(prompt) else None


def _described(prompt: str) -> Mapping[str, Any] | None:
    """The last JSON schema in the prompt: templates put an example before the one that they mean."""
    found = [value for value in _json_objects(prompt) if isinstance(value.get("properties"), Mapping)]
    return {"type": "object", "required": list(found[-1]["properties"]), **found[-1]} if found else None


def _of_keys(prompt: str) -> Mapping[str, Any]:
    match = _KEYS.search(prompt)
    keys = [key for key in re.findall(r"\w+", match[1]) if key != "and"] if match else ["answer"]
    return {"type": "object", "properties": {key: {"type": "string"} for key in keys}, "required": keys}


def _json_objects(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON objects in the text; gives up on texts full of stray braces."""
    decoder, position, strays = json.JSONDecoder(), 0, 0
    while strays < _MOST_STRAYS and (position := text.find("{", position)) >= 0:
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position, strays = position + 1, strays + 1
        else:
            yield value
