"""Writes turns of Kimi K3 at random, as servers may pass them on, and checks that they are read as they were meant.

Run `python -m tests.core.answer.fuzz_k3 --runs 100000` for a long run; the test suite makes a short one.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._tools import DeclaredTools
from kimi_vertex.completion import Completion, accumulate
from tests.core.answer.support_decoder import chunk, random_cuts
from tests.core.answer.support_k3_turns import argument, close, opened

__all__ = ["one_run"]

NAMES = ("f", "get_weather", "wiki.find", "mcp__a__find-page")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in NAMES]
WORDS = (
    "a", "b7", "é", "世界", "\N{ROCKET}", " ", "  ", "\n", "\n\n", "\t", "<", "<|", "|>", "<|o", "<|clo", "&amp;", "&quot;",
    '"', "\\", "{", "}", "[1]", "think", "response tools", "<|open|>b<|sep|>", "<|sep|>", "<|close|> x", "functions.f:0", "a < b", "x" * 600,
)  # fmt: skip
IN_VALUES = (
    *WORDS,
    "<|tool_call_end|>",
    "<|close|>call<|sep|>",
    "<|open|>think<|sep|>",
    "`",
    "```\n",
    "<|im_end|>",
)
JSON_VALUES = (
    "7",
    "-1.50",
    "1e9",
    "123456789012345678901",
    "true",
    "false",
    "null",
    '{"a": [1, {"b": ""}]}',
    "[]",
    '"s"',
)
_SPECIAL = re.compile(
    r"<\|(?:open|close)\|>\s*(?:think|response|tools|message|call|argument)\b[^<]*<\|sep\|>|<\|end_of_msg\|>"
    r"|<\|tool_call|<\|im_"
)


@dataclass
class Turn:
    """A turn as it was meant, and as it is sent."""

    thinking: str | None
    text: str
    calls: list[tuple[str, str]]
    deltas: list[Mapping[str, Any]]
    implicit: bool
    ends: list[int] = field(default_factory=list)
    """Where each call ends in the text of the only delta."""


def _words(chance: random.Random, most: int = 6) -> str:
    return "".join(chance.choice(WORDS) for _ in range(chance.randint(0, most)))


def _prose(chance: random.Random) -> str:
    """Text that does not begin with white space, and is not blank."""
    return "A" + _words(chance)


def _argument(chance: random.Random, key: str) -> tuple[str, str]:
    """An argument in K3's notation, and its value as JSON."""
    if chance.random() < 0.6:
        value = "".join(chance.choice(IN_VALUES) for _ in range(chance.randint(0, 5)))
        return argument(key, "string", value), json.dumps(value, ensure_ascii=False)
    value = chance.choice(JSON_VALUES)
    kind = chance.choice(("number", "boolean", "null", "object", "array", "integer"))
    blank = chance.choice(("", " ", "\n"))
    return argument(key, kind, f"{blank}{value}{blank}"), value


def _call(chance: random.Random, index: int) -> tuple[str, tuple[str, str]]:
    name = chance.choice(NAMES)
    keys = chance.sample(("a", "key", "é", "with space"), chance.randint(0, 3))
    members = [(key, *_argument(chance, key)) for key in keys]
    gap = chance.choice(("", "", "\n  "))
    body = gap.join(written for _, written, _ in members)
    arguments = ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {value}" for key, _, value in members)
    return opened("call", tool=name, index=str(index)) + body + close("call"), (name, f"{{{arguments}}}")


def _section(chance: random.Random, start: int = 1) -> tuple[str, list[tuple[str, str]]]:
    made = [_call(chance, start + n) for n in range(chance.randint(1, 3))]
    gap = chance.choice(("", "", "\n"))
    return opened("tools") + gap.join(text for text, _ in made) + close("tools"), [call for _, call in made]


def _k2_call(chance: random.Random, number: int) -> tuple[str, tuple[str, str]]:
    name = chance.choice(NAMES)
    value = json.dumps({"a": _words(chance, 2)}, ensure_ascii=False)
    call = f"<|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>{value}<|tool_call_end|>"
    return f"<|tool_calls_section_begin|>{call}<|tool_calls_section_end|>", (name, value)


def _tools(chance: random.Random, *, mixed: bool) -> tuple[str, list[tuple[str, str]]]:
    if chance.random() < 0.3:
        return "", []
    text, calls = _section(chance)
    if chance.random() < 0.15:
        more, others = _section(chance)
        text, calls = text + more, calls + others
    if mixed:
        more, call = _k2_call(chance, len(calls))
        text, calls = text + more, [*calls, call]
    return text, calls


def turn(chance: random.Random, *, mixed: bool = False) -> Turn:
    """A random turn in a random shape."""
    tools, calls = _tools(chance, mixed=mixed)
    end = chance.choice(("", close("message"), close("message") + "<|end_of_msg|>"))
    text = _prose(chance)
    if chance.random() < 0.2:
        return Turn(None, text, calls, [{"content": text + close("response") + tools + end}], implicit=False)
    thinking = _prose(chance)
    written = chance.choice(("marked", "marked", "unopened", "none"))
    if written == "marked" and chance.random() < 0.3:
        text += " a <think> b </think> c"  # no token of K3's
    shape = chance.choice(("content", "content", "field", "apart"))
    if shape == "apart":
        thinking += "."  # a half token at a field's end is not shown
    if written == "unopened":
        text += "."
    if written == "none":
        text = ""
    answer = {"marked": opened("response") + text + close("response"), "unopened": text, "none": ""}[written]
    spaced = " " if chance.random() < 0.1 else ""
    begin = opened("think") if chance.random() < 0.3 else ""
    rest = answer + tools + end
    if spaced:
        rest = rest.replace("<|close|>response", "<|close|> response").replace(
            "<|open|>tools<", "<|open|> tools <"
        )
    if shape == "apart":
        return Turn(
            thinking, text, calls, [{"reasoning_content": thinking}, {"content": rest}], implicit=True
        )
    whole = begin + thinking + close("think") + rest
    key = "content" if shape == "content" else "reasoning_content"
    return Turn(thinking, text, calls, [{key: whole}], implicit=True)


def one_run(seed: int) -> None:
    """Write one turn and check what is read of it."""
    chance = random.Random(seed)
    made = turn(chance, mixed=seed % 4 == 3)
    whole = _read(made, made.deltas, whole=True)
    assert (whole.thinking, whole.text) == (made.thinking, made.text), (seed, made, whole)
    assert [(call.name, call.arguments) for call in whole.tool_calls] == made.calls, (seed, made, whole)
    assert not whole.invalid_tool_calls, (seed, made, whole)
    assert len({call.id for call in whole.tool_calls}) == len(made.calls)
    streamed = _read(made, random_cuts(made.deltas, chance))
    assert streamed == whole, (seed, made, streamed)
    _check_cut(made, seed, chance)


def _check_cut(made: Turn, seed: int, chance: random.Random) -> None:
    """A turn that breaks off makes no call that was not whole, and shows no token."""
    *first, last = made.deltas
    ((key, raw),) = last.items()
    at = chance.randrange(len(raw) + 1)
    deltas: list[Mapping[str, Any]] = [*first, {key: raw[:at]}]
    cut = _read(made, deltas, whole=True, reason="length")
    assert _read(made, random_cuts(deltas, chance), reason="length") == cut, (seed, deltas, cut)
    found = [(call.name, call.arguments) for call in cut.tool_calls]
    assert found == made.calls[: len(found)], (seed, deltas, cut)
    assert len(found) <= raw[:at].count(close("call")) + raw[:at].count("<|tool_call_end|>") + 1
    for shown in (cut.text, cut.thinking or ""):
        assert not _SPECIAL.search(shown), (seed, deltas, cut)


def _read(
    made: Turn, deltas: Sequence[Mapping[str, Any]], *, whole: bool = False, reason: str = "stop"
) -> Completion:
    reader = Decoder(tools=DeclaredTools.of(TOOLS), implicit_thinking=made.implicit)
    if whole:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        for delta in deltas:
            message.update(delta)
        choice = {"index": 0, "message": message, "finish_reason": reason}
        events = reader.feed_body({"id": "answer-1", "choices": [choice]})
    else:
        events = []
        for delta in [*map(chunk, deltas), chunk({}, reason)]:
            events += reader.feed(json.dumps(delta))
    completion = accumulate(events + reader.finish())
    assert completion == reader.completion
    return completion


def main() -> None:
    """Make many runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    for seed in range(options.seed, options.seed + options.runs):
        one_run(seed)
    print(  # noqa: T201
        f"{options.runs} turns in {time.monotonic() - started:.0f} s: all read as they were meant"
    )


if __name__ == "__main__":
    main()
