"""The decoder's work grows with the length of an answer, not with its square."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from .support_decoder import TOOLS, Row, call, chunk, decoder

BEGIN = "<|tool_call_begin|>functions.note:0<|tool_call_argument_begin|>"

Delta = Callable[[int], dict[str, Any]]
TRIES = 3
"""A neighbour on the machine can make one comparison miss; quadratic work misses each by far."""


def arguments(number: int) -> dict[str, Any]:
    piece = '{"title": "' if number == 0 else "word "
    return {"tool_calls": [call(0, "c1" if number == 0 else None, "note" if number == 0 else None, piece)]}


def text(first: str, rest: str, key: str = "content") -> Delta:
    return lambda number: {key: first if number == 0 else rest}


KINDS: dict[str, tuple[Delta, bool]] = {
    "text": (text("a", " word"), False),
    "chinese": (text("a", "你好"), False),
    "lines": (text("a", "x\n"), False),
    "white space": (text("", " "), False),
    "white space after text": (text("a\n", "\n"), False),
    "thinking": (text("a", " word", "reasoning"), False),
    "thinking, closing tag, white space": (text("a</think>", " ", "reasoning"), False),
    "inline thinking": (text("<think>", " word"), False),
    "inline thinking, white space": (text("<think>a", " "), False),
    "implicit thinking": (text("a", " word"), True),
    "code block": (text("```\n", "x <y\n"), False),
    "code block with a token": (text("```\n<think>\n", "x\n"), False),
    "code spans": (text("a", "`b` "), False),
    "code that never ends": (text("a", "```x <|im_end|> "), False),
    "blocks that never end": (text("a", "```x\n<|im_end|>\n````x\n<|im_end|>\n"), False),
    "spans that never end": (text("a", "`<|im_end|>``<|im_end|>```<|im_end|>"), False),
    "backticks": (text("a", "`"), False),
    "look-alikes": (text("a", "<|"), False),
    "tags": (text("a", "<think>"), False),
    "arguments": (arguments, False),
    "leaked arguments": (text(BEGIN + '{"title": "', "word "), False),
    "leaked arguments with tokens": (text(BEGIN + '{"title": "', "<|tool_call_end|>word "), False),
    "leaked arguments that never end": (text("a", BEGIN + '{"title": "x'), False),
    "leaked arguments with one open string": (text(BEGIN + '{"a": "x', BEGIN + '{","'), False),
    "leaked call without arguments": (text("<|tool_call_begin|>", "word "), False),
    "leaked call without tokens": (text('functions.note:0{"title": "', "word "), False),
    "many leaked calls": (text("a", BEGIN + "{}<|tool_call_end|>"), False),
    "many calls": (lambda number: {"tool_calls": [call(number, f"c{number}", "clock", "{}")]}, False),
    "nameless calls": (lambda number: {"tool_calls": [call(number, f"c{number}", None, "{")]}, False),
    "cut characters": (text("a", "\ud83d"), False),
}


def seconds(delta: Delta, count: int, implicit: bool) -> float:
    """The CPU time of a stream."""
    data = [json.dumps(chunk(delta(number))) for number in range(count)]

    def read() -> None:
        reader = decoder(Row("growth", [], implicit=implicit, tools=TOOLS))
        for item in data:
            reader.feed(item)
        reader.finish()

    return least_seconds(read, 1)


def least_seconds(work: Callable[[], object], runs: int) -> float:
    """The least CPU time of some runs."""
    best = float("inf")
    for _ in range(runs):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def is_linear(cost: Callable[[int], float], size: int, floor: float) -> bool:
    """Whether ten times the size costs less than eighteen times as much, in one of some tries.

    Costs under the floor are too small to be measured.
    """
    return any(cost(10 * size) < 18 * max(cost(size), floor) for _ in range(TRIES))


@pytest.mark.parametrize("kind", KINDS)
def test_linear(kind: str) -> None:
    """Ten times the deltas take about ten times as long; quadratic work would take a hundred times."""
    delta, implicit = KINDS[kind]
    assert is_linear(lambda count: seconds(delta, count, implicit), 200, 0.001)


WHOLE = {
    "plain": "so the user wants to know ",
    "code": "Use `List<int>` here:\n\n```python\nif a < b:\n    return `x`\n```\n\n",
    "markup": "<div><b>word</b> and a < b | c</div>\n",
    "begun tags": "<",
    "backticks": "`",
    "begun tokens": "<|tool_call_begin",
    "begun triangles": "◁",
    "halves of characters": "\ud83d",
    "tokens": "word <|im_user|>\n",
    "tokens in code": "`<|im_end|>` and\n```\n<think>\n```\n",
    "blocks that never end": "```x\n<|im_end|>\n````x\n<|im_end|>\n",
    "look-alikes of calls": "clock:1\nfunctions.clock:\n",
}


def whole_seconds(unit: str, length: int, runs: int = 1) -> float:
    """The CPU time of one answer that arrives in one piece, in both fields."""
    piece = (unit * (length // len(unit) + 1))[:length]
    body = {"choices": [{"message": {"content": piece, "reasoning": piece}, "finish_reason": "stop"}]}

    def read() -> None:
        reader = decoder(Row("growth", [], tools=TOOLS))
        reader.feed_body(body)
        reader.finish()

    return least_seconds(read, runs)


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_linear(kind: str) -> None:
    """An answer of ten times the length, in one piece, takes about ten times as long."""
    assert is_linear(lambda length: whole_seconds(WHOLE[kind], length), 6_000, 0.001)


@pytest.mark.parametrize("kind", ["plain", "code", "markup"])
def test_whole_cost(kind: str) -> None:
    """To look for what does not belong into an ordinary answer takes no longer than a few times its JSON."""
    data = json.dumps((WHOLE[kind] * 10_000)[:200_000])
    reading = least_seconds(lambda: json.loads(data), 5)
    assert whole_seconds(WHOLE[kind], 200_000, 3) < 10 * reading
