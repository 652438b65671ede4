"""How real engines send the thinking of Kimi K2: the field, and a closing tag that vLLM loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._tools import DeclaredTools
from kimi_vertex.completion import Completion, accumulate

from .support_decoder import TOOLS, chunk, run_chunks
from .support_engines import say, think, think_sglang

__all__ = ["FIELDS", "LOST_TAGS", "FieldRow", "LostTagRow", "run_lost_tag"]


@dataclass(frozen=True)
class FieldRow:
    """Which field a server writes its thinking in, and so reads it from."""

    name: str
    deltas: Sequence[Mapping[str, Any]]
    field: str


FIELDS = [
    FieldRow("vLLM since 0.16, both front ends", [think("a"), say("b")], "reasoning"),
    FieldRow("SGLang, Moonshot, LiteLLM", [think_sglang("a"), say("b")], "reasoning_content"),
    FieldRow(
        "both with one text: it reads both, and the first is the older",
        [{"reasoning_content": "a", "reasoning": "a"}],
        "reasoning_content",
    ),
    FieldRow("details alone", [{"reasoning_details": [{"type": "reasoning.text", "text": "a"}]}], ""),
    FieldRow(
        "an empty field beside one with text", [{"reasoning_content": "", "reasoning": "a"}], "reasoning"
    ),
    FieldRow("nulls say nothing", [{"reasoning_content": None, "content": "b"}], ""),
    FieldRow("no thinking", [say("b")], ""),
]


@dataclass(frozen=True)
class LostTagRow:
    """A stream of vLLM 0.25 to 0.33 behind earlier turns: thinking arrives in the content, its closing tag never."""

    name: str
    pieces: Sequence[tuple[str, int, int]]
    """A chunk's content, and the completion and thinking tokens so far that its usage tells."""
    text: str
    thinking: str
    continuous: bool = True
    """Whether each chunk has a usage; else only the last one."""
    stop: Sequence[str] = ()
    """The request's stop texts: with them, vLLM's texts lag behind its counts."""
    total: int = 0
    empty: str | None = None
    cause: bool = False
    """Whether the completion says that the closing tag was lost."""


LOST_TAGS = [
    LostTagRow(
        "a token to a chunk",
        [("<think>", 1, 0), ("Let", 2, 1), (" me", 3, 2), ("It is", 5, 2), (" four.", 6, 2)],
        "It is four.",
        "Let me",
        total=7,
    ),
    LostTagRow(
        "the closing tag at a chunk's end",
        [("<think>Let", 2, 1), (" me", 4, 2), ("It is four.", 7, 2)],
        "It is four.",
        "Let me",
        total=8,
    ),
    LostTagRow(
        "blank lines before the answer",
        [("<think>Let me", 3, 2), ("\n\n", 5, 2), ("Four.", 6, 2)],
        "Four.",
        "Let me",
        total=7,
    ),
    LostTagRow("empty thinking", [("<think>", 1, 0), ("Four", 3, 0), (".", 4, 0)], "Four.", "", total=5),
    LostTagRow(
        "the border is inside a chunk: not proven",
        [("<think>Let", 2, 1), (" meIt is", 5, 2), (" four.", 6, 2)],
        "",
        "Let meIt is four.",
        total=7,
        empty="thinking_only",
        cause=True,
    ),
    LostTagRow(
        "only the last usage: not proven, but known",
        [("<think>", 1, 0), ("Let me", 3, 2), ("It is", 5, 2), (" four.", 6, 2)],
        "",
        "Let meIt is four.",
        continuous=False,
        total=7,
        empty="thinking_only",
        cause=True,
    ),
    LostTagRow(
        "stop texts: counts run ahead of the text",
        [("<think>", 1, 0), ("Let", 3, 2), (" meIt", 5, 2), (" is four.", 6, 2)],
        "",
        "Let meIt is four.",
        stop=["END"],
        total=7,
        empty="thinking_only",
        cause=True,
    ),
    LostTagRow(
        "thinking alone, and nothing lost",
        [("<think>", 1, 0), ("Let", 2, 1), (" me", 3, 2)],
        "",
        "Let me",
        total=4,
        empty="thinking_only",
    ),
]


def run_lost_tag(lost: LostTagRow) -> Completion:
    """The row as a stream; its request's history has an earlier turn."""
    usages = [
        {
            "prompt_tokens": 9,
            "completion_tokens": done,
            "total_tokens": 9 + done,
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
        for done, thought in [(0, 0), *((done, thought) for _, done, thought in lost.pieces)]
    ]
    texts = ["", *(text for text, _, _ in lost.pieces)]
    chunks = [
        {**chunk(say(text)), **({"usage": usage} if lost.continuous else {})}
        for text, usage in zip(texts, usages, strict=True)
    ]
    last = {**usages[-1], "completion_tokens": lost.total, "total_tokens": 9 + lost.total}
    end = [chunk({}, "stop"), {"id": "answer-1", "choices": [], "usage": last}]
    reader = Decoder(tools=DeclaredTools.of(TOOLS), split_by_usage=not lost.stop)
    return accumulate(run_chunks(reader, [*chunks, *end]))
