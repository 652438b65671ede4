"""Which requests a scripted answer is for, and which answers come in which order. Plain logic, no I/O."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Self, TypeAlias

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator.script import Answer, Fault, Raw, Recorded, Turn

__all__ = ["Brain", "Match", "Rule", "TextMatch"]

TextMatch: TypeAlias = str | re.Pattern[str] | Callable[[str], bool]
"""A substring (case counts), a pattern that is searched for, or a function that decides."""

Brain: TypeAlias = Callable[[ChatRequest], Turn | Raw | Fault | str | None]
"""A function that answers: a `str` is the text of a turn, `None` leaves it to what comes next."""


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions on a chat request; all that are set have to hold."""

    text: TextMatch | None = None
    """What the user said last."""
    anywhere: TextMatch | None = None
    """All texts of the history, joined by newlines."""
    system: TextMatch | None = None
    """The system messages, joined by newlines."""
    result: TextMatch | None = None
    """The last message, if it is a tool's result; anything else does not match."""
    tools: Collection[str] | None = None
    """Names of tools that the request declares, among others; an empty collection: it declares none."""
    turn: int | None = None
    """How many assistant messages the history has: 0 in the first turn."""
    model: str | None = None
    """The model's name; `*` and `?` are wildcards."""
    path: str | None = None
    """The request's path; `*` and `?` are wildcards."""
    headers: Mapping[str, TextMatch] = field(default_factory=dict)
    """Headers by name, case does not count there; a missing one is the empty text."""
    when: Callable[[ChatRequest], bool] | None = None
    """Any further condition."""

    def __call__(self, chat: ChatRequest, request: Recorded) -> bool:
        """Whether the request fulfils all conditions."""
        return next(self._unmet(chat, request), None) is None

    def unmet(self, chat: ChatRequest, request: Recorded) -> list[str]:
        """The conditions that a request does not fulfil, by name."""
        return list(self._unmet(chat, request))

    def _unmet(self, chat: ChatRequest, request: Recorded) -> Iterator[str]:
        declared = {tool.name for tool in chat.tools}
        if self.tools is not None and not (set(self.tools) <= declared if self.tools else not declared):
            yield "tools"
        if self.turn is not None and self.turn != sum(m.role == "assistant" for m in chat.messages):
            yield "turn"
        if self.model is not None and not fnmatchcase(chat.model, self.model):
            yield "model"
        if self.path is not None and not fnmatchcase(request.path, self.path):
            yield "path"
        yield from (name for name, text in self._texts(chat) if not _holds(getattr(self, name), text))
        for name, match in self.headers.items():
            if not _holds(match, request.headers.get(name.lower(), "")):
                yield f"header {name}"
        if self.when is not None and not self.when(chat):
            yield "when"

    def _texts(self, chat: ChatRequest) -> list[tuple[str, str | None]]:
        messages = chat.messages
        spoken = [message.text for message in messages if message.role == "user"]
        system = [message.text for message in messages if message.role == "system"]
        last = messages[-1]
        return [
            ("text", spoken[-1] if spoken else ""),
            ("anywhere", "\n".join(message.text for message in messages)),
            ("system", "\n".join(system)),
            ("result", last.text if last.role == "tool" else None),
        ]

    def __str__(self) -> str:
        parts = [f"{name}={_shown(getattr(self, name))}" for name in self.__slots__ if getattr(self, name)]
        parts += ["turn=0"] if self.turn == 0 else []
        return ", ".join(parts) or "any request"


def _holds(match: TextMatch | None, text: str | None) -> bool:
    if match is None:
        return True
    if text is None:
        return False
    if isinstance(match, str):
        return match in text
    return match.search(text) is not None if isinstance(match, re.Pattern) else bool(match(text))


def _shown(value: Any) -> str:
    if isinstance(value, re.Pattern):
        return f"/{value.pattern}/"
    return getattr(value, "__name__", None) or repr(value)


class Rule:
    """Answers for the requests that match; made by `Emulator.on` or `Script.on`.

    Answers of `answer` are given once each, in order. When they are used up, the rule answers no more, unless
    `always` or `by` say otherwise; the next rule that matches has its turn.

    Args:
        match: For which requests.
    """

    def __init__(self, match: Match | None = None) -> None:
        self.match = match or Match()
        self._queue: deque[Answer] = deque()
        self._always: Answer | Brain | None = None
        self.used = 0
        """How often it has answered."""

    def answer(self, *answers: Answer | str, times: int = 1) -> Self:
        """Adds answers to the sequence.

        Args:
            answers: Turns, raw answers or faults; a `str` is a turn with that text.
            times: How often the whole of them is given, default once.

        Raises:
            TypeError: An answer is something else.
            ValueError: No answer is given, or `times` is less than 1.
        """
        if not answers or times < 1:
            raise ValueError(f"answer() needs an answer, and times from 1; got {len(answers)} and {times}")
        self._queue.extend([as_answer(answer) for answer in answers] * times)
        return self

    def always(self, answer: Answer | str) -> Self:
        """What to answer whenever the sequence is used up.

        Raises:
            TypeError: It is no answer.
        """
        self._always = as_answer(answer)
        return self

    def by(self, brain: Brain) -> Self:
        """Lets a function answer whenever the sequence is used up."""
        self._always = brain
        return self

    @property
    def remaining(self) -> int:
        """How many answers of the sequence have not been asked for."""
        return len(self._queue)

    @property
    def unconsumed(self) -> str | None:
        """In words, what of it was never asked for; `None` if nothing is left."""
        if self._queue:
            return f"{len(self._queue)} answer(s) for {self.match}"
        return f"the answer for {self.match}" if self._always is not None and not self.used else None

    def refusal(self, chat: ChatRequest, request: Recorded) -> str:
        """In words, why it does not answer a request."""
        unmet = self.match.unmet(chat, request)
        why = f"does not match in {', '.join(unmet)}" if unmet else "has no answer left"
        return f"the rule for {self.match} {why}"

    def take(self, chat: ChatRequest, request: Recorded) -> Answer | None:
        """The answer to a request, `None` if it does not match or nothing is left."""
        if not (self._queue or self._always is not None) or not self.match(chat, request):
            return None
        if self._queue:
            found: Answer | None = self._queue.popleft()
        elif callable(self._always):
            found = from_brain(self._always, chat)
        else:
            found = self._always
        self.used += found is not None
        return found

    def copy(self) -> Rule:
        """The same rule, unused."""
        twin = Rule(replace(self.match))
        twin._queue, twin._always = deque(self._queue), self._always
        return twin


def as_answer(value: object) -> Answer:
    """An answer as it is, a `str` as a turn with that text.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, str):
        return Turn(text=value)
    if isinstance(value, Turn | Raw | Fault):
        return value
    raise TypeError(f"{type(value).__name__} is no answer; give a Turn, a Raw, a Fault or the text of a turn")


def from_brain(brain: Brain, chat: ChatRequest) -> Answer | None:
    """What a function answers.

    Raises:
        TypeError: It returned no answer.
    """
    value = brain(chat)
    return None if value is None else as_answer(value)
