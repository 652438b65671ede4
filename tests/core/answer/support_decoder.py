"""What the decoder's tests share: rows of a quirk table, and the ways in which a row is run."""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._tools import DeclaredTools, History
from kimi_vertex.completion import Completion, accumulate
from kimi_vertex.events import Event

__all__ = [
    "THINKING_FIELDS",
    "TOOLS",
    "Call",
    "Row",
    "all_cuts",
    "call",
    "chunk",
    "decoder",
    "random_cuts",
    "run_chunks",
    "run_stream",
    "run_whole",
]

THINKING_FIELDS = ("reasoning_content", "reasoning")
BEYOND_A_MARKER = 40
"""More letters than any token has."""


def _tool(name: str, *properties: str, required: Sequence[str] = ()) -> dict[str, Any]:
    schema = {"type": "object", "properties": {p: {} for p in properties}, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [
    _tool("search", "query", "limit", required=["query"]),
    _tool("bash", "command", required=["command"]),
    _tool("note", "title", "body", required=["title", "body"]),
    _tool("clock"),
    _tool("mcp__wiki__find-page", "page", required=["page"]),
]

Call = tuple[str, str] | tuple[str, str, str]
"""Name, arguments and, where the row is about it, the id of a call."""


@dataclass(frozen=True)
class Row:
    """One answer in one dialect, and what is to be made of it."""

    name: str
    deltas: Sequence[Mapping[str, Any]]
    text: str = ""
    thinking: str | None = None
    calls: Sequence[Call] = ()
    invalid: Sequence[Call] = ()
    sent_reason: str | None = "stop"
    reason: str = "stop"
    empty: str | None = None
    implicit: bool = False
    tools: Sequence[Mapping[str, Any]] = field(default_factory=lambda: TOOLS)
    history: History | None = None
    whole_calls: Sequence[Mapping[str, Any]] | None = None
    """The calls as a whole message has them; default: the fragments, if each is a call of its own."""
    whole_pieces: bool = False
    """The quirk is one of pieces that are complete: they must not be cut."""
    streamed_only: bool = False
    """The quirk is one of fragments: a whole message cannot have it."""

    def check(self, completion: Completion) -> None:
        """Assert that the completion is the expected one."""
        assert completion.text == self.text
        assert completion.thinking == self.thinking
        assert _plain(completion.tool_calls, self.calls) == list(self.calls)
        assert _plain(completion.invalid_tool_calls, self.invalid) == list(self.invalid)
        assert completion.finish_reason == self.reason
        assert completion.empty == self.empty

    @property
    def message(self) -> dict[str, Any]:
        """The row as the message of a whole answer."""
        message: dict[str, Any] = {"role": "assistant", "content": None}
        calls: list[Any] = []
        for delta in self.deltas:
            for key, value in delta.items():
                if key == "tool_calls":
                    calls += value or []
                elif isinstance(value, str) and key != "role":
                    message[key] = (message.get(key) or "") + value
                elif isinstance(value, list):
                    message[key] = (message.get(key) or []) + value
                else:
                    message.setdefault(key, value)
        message["tool_calls"] = list(self.whole_calls) if self.whole_calls is not None else calls
        return message


def _plain(calls: Iterable[Any], like: Sequence[Call]) -> list[tuple[str, ...]]:
    wide = bool(like) and len(like[0]) == 3
    return [(c.name, c.arguments, c.id) if wide else (c.name, c.arguments) for c in calls]


def call(index: Any = None, id: Any = None, name: Any = None, arguments: Any = None) -> dict[str, Any]:
    """One fragment of a delta's `tool_calls`."""
    return {
        "index": index,
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def chunk(delta: Mapping[str, Any] | None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "answer-1", "object": "chat.completion.chunk", "choices": [choice], **more}


def decoder(row: Row) -> Decoder:
    """A decoder for the row's request."""
    return Decoder(tools=DeclaredTools.of(row.tools), history=row.history, implicit_thinking=row.implicit)


def run_chunks(reader: Decoder, chunks: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Feed chunks, the end of the stream, and finish."""
    events: list[Event] = []
    for data in chunks:
        events += reader.feed(json.dumps(data))
    reader.feed("[DONE]")
    return events + reader.finish()


def run_stream(row: Row, deltas: Sequence[Mapping[str, Any]] | None = None) -> Completion:
    """The row as a stream; asserts that its events say the same as the decoder."""
    reader = decoder(row)
    chunks = [chunk(delta) for delta in (row.deltas if deltas is None else deltas)]
    events = run_chunks(reader, [*chunks, chunk({}, row.sent_reason)])
    completion = accumulate(events)
    assert completion == reader.completion
    return completion


def run_whole(row: Row) -> Completion:
    """The row as a whole answer."""
    reader = decoder(row)
    choice = {"index": 0, "message": row.message, "finish_reason": row.sent_reason}
    events = reader.feed_body({"id": "answer-1", "object": "chat.completion", "choices": [choice]})
    return accumulate(events + reader.finish())


def all_cuts(deltas: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The deltas in single letters, in threes, and so that each place is cut once with whole markers about it."""
    longest = max((cuts.length for delta in deltas for cuts in _cuttable(delta)), default=0)
    for size in (1, 3, BEYOND_A_MARKER):
        for first in range(min(size, longest + 1)):
            yield _cut(deltas, itemgetter(slice(first, None, size)))


def random_cuts(deltas: Sequence[Mapping[str, Any]], chance: random.Random) -> list[Mapping[str, Any]]:
    """The deltas with every text of them in several pieces."""

    def some(places: Sequence[int]) -> Sequence[int]:
        return sorted(chance.sample(places, min(len(places) - 1, chance.choice((1, 2, 5, 1000)))))

    return _cut(deltas, some)


def _cut(
    deltas: Sequence[Mapping[str, Any]], choose: Callable[[Sequence[int]], Sequence[int]]
) -> list[Mapping[str, Any]]:
    """The deltas with every text of them cut at those of its places that are chosen."""
    pieces: list[Mapping[str, Any]] = list(deltas)
    for kind in range(3):
        cut: list[Mapping[str, Any]] = []
        for delta in pieces:
            parts = [delta]
            for found in reversed([c for c in _cuttable(delta) if c.kind == kind]):
                parts = replace(found, delta=parts[0]).apply(choose(range(found.length + 1)))
            cut += parts
        pieces = cut
    return pieces


@dataclass(frozen=True)
class _Cuttable:
    """A text in a delta that can be cut: thinking (0), content (1), the arguments of a call (2)."""

    delta: Mapping[str, Any]
    kind: int
    length: int
    position: int = 0

    def apply(self, places: Sequence[int]) -> list[Mapping[str, Any]]:
        bounds = [0, *places, self.length]
        pieces = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        if self.kind == 2:
            return [self._calls(pieces)]
        keys = (*THINKING_FIELDS, "reasoning_details") if self.kind == 0 else ("content",)
        before = {
            k: v
            for k, v in self.delta.items()
            if self.kind == 0 and k not in (*keys, "content", "tool_calls")
        }
        after = {k: v for k, v in self.delta.items() if k not in keys and k not in before}
        cut = [{k: _sliced(self.delta[k], piece) for k in keys if self.delta.get(k)} for piece in pieces]
        if self.kind == 1:
            first = {k: v for k, v in after.items() if k != "tool_calls"}
            last = {k: v for k, v in after.items() if k == "tool_calls"}
            return [first, *cut, last]
        return [before, *cut, after]

    def _calls(self, pieces: Sequence[slice]) -> Mapping[str, Any]:
        fragments = list(self.delta["tool_calls"])
        whole = fragments[self.position]
        text = whole["function"]["arguments"]
        first = copy.deepcopy(whole)
        first["function"]["arguments"] = text[pieces[0]]
        rest = [
            {"index": whole.get("index"), "id": whole.get("id"), "function": {"arguments": text[piece]}}
            for piece in pieces[1:]
        ]
        fragments[self.position : self.position + 1] = [first, *rest]
        return {**self.delta, "tool_calls": fragments}


def _sliced(value: Any, piece: slice) -> Any:
    if isinstance(value, str):
        return value[piece]
    return [{**item, "text": item["text"][piece]} for item in value]


def _cuttable(delta: Mapping[str, Any]) -> Iterator[_Cuttable]:
    thinking = next((delta[k] for k in THINKING_FIELDS if isinstance(delta.get(k), str) and delta[k]), None)
    if thinking is None and delta.get("reasoning_details"):
        thinking = delta["reasoning_details"][0]["text"]
    if thinking:
        yield _Cuttable(delta, 0, len(thinking))
    if isinstance(delta.get("content"), str) and delta["content"]:
        yield _Cuttable(delta, 1, len(delta["content"]))
    fragments = delta.get("tool_calls")
    for position, fragment in enumerate(fragments if isinstance(fragments, list) else ()):
        arguments = fragment.get("function", {}).get("arguments")
        if isinstance(arguments, str) and arguments:
            yield _Cuttable(delta, 2, len(arguments), position)
