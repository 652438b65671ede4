"""What the brain does with a conversation: call tools, answer in JSON, from results, from passages, or freely."""

from __future__ import annotations

from collections.abc import Sequence

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator.brain._instructions import obedient, readable
from kimi_vertex_emulator.brain._json_answer import structured_answer, without_json
from kimi_vertex_emulator.brain._passages import best_sentences, find_task
from kimi_vertex_emulator.brain._plan import Exchange, exchange, next_calls
from kimi_vertex_emulator.brain._prompts import known_values, prompt_answer
from kimi_vertex_emulator.brain._schema import Sources
from kimi_vertex_emulator.brain._tidy import tidied
from kimi_vertex_emulator.brain._values import Values, squeezed
from kimi_vertex_emulator.script import Call, Turn

__all__ = ["respond"]

_SELF = "I am the kimi-vertex emulator."
_LONGEST_ECHO = 160
_NOT_FOUND = "The passages do not answer this (says the kimi-vertex emulator)."


def respond(chat: ChatRequest, pace: float = 0.0) -> Turn:
    """The turn with which the brain answers.

    Args:
        chat: The request.
        pace: Seconds between two events when streamed.
    """
    chat = tidied(readable(obedient(chat)))
    now = exchange(chat)
    known = known_values(now.question)
    if calls := next_calls(chat, now, known):
        return Turn(thinking=_thought(chat, _about_calls(calls)), tool_calls=calls, pause=pace)
    why, text = _answer(chat, now)
    sources = Sources(
        texts=[Values(without_json(now.question)), *(Values(result) for _, result in reversed(now.results))],
        free_text=_short(now.question),
        answer=text,
        prose=True,
        chosen=known,
    )
    if (structured := structured_answer(chat, _prompt(chat, now), sources)) is not None:
        why, text = "JSON is wanted, so I fill in the schema.", structured
    return Turn(thinking=_thought(chat, why), text=text, pause=pace)


def _thought(chat: ChatRequest, why: str) -> str | None:
    return f"{_SELF} {why}" if chat.thinking else None


def _about_calls(calls: Sequence[Call]) -> str:
    return f"This needs {' and '.join(call.name for call in calls)}, so I call {'it' if len(calls) == 1 else 'them'}."


def _prompt(chat: ChatRequest, now: Exchange) -> str:
    system = "\n".join(message.text for message in chat.messages if message.role == "system")
    return f"{system}\n{now.question}"


def _answer(chat: ChatRequest, now: Exchange) -> tuple[str, str]:
    """Why the brain answers so, and the answer."""
    if now.results:
        return "The tools have answered, nothing is left to call.", _from_results(now)
    if chat.messages[-1].role == "assistant":
        return "I go on where the answer stopped.", " and so on, as the kimi-vertex emulator continues it."
    prompt = squeezed(now.question)
    if (formal := prompt_answer(prompt)) is not None:
        return "This prompt wants an answer in a certain form.", formal
    system = "\n".join(message.text for message in chat.messages if message.role == "system")
    task = find_task(prompt, squeezed(system))
    if task is not None:
        found = best_sentences(task.question, task.passages)
        if task.existing is not None:
            return "An answer exists, I see whether the new passages add to it.", _refined(
                task.question, task.existing, found
            )
        if found:
            return f"Looking for: {_short(task.question)} The passages say something about it.", " ".join(
                found
            )
        return f"Looking for: {_short(task.question)} The passages say nothing about it.", _NOT_FOUND
    echo = _short(now.question) or "nothing"
    return (
        "Nobody gave me tools or passages for this.",
        f"This is the kimi-vertex emulator, not a Kimi model. It was asked: “{echo}”",
    )


def _from_results(now: Exchange) -> str:
    return "\n".join(f"{name} says: {text}" for name, text in now.results)


def _refined(question: str, existing: str, found: Sequence[str]) -> str:
    """The better of the answer so far and what the new passages say."""
    if not found or existing in found:
        return existing
    fresh = " ".join(found)
    if existing == _NOT_FOUND:
        return fresh
    best = best_sentences(question, f"{existing}\n\n{fresh}")
    return " ".join(best) or existing


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_ECHO else text[: _LONGEST_ECHO - 1] + "…"
