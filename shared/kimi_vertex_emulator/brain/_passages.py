"""Answers from the passages that a prompt carries: finds them, and the sentences that fit the question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kimi_vertex_emulator.brain._words import alike, matches, stems

__all__ = ["Task", "best_sentences", "find_task", "sentences"]

_RULE = re.compile(r"^[ \t]*-{5,}[ \t]*$", re.MULTILINE)
_QUERY = re.compile(
    r"(?:^|\n)\s*(?:Query|Question|User question|The original (?:query|question) is as follows)\s*:\s*(?P<query>.+?)"
    r"\s*(?=\n\s*(?:We have provided|(?:Helpful |Original |Existing |Refined |New |Your )?Answer\b)|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_EXISTING = re.compile(
    r"(?:existing answer|Original Answer|Existing Answer)\s*:\s*(?P<answer>.+?)\s*"
    r"(?=\n\s*(?:We have the opportunity|New Answer|-{5,})|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_OPENING_TAG = re.compile(r"<(context|documents?|passages?|sources?)>", re.IGNORECASE)
_BLOCKS = (
    re.compile(r"\bNew Context:\s*(?P<block>.+?)\s*(?=\n\s*Query\s*:)", re.DOTALL),
    re.compile(
        r"(?:\bcontext|\bpassages|\bdocuments|\bsources)\b[^\n:]{0,60}:\s*\n?(?P<block>.+?)\s*(?=\n\s*(?:Question|Query|User question)\s*:|\Z)",
        re.DOTALL | re.IGNORECASE,
    ),
)
_ABOUT_CONTEXT = re.compile(
    r"\bcontext\b|\bpassages?\b|\bdocuments? below\b|\bsources below\b", re.IGNORECASE
)
_METADATA = re.compile(r"^(?:[a-z]+(?:_[a-z]+)+|source|title|page|url|Source \d+)\s*:.*$")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])(?:\s+|(?<=[。！？]))(?=\S)")
_LIST_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")
_RUNNERS_UP = 2
_CLOSE_ENOUGH = 0.75


@dataclass(frozen=True, slots=True)
class Task:
    """A question to be answered from passages."""

    question: str
    passages: str
    existing: str | None = None
    """The answer so far, where the prompt asks to refine one."""


def find_task(prompt: str, system: str) -> Task | None:
    """The task in a prompt, or in the system prompt with the user's message as the question."""
    block = _block(prompt)
    if block is not None:
        query = _QUERY.search(prompt.replace(block, "\n")) or _QUERY.search(prompt)
        existing = _EXISTING.search(prompt.replace(block, "\n"))
        asked = query["query"] if query else _RULE.split(prompt)[-1]
        return Task(asked.strip(), block, existing["answer"].strip() if existing else None)
    block = _block(system)
    if block is None:
        return None
    existing = _EXISTING.search(system)
    return Task(prompt.strip(), block, existing["answer"].strip() if existing else None)


def _block(text: str) -> str | None:
    ruled = _RULE.split(text)
    if len(ruled) >= 3 and _ABOUT_CONTEXT.search(text):
        # Passages may hold rules of their own: everything between the first and the last counts. In a
        # refining system prompt the last block is the answer so far.
        inner = ruled[1:-1]
        if len(inner) > 1 and inner[-1].lstrip().startswith("Existing Answer"):
            inner = inner[:-1]
        return "\n\n".join(inner).strip()
    # No pattern for the tags: it would search to the end once for each opening one.
    lower = text.lower()
    if tag := _OPENING_TAG.search(text):
        end = lower.find(f"</{tag[1].lower()}>", tag.end())
        if end >= 0 and text[tag.end() : end].strip():
            return text[tag.end() : end].strip()
    for pattern in _BLOCKS:
        if (match := pattern.search(text)) and match["block"].strip():
            return match["block"]
    return None


def sentences(passages: str) -> list[tuple[str, str]]:
    """Each sentence with the heading it stands under; metadata, code and tables are left out."""
    found: list[tuple[str, str]] = []
    heading, paragraph, fenced = "", "", False
    for line in [*passages.splitlines(), ""]:
        stripped = line.strip()
        if stripped.startswith("```"):
            fenced = not fenced
        starts_item = _LIST_ITEM.match(line) is not None
        ends = (
            not stripped
            or stripped[0] in "#|`"
            or stripped.count(" | ") > 1
            or starts_item
            or fenced
            or _METADATA.match(stripped)
        )
        if ends and paragraph:
            found += [(sentence, heading) for sentence in _SENTENCE_END.split(paragraph) if sentence.strip()]
            paragraph = ""
        if stripped.startswith("#"):
            heading = stripped.lstrip("# ")
        elif starts_item:
            paragraph = _LIST_ITEM.sub("", line).strip()
        elif not ends:
            paragraph = f"{paragraph} {stripped}".strip()
    return found


def best_sentences(question: str, passages: str) -> Sequence[str]:
    """The sentences that best match the question's words, in their order; empty if none does.

    Rare words count more than common ones, and a heading's words count half for what stands below.
    """
    candidates = list(dict.fromkeys(sentences(passages)))
    wanted = list(dict.fromkeys(stems(question)))
    bags = [(frozenset(stems(sentence)), frozenset(stems(heading))) for sentence, heading in candidates]
    spread = Counter(word for word in wanted for body, _ in bags if matches(word, body))
    scores: list[float] = []
    for body, heading in bags:
        score = 0.0
        for word in wanted:
            weight = math.log(1 + len(bags) / (1 + spread[word])) + 0.1
            score += weight if _in(word, body) else weight / 2 if _in(word, heading) and body else 0.0
        # What ends in a colon announces the answer instead of giving it.
        announces = candidates[len(scores)][0].endswith(":")
        scores.append(score * (0.5 if announces else 1.0) / (1 + 0.01 * len(body)))
    best = max(scores, default=0.0)
    if best <= 0 or not any(spread.values()):
        return []
    ranked = sorted(range(len(scores)), key=lambda index: -scores[index])[: 1 + _RUNNERS_UP]
    return [candidates[index][0] for index in sorted(ranked) if scores[index] >= best * _CLOSE_ENOUGH]


def _in(word: str, bag: frozenset[str]) -> bool:
    return word in bag or any(alike(word, other) for other in bag)
