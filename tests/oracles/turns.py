"""Writes raw outputs of Kimi K3 and of K2, whole, cut off or out of order."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.core.answer.fuzz_k3 import IN_VALUES, WORDS, turn
from tests.core.answer.support_k3_turns import close, opened

from .engines import TOOLS, Family

__all__ = ["Output", "write"]

_MARKER = re.compile(r"<\|(?:open|close)\|>[^<]*<\|sep\|>|<\|[a-z_]+\|>|</?think>")
_BLANKS: Sequence[str] = ("", "", "", "\n", "\n\n", " ")
_ELEMENTS: Sequence[str] = (
    *(mark(name) for name in ("think", "response", "tools") for mark in (opened, close)),
    close("call"),
    close("argument"),
    close("message"),
    opened("call", tool="f", index="1"),
    opened("argument", key="a", type="string"),
)
_TOKENS: Sequence[str] = (
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<think>",
    "</think>",
)


@dataclass(frozen=True)
class Output:
    """What a model wrote."""

    family: Family
    raw: str
    cut: bool
    """Whether it broke off."""
    damage: str
    """What is wrong with it: `""`, `cut`, or what was done to one of its markers."""


def write(seed: int) -> Output:
    """An output, the same for each seed."""
    chance = random.Random(seed)
    family: Family = "k3" if seed % 3 else "k2"
    raw = _k3(chance) if family == "k3" else _k2(chance)
    damage = chance.choice(("", "", "cut", "lost", "added"))
    if damage == "cut":
        raw = raw[: chance.randrange(len(raw) + 1)]
    elif damage:
        raw = _damaged(raw, damage, _ELEMENTS if family == "k3" else _TOKENS, chance)
    return Output(family, raw, damage == "cut", damage)


def _damaged(raw: str, damage: str, markers: Sequence[str], chance: random.Random) -> str:
    """The output with one marker less, or one more."""
    places = list(_MARKER.finditer(raw))
    if not places:
        return raw
    place = chance.choice(places)
    if damage == "lost":
        return raw[: place.start()] + raw[place.end() :]
    inside = {at for other in places for at in range(other.start() + 1, other.end())}
    outside = [at for at in range(len(raw) + 1) if at not in inside]
    at = chance.choice((place.start(), place.end(), chance.choice(outside)))
    return raw[:at] + chance.choice(markers) + raw[at:]


def _k3(chance: random.Random) -> str:
    made = turn(chance)
    texts = [text for delta in made.deltas for text in delta.values()]
    return close("think").join(texts).removesuffix("<|end_of_msg|>")  # at which the engines stop


def _prose(chance: random.Random, most: int = 6) -> str:
    return "".join(chance.choice(WORDS) for _ in range(chance.randint(0, most)))


def _k2_call(chance: random.Random, number: int) -> str:
    name, keys = chance.choice(TOOLS)
    values = {key: chance.choice((7, None, [1], {"b": ""}, chance.choice(IN_VALUES))) for key in keys}
    written = json.dumps(values, ensure_ascii=False)
    blank = chance.choice(_BLANKS)
    prefix = chance.choice(("functions.", "functions.", ""))
    return (
        f"<|tool_call_begin|>{blank}{prefix}{name}:{number}{blank}"
        f"<|tool_call_argument_begin|>{blank}{written}{blank}<|tool_call_end|>"
    )


def _k2(chance: random.Random) -> str:
    begin = chance.choice(("", "<think>"))
    gap = chance.choice(_BLANKS)
    raw = f"{begin}{gap}A{_prose(chance)}{gap}</think>{gap}"
    if chance.random() < 0.7:
        raw += "B" + _prose(chance)
    if chance.random() < 0.6:
        first = chance.choice((0, 0, 4))
        calls = gap.join(_k2_call(chance, first + n) for n in range(chance.randint(1, 3)))
        raw += f"{gap}<|tool_calls_section_begin|>{gap}{calls}{gap}<|tool_calls_section_end|>"
    return raw
