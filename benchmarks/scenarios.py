"""What the benchmark server answers, by name, with every byte made in advance. No sockets, no clocks."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

__all__ = ["MODEL", "STAMP", "Scenario", "conversation", "tool", "whole_body"]

MODEL: Final = "moonshotai/kimi-k2-thinking-maas"
STAMP: Final = "@" + "0" * 18
"""Stands where a paced delta says when it was written, in nanoseconds of the monotonic clock."""

_WORDS: Final = (
    "so the user wants to know why a stream of tokens costs more than its bytes and I should first count what "
    'each layer does with one of them : parse , wrap , validate , join - naïve code copies "everything" again ; '
    "that grows with the square \n of the length which → nobody notices in a short `test` at all"
).split(" ")
_CALL_NAME: Final = "search"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One answer of the server.

    Its name is the first part of the URL's path, so that a client chooses it with its base URL.
    """

    thinking: int = 0
    """Deltas of thinking."""
    text: int = 0
    """Deltas of the answer."""
    calls: int = 0
    """Tool calls, all of the same tool."""
    fragments: int = 0
    """Deltas for each call's arguments."""
    write: Literal["burst", "each", "paced"] = "burst"
    """All deltas in one write, one write for each as fast as they are read, or one at a time with a pause."""
    pause: int = 0
    """Milliseconds between two paced deltas, each of which begins with the time of its writing."""
    whole: int = 0
    """Characters of an answer that is not streamed."""
    token: int = 0
    """Characters of each delta, for deltas of one token as servers send them; 0 for deltas of some words."""

    @property
    def name(self) -> str:
        """The name in the URL."""
        numbers = (self.thinking, self.text, self.calls, self.fragments, self.pause, self.whole, self.token)
        return "-".join([self.write, *map(str, numbers)])

    @classmethod
    def parse(cls, name: str) -> Scenario:
        """The scenario with this name.

        Raises:
            ValueError: There is no such scenario.
        """
        write, *numbers = name.split("-")
        thinking, text, calls, fragments, pause, whole, token = map(int, numbers)
        if write not in ("burst", "each", "paced"):
            raise ValueError(f"No scenario is named {name!r}.")
        return cls(thinking, text, calls, fragments, write, pause, whole, token)  # type: ignore[arg-type]

    @property
    def deltas(self) -> int:
        """How many deltas a stream has."""
        return self.thinking + self.text + self.calls * self.fragments

    def pieces(self) -> Iterator[tuple[Literal["thinking", "text"], str]]:
        """The text of the deltas, in order, without tool calls."""
        stamp = STAMP + " " if self.write == "paced" else ""
        for text in _texts(self.thinking, 1, self.token):
            yield "thinking", stamp + text
        for text in _texts(self.text, 2, self.token):
            yield "text", stamp + text

    def call_pieces(self) -> Iterator[tuple[int, str | None, str | None, str]]:
        """The tool calls' deltas: index, id, name and the next piece of the arguments."""
        for index in range(self.calls):
            arguments = json.dumps({"query": " ".join(_texts(self.fragments, 3 + index))}, ensure_ascii=False)
            size = -(-len(arguments) // self.fragments)
            for at in range(self.fragments):
                part = arguments[at * size : (at + 1) * size]
                first = at == 0
                yield (
                    index,
                    f"functions.{_CALL_NAME}:{index}" if first else None,
                    _CALL_NAME if first else None,
                    part,
                )

    def events(self) -> Iterator[bytes]:
        """The server-sent events of the stream."""
        yield _event({"role": "assistant", "content": ""})
        for kind, text in self.pieces():
            yield _event({"reasoning_content" if kind == "thinking" else "content": text})
        for index, call_id, name, part in self.call_pieces():
            function: dict[str, Any] = {"arguments": part}
            call: dict[str, Any] = {"index": index, "function": function}
            if name is not None:
                function["name"] = name
                call |= {"id": call_id, "type": "function"}
            yield _event({"tool_calls": [call]})
        yield _event({}, finish="tool_calls" if self.calls else "stop")
        yield _event(None)
        yield b"data: [DONE]\n\n"


@cache
def _texts(count: int, seed: int, token: int = 0) -> tuple[str, ...]:
    pick = random.Random(seed)
    if token:
        text = " ".join(pick.choices(_WORDS, k=count * token))
        return tuple(text[at * token : (at + 1) * token] for at in range(count))
    # The first piece has no white space around it, as a model's has none: a client may strip that.
    return tuple(
        (" " if at else "") + " ".join(pick.choices(_WORDS, k=pick.randint(2, 7))) for at in range(count)
    )


def _event(delta: dict[str, Any] | None, finish: str | None = None) -> bytes:
    chunk: dict[str, Any] = {
        "id": "chatcmpl-5f0c2a9e7b1d4c83",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": MODEL,
        "choices": [],
        "usage": None,
    }
    if delta is None:
        chunk["usage"] = _usage()
    else:
        chunk["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return b"data: " + _json(chunk) + b"\n\n"


def _usage() -> dict[str, Any]:
    return {
        "prompt_tokens": 321,
        "completion_tokens": 4321,
        "total_tokens": 4642,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 2100},
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def whole_body(characters: int) -> bytes:
    """An answer that is not streamed; a fifth of its characters is thinking."""
    text = "".join(_texts(characters // 10, 7))[:characters]
    cut = characters // 5
    message = {"role": "assistant", "content": text[cut:], "reasoning_content": text[:cut]}
    return _json(
        {
            "id": "chatcmpl-5f0c2a9e7b1d4c83",
            "object": "chat.completion",
            "created": 1767225600,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": _usage(),
        }
    )


def tool() -> dict[str, Any]:
    """The tool that the scenarios with tool calls need."""
    query = {"type": "string", "description": "What to look for."}
    parameters = {"type": "object", "properties": {"query": query}, "required": ["query"]}
    function = {"name": _CALL_NAME, "description": "Search the archive.", "parameters": parameters}
    return {"type": "function", "function": function}


def conversation(turns: int) -> list[dict[str, Any]]:
    """A conversation in OpenAI's form: each turn a question, thinking with a tool call, its result, an answer."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Answer from the archive."}]
    for turn in range(turns):
        call_id = f"functions.{_CALL_NAME}:{turn}"
        question, thoughts, result, answer = ("".join(_texts(n, turn)) for n in (6, 70, 50, 10))
        function = {"name": _CALL_NAME, "arguments": json.dumps({"query": question})}
        call = {"id": call_id, "type": "function", "function": function}
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": "", "reasoning_content": thoughts, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": result},
            {"role": "assistant", "content": answer, "reasoning_content": question},
        ]
    messages.append({"role": "user", "content": "And now?"})
    return messages
