"""Which tools a question needs, in which order, and with which arguments.

The plan depends on the question and the declared tools alone; the history says how far it is done.
So the same conversation always goes on in the same way, and every loop ends.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kimi_vertex_emulator._chat import ChatRequest, Tool
from kimi_vertex_emulator.brain._arithmetic import operations
from kimi_vertex_emulator.brain._json_answer import json_objects
from kimi_vertex_emulator.brain._schema import Sources, instance
from kimi_vertex_emulator.brain._values import Values, digest, place_list
from kimi_vertex_emulator.brain._words import matches, stem, stems
from kimi_vertex_emulator.script import Call

__all__ = ["Exchange", "exchange", "next_calls"]

_THRESHOLD = 1.5
_GREETING = re.compile(
    r"\W*(?:hi|hello|hey|greetings|good (?:morning|evening|day)|thanks|thank you|how are you|bye)\b(?:\W+\w+){0,3}\W*",
    re.IGNORECASE,
)
_HARD = re.compile(
    r"(?<=[.;?!])\s+|\n+|,?\s+\b(?:and\s+)?(?:then|after that|afterwards|finally|lastly|next,)\b,?\s*|"
    r",?\s*\bstep\s*\d+\b[:.)]?\s*",
    re.IGNORECASE,
)
_SOFT = re.compile(
    r"(,?\s+(?:and\s+also|and|also|plus|as well as|while|(?:in parallel|at the same time|together|along) with)\s+|,\s+)",
    re.IGNORECASE,
)
_SUBTRACT_FROM = re.compile(r"\bsubtract\s+(-?[\d.]*\d)\s+from\s+(-?[\d.]*\d)", re.IGNORECASE)
_QUESTION = re.compile(
    r"\?|^\W*(?:what|who|when|where|why|how|which|tell|explain|describe|find|is|are|does|do|can)\b",
    re.IGNORECASE,
)
_LOOKUP = frozenset(
    map(stem, "search lookup retrieve retriever retrieval query knowledge docs documentation wiki".split())
)
_PARALLEL = re.compile(
    r"\bin parallel\b|\bat the same time\b|\bsimultaneously\b|\bat once\b|\bconcurrently\b", re.IGNORECASE
)
_BACK_REFERENCE = re.compile(
    r"\b(?:the (?:result|sum|product|answer|output|total|number|value|temperature)|that(?: result| number)?|it)\b",
    re.IGNORECASE,
)
_GENERIC = frozenset(
    map(stem, "get fetch tool function do make run call perform execute handle new my engine".split())
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The part of a conversation since the user last spoke."""

    question: str
    called: Sequence[str] = ()
    """Names of the tools called since, in order."""
    results: Sequence[tuple[str, str]] = ()
    """Tool name and result text of each result since, in order."""


@dataclass(frozen=True, slots=True)
class _Step:
    tool: Tool
    text: str
    """The part of the question that asks for it."""
    chosen: Mapping[str, Any] = field(default_factory=dict)


def exchange(chat: ChatRequest) -> Exchange:
    """Reads the current exchange out of the history."""
    positions = [index for index, message in enumerate(chat.messages) if message.role == "user"]
    start = positions[-1] if positions else 0
    recent = chat.messages[start:]
    question = recent[0].text if positions else ""
    names = {call.id: call.name for message in recent for call in message.tool_calls}
    return Exchange(
        question=question,
        called=[call.name for message in recent for call in message.tool_calls],
        results=[
            (names.get(message.tool_call_id or "", "the tool"), message.text)
            for message in recent
            if message.role == "tool"
        ],
    )


def next_calls(chat: ChatRequest, now: Exchange, chosen: Mapping[str, Any]) -> list[Call]:
    """The calls that come next, empty if the brain can answer.

    Args:
        chat: The request.
        now: Its current exchange.
        chosen: Values by property name that the brain knows better than the question's words.
    """
    if not chat.tools or chat.tool_choice == "none":
        return []
    pending = _pending(_plan(digest(now.question), chat.tools), now) or _follow_up(chat.tools, now)
    if chat.tool_choice in ("required", "named"):
        pending = [_forced(chat, now, pending)]
    elif not (chat.parallel and _PARALLEL.search(now.question)):
        pending = pending[:1]
    return [Call(step.tool.name, _arguments(step, now, chosen)) for step in pending]


def _pending(steps: Sequence[_Step], now: Exchange) -> list[_Step]:
    called = Counter(now.called)
    pending: list[_Step] = []
    for step in steps:
        if called[step.tool.name]:
            called[step.tool.name] -= 1
        else:
            pending.append(step)
    return pending


def _follow_up(tools: Sequence[Tool], now: Exchange) -> list[_Step]:
    """A tool that the last result asks for by its name."""
    text = digest(now.results[-1][1]) if now.results else ""
    return [
        _Step(tool, text) for tool in tools if tool.name not in now.called and _named(tool, text) is not None
    ][:1]


def _forced(chat: ChatRequest, now: Exchange, pending: Sequence[_Step]) -> _Step:
    allowed = [tool for tool in chat.tools if chat.tool_choice == "required" or tool.name == chat.named_tool]
    allowed = allowed or list(chat.tools)
    for step in pending:
        if step.tool in allowed:
            return step
    fresh = [tool for tool in allowed if tool.name not in now.called] or allowed
    question = digest(now.question)
    return _Step(max(fresh, key=lambda tool: _score(question, tool)), question)


def _plan(question: str, tools: Sequence[Tool]) -> list[_Step]:
    if _GREETING.fullmatch(question):
        return []
    if steps := _worked_out(question, tools):
        return steps
    for segment in _HARD.split(question):
        for step in _steps_of(segment, tools):
            again = step.tool in [before.tool for before in steps]
            if not again or _own_values(step):
                steps.extend(_enumerated(step))
    if not steps and (tool := _best(question, tools) or _lookup(question, tools)):
        steps = _enumerated(_Step(tool, question))
    return _with_named(steps, question, tools)


def _worked_out(question: str, tools: Sequence[Tool]) -> list[_Step]:
    """One step per operation of an expression with several, if there is a tool for each."""
    steps: list[_Step] = []
    todo = operations(Values(question).expression() or "")
    for operation in todo if len(todo) > 1 else ():
        fitting = [
            tool
            for tool in tools
            if any(matches(stem(word), set(stems(tool.name))) for word in operation.words)
        ]
        numeric = _numeric(fitting[0]) if fitting else []
        if len(numeric) != 2:
            return []
        steps.append(
            _Step(fitting[0], question, dict(zip(numeric, (operation.left, operation.right), strict=True)))
        )
    return steps


def _lookup(question: str, tools: Sequence[Tool]) -> Tool | None:
    """A tool that searches can be asked anything."""
    asked = _QUESTION.search(question) is not None
    return next(
        (tool for tool in tools if asked and _LOOKUP & set(stems(f"{tool.name} {tool.description}"))), None
    )


def _numeric(tool: Tool) -> list[str]:
    """The required numbers of a tool, in the order of its schema."""
    properties = tool.parameters.get("properties") or {}
    kinds = ("integer", "number")
    required = tool.parameters.get("required") or ()
    return [
        key
        for key, part in properties.items()
        if key in required and isinstance(part, Mapping) and part.get("type") in kinds
    ]


def _steps_of(segment: str, tools: Sequence[Tool]) -> list[_Step]:
    """One step per part of the segment that asks for something of its own."""
    pieces = _SOFT.split(segment)
    steps: list[_Step] = []
    text, tool = pieces[0], _best(pieces[0], tools)
    for joint, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        wanted = _best(piece, tools)
        opens = wanted is not None and tool is not None
        if opens and wanted is not None and (wanted is not tool or _own_values(_Step(wanted, piece))):
            assert tool is not None
            steps.append(_Step(tool, text))
            text, tool = piece, wanted
        else:
            text, tool = text + joint + piece, tool or wanted
    return [*steps, _Step(tool, text)] if tool else steps


def _enumerated(step: _Step) -> list[_Step]:
    """One step per name if the text enumerates names for the tool's only required string."""
    properties = step.tool.parameters.get("properties") or {}
    required = list(step.tool.parameters.get("required") or properties)
    names = place_list(step.text)
    if len(required) != 1 or not names or (properties.get(required[0]) or {}).get("type") != "string":
        return [step]
    return [_Step(step.tool, step.text, {required[0]: name}) for name in names]


def _with_named(steps: list[_Step], question: str, tools: Sequence[Tool]) -> list[_Step]:
    """Adds the tools that the question names but whose turn the parts did not show, in reading order."""
    missing = [
        tool
        for tool in tools
        if tool not in [step.tool for step in steps] and _named(tool, question) is not None
    ]
    if not missing:
        return steps
    extra = [(_named(tool, question) or 0, _Step(tool, question)) for tool in missing]
    placed = [(max(question.find(step.text), 0), step) for step in steps]
    return [step for _, step in sorted([*placed, *extra], key=lambda pair: pair[0])]


def _own_values(step: _Step) -> bool:
    if not step.tool.parameters.get("properties"):
        return False
    values = Values(step.text)
    return any(
        value is not None for value in (values.number(), values.quoted(), values.place(), values.date())
    )


def _best(text: str, tools: Sequence[Tool]) -> Tool | None:
    best = max(tools, key=lambda tool: _score(text, tool))
    return best if _score(text, best) >= _THRESHOLD else None


def _named(tool: Tool, text: str) -> int | None:
    match = (
        re.search(rf"(?<![A-Za-z0-9_]){re.escape(tool.name)}(?![A-Za-z0-9_])", text) if tool.name else None
    )
    return match.start() if match else None


def _score(text: str, tool: Tool) -> float:
    """How much the text speaks of the tool; its name counts most, and wholly matched names more."""
    if _named(tool, text) is not None:
        return 10.0
    asked = set(stems(text, expand=True))
    name = {word for word in stems(tool.name) if word not in _GENERIC}
    hits = sum(matches(word, asked) for word in name)
    score = 2.0 * hits + (hits / len(name) if name else 0.0)
    described = {word for word in stems(tool.description) if word not in _GENERIC and word not in name}
    score += min(2.0, sum(1.5 if len(word) >= 5 else 1.0 for word in described if matches(word, asked)))
    properties = tool.parameters.get("properties") or {}
    score += min(2.0, sum(0.75 for key in properties if any(matches(word, asked) for word in stems(key))))
    enums = [
        value for part in properties.values() if isinstance(part, Mapping) for value in part.get("enum") or ()
    ]
    return score + (1.0 if enums and Values(text).option(enums) is not None else 0.0)


def _arguments(step: _Step, now: Exchange, chosen: Mapping[str, Any]) -> dict[str, Any]:
    properties = step.tool.parameters.get("properties") or {}
    literal = dict(zip(properties, Values(step.text).call_arguments(step.tool.name), strict=False))
    literal |= _json_arguments(step.text, properties)
    text = _filled_in(step, now)
    results = [Values(result) for _, result in reversed(now.results)]
    sources = Sources(
        texts=[Values(text), *results, Values(now.question)],
        free_text=text.strip(" ,.;") or now.question,
        answer=" ".join(result for _, result in now.results),
        chosen={**chosen, **literal, **step.chosen},
    )
    value = instance({"type": "object", **step.tool.parameters}, sources)
    return value if isinstance(value, dict) else {}


def _filled_in(step: _Step, now: Exchange) -> str:
    """The step's text with `the result` and the like replaced by the last result's number, where numbers lack."""
    numeric = _numeric(step.tool)
    last = Values(now.results[-1][1]).number() if now.results else None
    values = Values(step.text)
    given = sum(values.number() is not None for _ in numeric)
    text = step.text
    if last is not None and given < len(numeric):
        text = _BACK_REFERENCE.sub(str(last), text, count=1)
    return _SUBTRACT_FROM.sub(r"\2 minus \1", text)


def _json_arguments(text: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that the text gives as a JSON object."""
    return next(
        (dict(value) for _, _, value in json_objects(text) if value and set(value) <= set(properties)), {}
    )
