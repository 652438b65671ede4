"""Prompts of LlamaIndex's own components that expect an answer in a certain form.

Templates: https://github.com/run-llama/llama_index/tree/main/llama-index-core/llama_index/core (selectors,
question_gen, evaluation, chat_engine, prompts). Best effort: a prompt that is not recognised gives `None`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from kimi_vertex_emulator.brain._passages import best_sentences
from kimi_vertex_emulator.brain._words import shared

__all__ = ["best_choice", "known_values", "prompt_answer"]

_CHOICE = re.compile(r"^\((\d+)\)\s*(.*?)(?=^\(\d+\)|\Z)", re.MULTILINE | re.DOTALL)
_CHOICE_QUESTION = re.compile(r"relevant to (?:the )?question:\s*'(.*?)'\s*$", re.MULTILINE | re.DOTALL)
_DOCUMENT = re.compile(r"^Document (\d+):\s*(.*?)(?=^Document \d+:|^Question:|\Z)", re.MULTILINE | re.DOTALL)
_FOLLOW_UP = re.compile(
    r"(?:<Follow Up Message>|Follow Up (?:Input|Message|question):)\s*(.+?)\s*(?=<Standalone question>|Standalone question:|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_INFORMATION = re.compile(r"\bInformation:\s*(.*?)\s*\n\s*Context:\s*(.*?)\s*(?:\n\s*)?Answer:", re.DOTALL)
_RELEVANCY = re.compile(r"Query and Response:\s*(.*?)\s*Context:\s*(.*?)\s*Answer:", re.DOTALL)
_REFINED = re.compile(
    r"(?:context information:|query and response:)\s*(.*?)\s*We have provided an existing YES/NO answer:\s*(\w+).*?"
    r"-{5,}\s*(.*?)\s*-{5,}",
    re.DOTALL | re.IGNORECASE,
)
_GRADED = re.compile(
    r"## User Query\s*(.*?)\s*## Reference Answer\s*(.*?)\s*## Generated Answer\s*(.*)", re.DOTALL
)
_LAST_RULE = re.compile(r"\n-{5,}\s*\nUsing only")
_SUPPORTED = 0.6


def prompt_answer(prompt: str) -> str | None:
    """The answer to a prompt of a known form."""
    answers: tuple[Callable[[str], str | None], ...] = (
        _choice,
        _sub_questions,
        _reranking,
        _verdict,
        _grade,
        _standalone,
        _queries,
        _summary,
    )
    return next((answer for read in answers if (answer := read(prompt)) is not None), None)


def known_values(prompt: str) -> dict[str, Any]:
    """Values by property name that the form of the prompt settles, for structured answers and calls."""
    if (found := best_choice(prompt)) is not None:
        number, reason = found
        return {"index": number, "choice": number, "reason": reason}
    if pairs := _question_pairs(prompt):
        return {"items": pairs, "sub_questions": pairs}
    return {}


def best_choice(prompt: str) -> tuple[int, str] | None:
    """Number of the best choice in a selector's prompt and why; `None` if it is no such prompt."""
    asked = _CHOICE_QUESTION.search(prompt)
    if "Some choices are given below" not in prompt or asked is None:
        return None
    choices = [
        (int(number), text.strip())
        for number, text in _CHOICE.findall(_LAST_RULE.split(prompt[: asked.start()])[0])
    ]
    if not choices:
        return None
    number, text = max(choices, key=lambda choice: shared(asked[1], choice[1]))
    return number, f"the emulator finds most of the question's words in: {' '.join(text.split())[:80]}"


def _choice(prompt: str) -> str | None:
    found = best_choice(prompt)
    if found is None:
        return None
    number, reason = found
    if "ANSWER:" in prompt:
        return f"ANSWER: {number}\n{reason}"
    return json.dumps([{"choice": number, "reason": reason}])


def _question_pairs(prompt: str) -> list[dict[str, str]]:
    """A sub-question for each tool that a question generator's prompt lists."""
    tools = list(
        re.finditer(
            r"<Tools>\s*(?:```json)?\s*(\{.*?\})\s*(?:```)?\s*<User Question>\s*(.*?)\s*(?=<Output>|\Z)",
            prompt,
            re.DOTALL,
        )
    )
    if not tools:
        return []
    try:
        described = json.loads(tools[-1][1])
    except ValueError:
        return []
    question = tools[-1][2].strip()
    fitting = [
        name for name, text in described.items() if shared(f"{name} {text}".replace("_", " "), question) > 0
    ]
    return [{"sub_question": question, "tool_name": name} for name in fitting or described]


def _sub_questions(prompt: str) -> str | None:
    pairs = _question_pairs(prompt)
    return f"```json\n{json.dumps({'items': pairs}, indent=4, ensure_ascii=False)}\n```" if pairs else None


def _reranking(prompt: str) -> str | None:
    if "Relevance:" not in prompt or "Doc:" not in prompt:
        return None
    shown = prompt[prompt.rfind("Let's try this now:") :]
    question = re.search(r"^Question:\s*(.*)", shown, re.MULTILINE)
    if question is None:
        return None
    graded = [
        (int(number), round(10 * shared(question[1], text))) for number, text in _DOCUMENT.findall(shown)
    ]
    lines = [
        f"Doc: {number}, Relevance: {grade}"
        for number, grade in sorted(graded, key=lambda pair: -pair[1])
        if grade
    ]
    return "\n".join(lines) or "No document is relevant."


def _verdict(prompt: str) -> str | None:
    """YES or NO for the faithfulness and relevancy evaluators; the last example in the prompt is the task."""
    if "YES" not in prompt or "NO" not in prompt:
        return None
    if refined := _REFINED.search(prompt):
        return "YES" if refined[2].upper() == "YES" or shared(refined[1], refined[3]) >= _SUPPORTED else "NO"
    if relevancy := _RELEVANCY.search(prompt):
        return "YES" if shared(relevancy[1], relevancy[2]) >= _SUPPORTED else "NO"
    complete = prompt.rfind("Answer:") > prompt.rfind("Information:") >= 0
    cases = _INFORMATION.findall(prompt) if complete else []
    if not cases:
        return None
    information, context = cases[-1]
    return "YES" if shared(information, context) >= _SUPPORTED else "NO"


def _grade(prompt: str) -> str | None:
    graded = _GRADED.search(prompt)
    if graded is None:
        return None
    likeness = shared(graded[2], graded[3])
    grade = 1 + round(8 * likeness) / 2
    return f"{grade:.1f}\nThe emulator finds {likeness:.0%} of the reference answer's words in the generated answer."


def _standalone(prompt: str) -> str | None:
    follow_up = _FOLLOW_UP.search(prompt)
    return follow_up[1].strip() if follow_up and "tandalone" in prompt else None


def _queries(prompt: str) -> str | None:
    asked = re.search(
        r"[Gg]enerate (\d+) search queries.*?Query:\s*(.+?)\s*(?:Queries:|\Z)", prompt, re.DOTALL
    )
    if asked is None:
        return None
    forms = ("{}", "{} explained", "{} details", "{} example", "background of {}")
    return "\n".join(forms[index % len(forms)].format(asked[2].rstrip("?")) for index in range(int(asked[1])))


def _summary(prompt: str) -> str | None:
    match = re.search(r"Write a summary of the following\..*?\n\n(.*?)\s*SUMMARY:", prompt, re.DOTALL)
    if match is None:
        return None
    text = " ".join(match[1].split())
    return " ".join(best_sentences(text[:400], match[1])) or text[:200]
