"""The score card: what an endpoint makes of thinking, tools, formats and caches, found out with a few short requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Unpack

from kimi_vertex import (
    APIError,
    APIStatusError,
    Completion,
    KimiVertexClient,
    KimiVertexError,
    RequestOptions,
    RequestStats,
    model_info,
)
from kimi_vertex_cli._checks import Working, failure
from kimi_vertex_cli._findings import Line, command_for
from kimi_vertex_cli._target import Target

__all__ = ["first_request", "score_card"]

_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
_QUESTION: Final = "What is the weather in Oslo? Use the tool."
_FORMAT: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
_ROOM: Final = 2_000
"""Tokens for an answer: thinking takes most of them."""
_LONG: Final = "This sentence makes the prompt long enough for a cache of prefixes. " * 150


@dataclass
class _Card:
    client: KimiVertexClient
    target: Target
    working: Working
    stats: list[RequestStats] = field(default_factory=list)

    def ask(self, doing: str, message: str, **options: Unpack[RequestOptions]) -> Completion:
        self.working(doing)
        options.setdefault("max_tokens", _ROOM)
        with self.client.stream(message, **options) as stream:
            for _ in stream:
                pass
            return stream.completion


def first_request(client: KimiVertexClient, working: Working) -> Line:
    """Ask for one token."""
    working("asking for one token")
    try:
        answer = client.complete("Say yes.", max_tokens=1)
    except KimiVertexError as error:
        return failure("request", error, client.place, "kimi-vertex -v ask Hello")
    usage = answer.usage
    counted = f", {usage.prompt_tokens} tokens in, {usage.completion_tokens} out" if usage is not None else ""
    model = answer.model or "a model without a name"
    family = model_info(answer.model).family
    unnamed = client.model is None and family != model_info(None).family
    # Without its name, the model's window, its levels of thinking and its rules are those of any Kimi.
    told = f"; name it, so that {family}'s rules hold: export KIMI_VERTEX_MODEL={model}" if unnamed else ""
    return Line("request", "ok", f"answered by {model}{counted}{told}")


def score_card(
    client: KimiVertexClient, target: Target, stats: list[RequestStats], working: Working
) -> Iterator[Line]:
    """The lines of the card; a request that fails is a line of it."""
    card = _Card(client, target, working, stats)
    for check in (_stream, _tools, _forced, _structured, _cache):
        try:
            yield from check(card)
        except APIError as error:
            name = check.__name__.strip("_")
            yield Line(name, "warn", f"failed: {error.message}", command_for(error.message, client.place))


def _stream(card: _Card) -> Iterator[Line]:
    answer = card.ask("streaming an answer", "Which is larger, 9.9 or 9.11? Answer with the number.")
    first = card.stats[-1].seconds_to_first_event
    yield Line("first token", "ok", f"after {first:.2f} s" if first is not None else "not seen")
    usage = answer.usage is not None
    yield Line(
        "usage", "ok" if usage else "warn", "comes in streams" if usage else "does not come in streams"
    )
    yield _thinking(card.client, answer)


def _thinking(client: KimiVertexClient, answer: Completion) -> Line:
    facts = client.facts
    learned = [facts[name].value for name in facts if name.partition("[")[0] == "thinking_field"]
    if not answer.thinking:
        always = client.model_info.thinking == "always"
        return Line("thinking", "warn" if always else "info", "none came")
    if learned:
        return Line("thinking", "ok", f"in the field {learned[-1]}: the reasoning parser is on")
    text = (
        "Thinking comes inside the answer: the server runs without its reasoning parser. This client takes it apart, others "
        f"do not. Start the server with {client.model_info.flags_on(client.server)}."
    )
    return Line("thinking", "red", text, command_for(text, None, server=client.server))


def _tools(card: _Card) -> Iterator[Line]:
    # Such a client leaves a call that comes as text where it is.
    with card.target.client(recover_calls=False, max_retries=0, pace=None, tool_validation="off") as literal:
        card.working("asking for a tool call")
        try:
            answer = literal.complete(_QUESTION, tools=[_TOOL], max_tokens=_ROOM)
        except APIStatusError as error:
            if error.status_code in (400, 422):
                yield failure("tools", error, card.client.place)
                return
            raise
    if answer.tool_calls:
        call = answer.tool_calls[0]
        form = "Kimi's own form" if re.fullmatch(r"functions\.\w+:\d+", call.id) else "the server's form"
        yield Line("tools", "ok", f"called {call.name}({call.arguments}): the tool parser is on")
        yield Line("call ids", "ok", f"{call.id}, {form}")
    elif "get_weather" in f"{answer.text}{answer.thinking}" and re.search(
        r"get_weather\W{0,30}\{|functions\.", f"{answer.text}"
    ):
        text = (
            "Tool calls come as text: the server runs without its tool parser. This client reads them, others do not. Start "
            f"the server with {literal.model_info.flags_on(literal.server)}."
        )
        yield Line("tools", "red", text, command_for(text, None, server=literal.server))
    else:
        yield Line("tools", "warn", "the model called none, though it was asked to")


def _forced(card: _Card) -> Iterator[Line]:
    answer = card.ask("forcing a tool call", _QUESTION, tools=[_TOOL], tool_choice="required")
    facts = card.client.facts
    if any(name.startswith("refuses_forced_choice") for name in facts):
        yield Line(
            "forced call",
            "warn",
            "refused while the model thinks; the client asks for the call in words instead",
        )
    else:
        made = bool(answer.tool_calls)
        yield Line(
            "forced call",
            "ok" if made else "warn",
            "tool_choice is obeyed" if made else "tool_choice is ignored",
        )


def _structured(card: _Card) -> Iterator[Line]:
    answer = card.ask("asking for JSON", "Name the capital of Norway.", response_format=_FORMAT)
    obeyed = isinstance(_json(answer.text).get("city"), str)
    yield Line("structured", "ok" if obeyed else "warn", f"a schema is {'obeyed' if obeyed else 'ignored'}")


def _json(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _cache(card: _Card) -> Iterator[Line]:
    long = f"{_LONG} Say yes."
    card.ask("asking with a long prompt", long, max_tokens=1)
    answer = card.ask("asking with the same prompt again", long, max_tokens=1)
    cached = answer.usage.cached_tokens if answer.usage is not None else None
    if cached is None:
        yield Line("prefix cache", "info", "the server does not say what it read from a cache")
    else:
        text = (
            f"{cached:,} tokens of the second prompt came from it"
            if cached
            else "nothing of the second prompt came from it"
        )
        yield Line("prefix cache", "ok" if cached else "warn", text)
