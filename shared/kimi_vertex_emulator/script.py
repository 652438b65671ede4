"""Scripts: which requests get which answers, in which order. Plain logic, no I/O but the reading of a YAML file."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Self, TypeAlias, TypedDict, Unpack

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._requests import Recorded
from kimi_vertex_emulator.answers import Answer, Fault, Raw, Turn, not_negative

__all__ = ["Brain", "Conditions", "Match", "Rule", "Script", "TextMatch"]

TextMatch: TypeAlias = str | re.Pattern[str] | Callable[[str], bool]
"""A substring (case counts), a pattern that is searched for, or a function that decides."""

Brain: TypeAlias = Callable[[ChatRequest], Turn | Raw | Fault | str | None]
"""A function that answers: a `str` is the text of a turn, `None` leaves it to what comes next."""


class Conditions(TypedDict, total=False):
    """Conditions on a chat request, beside what the user said last; all that are given have to hold."""

    anywhere: TextMatch
    """All texts of the history, joined by newlines."""
    system: TextMatch
    """The system messages, joined by newlines."""
    result: TextMatch
    """The last message, if it is a tool's result; anything else does not match."""
    tools: str | Sequence[str]
    """Names of tools that the request declares, among others; an empty list: it declares none."""
    turn: int
    """How many assistant messages the history has: 0 in the first turn."""
    model: str
    """The model's name; `*` and `?` are wildcards."""
    path: str
    """The request's path; `*` and `?` are wildcards."""
    headers: Mapping[str, TextMatch]
    """Headers by name, whose case does not count; a header that is missing is the empty text."""
    when: Callable[[ChatRequest], bool]
    """Any further condition."""


class Match:
    """What a request has to fulfill.

    Args:
        text: What the user said last.
        conditions: Further conditions.

    Raises:
        TypeError: A condition is unknown.
        ValueError: `turn` is negative.
    """

    def __init__(self, text: TextMatch | None = None, **conditions: Unpack[Conditions]) -> None:
        if unknown := sorted(set(conditions) - set(_UNMET)):
            raise TypeError(f"condition {unknown[0]!r} is unknown; there are {', '.join(_UNMET)}")
        given: dict[str, Any] = {"text": text, **conditions}
        not_negative(turn=given.get("turn") or 0)
        self._wanted = {name: wanted for name, wanted in given.items() if wanted is not None}

    def unmet(self, chat: ChatRequest, request: Recorded) -> list[str]:
        """The conditions that a request does not fulfill, by name."""
        return [
            name
            for condition, wanted in self._wanted.items()
            for name in _UNMET[condition](wanted, chat, request)
        ]

    def __str__(self) -> str:
        shown = [f"{name}={_shown(wanted)}" for name, wanted in self._wanted.items() if wanted or wanted == 0]
        return ", ".join(shown) or "any request"


def _texts(role: str | None, chat: ChatRequest) -> list[str]:
    return [message.text for message in chat.messages if role in (None, message.role)]


def _text(
    name: str, text: Callable[[ChatRequest], str | None]
) -> Callable[[Any, ChatRequest, Recorded], list[str]]:
    return lambda wanted, chat, _: [] if _holds(wanted, text(chat)) else [name]


def _tools(wanted: str | Sequence[str], chat: ChatRequest, _: Recorded) -> list[str]:
    declared = {tool.name for tool in chat.tools}
    names = {wanted} if isinstance(wanted, str) else set(wanted)
    return [] if (names <= declared if names else not declared) else ["tools"]


def _headers(wanted: Mapping[str, TextMatch], _: ChatRequest, request: Recorded) -> list[str]:
    held = {name: _holds(match, request.headers.get(name.lower(), "")) for name, match in wanted.items()}
    return [f"header {name}" for name, holds in held.items() if not holds]


_UNMET: Final[dict[str, Callable[[Any, ChatRequest, Recorded], list[str]]]] = {
    # For each condition: the names of what a request does not fulfill.
    "text": _text("text", lambda chat: (["", *_texts("user", chat)])[-1]),
    "anywhere": _text("anywhere", lambda chat: "\n".join(_texts(None, chat))),
    "system": _text("system", lambda chat: "\n".join(_texts("system", chat))),
    "result": _text(
        "result", lambda chat: chat.messages[-1].text if chat.messages[-1].role == "tool" else None
    ),
    "tools": _tools,
    "turn": lambda wanted, chat, _: [] if wanted == len(_texts("assistant", chat)) else ["turn"],
    "model": lambda wanted, chat, _: [] if fnmatchcase(chat.model, wanted) else ["model"],
    "path": lambda wanted, _, request: [] if fnmatchcase(request.path, wanted) else ["path"],
    "headers": _headers,
    "when": lambda wanted, chat, _: [] if wanted(chat) else ["when"],
}


def _holds(match: TextMatch, text: str | None) -> bool:
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

    Answers of `answer` are given once each, in order. When they are used up, the rule does not answer, unless
    `always` says otherwise; the next rule that matches has its turn.

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

    def always(self, answer: Answer | str | Brain) -> Self:
        """What to answer whenever the sequence is used up: an answer, or a function that gives one.

        Raises:
            TypeError: It is neither.
        """
        self._always = answer if callable(answer) else as_answer(answer)
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
        if not (self._queue or self._always is not None) or self.match.unmet(chat, request):
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
        twin = Rule(self.match)
        twin._queue, twin._always = deque(self._queue), self._always
        return twin


class Script:
    """Rules that say which requests get which answers; the first that matches and has an answer left answers.

    The queue of `Emulator.enqueue` comes before any script, the brain after it.

    Example:
        ```python
        script = Script()
        script.on("weather", turn=0).answer(Turn(tool_calls=[Call("get_weather", {"city": "Oslo"})]))
        script.on(result="snow").answer("Take boots.")
        with Emulator(script=script) as emulator: ...
        ```

    Args:
        rules: The rules, in order.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = list(rules)

    def on(self, text: TextMatch | None = None, **conditions: Unpack[Conditions]) -> Rule:
        """Adds a rule for the requests that fulfill all the conditions; without any, for every request.

        Args:
            text: What the user said last: a substring, a compiled pattern, or a function.
            conditions: Further conditions, see `Conditions`.

        Returns:
            The rule, to be given its answers.
        """
        self.rules.append(Rule(Match(text, **conditions)))
        return self.rules[-1]

    def take(self, chat: ChatRequest, request: Recorded) -> Answer | None:
        """The answer to a request, `None` if no rule has one."""
        return next((found for rule in self.rules if (found := rule.take(chat, request)) is not None), None)

    @property
    def remaining(self) -> int:
        """How many answers of sequences have not been asked for."""
        return sum(rule.remaining for rule in self.rules)

    @property
    def unconsumed(self) -> list[str]:
        """In words, what was never asked for."""
        return [words for rule in self.rules if (words := rule.unconsumed) is not None]

    def copy(self) -> Script:
        """The same script, unused."""
        return Script(rule.copy() for rule in self.rules)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Script:
        """A script from a YAML file.

        Raises:
            ImportError: PyYAML or pydantic is not installed.
            OSError: The file cannot be read.
            ValueError: The file is not a script; the text says where.
        """
        from kimi_vertex_emulator._script_file import read_rules  # noqa: PLC0415  # pydantic is slow to import

        return cls(read_rules(path))


def as_answer(value: object) -> Answer:
    """An answer as it is, a `str` as a turn with that text.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, str):
        return Turn(text=value)
    if isinstance(value, Turn | Raw | Fault):
        return value
    raise TypeError(
        f"{type(value).__name__} is not an answer; give a Turn, a Raw, a Fault or the text of a turn"
    )


def from_brain(brain: Brain, chat: ChatRequest) -> Answer | None:
    """What a function answers.

    Raises:
        TypeError: It returned something else.
    """
    value = brain(chat)
    return None if value is None else as_answer(value)
