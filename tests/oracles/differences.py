"""Where an engine is read differently on purpose: the table in docs/compatibility.md, as conditions.

A difference holds for parts of a reading only, and a condition looks at the output, or at what the other reading
has more. Those of damaged outputs explain nothing in an output that is whole or only broke off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from .engines import Reading
from .turns import Output

__all__ = ["DIFFERENCES", "Difference", "Part", "differing", "explained", "shows_markup"]

Part = Literal["thinking", "text", "calls"]

_OPEN: Final = r"<\|open\|>\s*"
_CLOSE: Final = r"<\|close\|>\s*"
_SEP: Final = r"\s*<\|sep\|>"
_MARKUP: Final = re.compile(
    r"<\|(?:open|close)\|>\s*(?:think|response|tools|message|call|argument)\b[^<]*(?:<\|sep\|>|<?\|?s?e?p?\|?\Z)"
    r"|<\|(?:open|close)\|>\Z|<\|tool_call|</?think>"
)
_HALVES: Final = re.compile(
    r"\s*(?:(?:<\|(?:open|close)\|>[^<]*(?:<[^>]*)?|<\|[a-z_]*\|?|</?(?:t(?:h(?:i(?:nk?)?)?)?)?)\s*)+\Z"
)
_ANY: Final = re.compile(
    rf"<\|(?:open|close)\|>\s*(?:think|response|tools|message)\b[^<]*{_SEP}|</think>|<\|tool_call"
)
_SPACED: Final = re.compile(r"<\|(?:open|close)\|> |(?:think|response|tools) <\|sep\|>")
_VALUE: Final = re.compile(rf"({_OPEN}argument\b[^<]*{_SEP})(.*?)({_CLOSE}argument{_SEP}|\Z)", re.DOTALL)
_ENDS: Final = re.compile(r"<\|(?:open|close)\|>\s*(?:think|response|tools|message|call|argument)\b")
_OUTER: Final = re.compile(r"<\|(?:open|close)\|>\s*(?:think|response|tools|message)\b")
_K2_BROKEN: Final = re.compile(
    r"<\|tool_call_argument_begin\|>(?:(?!<\|tool_call).)*[^\s}]\s*<\|(?:tool_call|im_end)", re.DOTALL
)
_K2_PARTS: Final = ("<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>")
_CALL: Final = re.compile(
    rf"{_OPEN}call\b[^<]*{_SEP}(.*?)(?:{_CLOSE}call{_SEP}|(?={_OPEN}call\b)|(?={_CLOSE}tools)|\Z)", re.DOTALL
)
_BESIDE: Final = re.compile(
    rf"{_CLOSE}think{_SEP}(?:(?!{_OPEN}response{_SEP}).)*\S(?:(?!{_CLOSE}).)*{_OPEN}response{_SEP}"
    rf"|{_CLOSE}response{_SEP}\s*(?!<\|(?:open|close)\|>\s*(?:tools|message))\S|\A(?:(?!{_CLOSE}think).)*{_OPEN}response{_SEP}",
    re.DOTALL,
)
"""Text that is neither thinking nor answer, and an answer without thinking that opens late."""
_SECTION: Final = re.compile(rf"{_OPEN}tools{_SEP}(.*?)(?:{_CLOSE}tools{_SEP}|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Difference:
    """One kind of difference."""

    name: str
    """As the table in docs/compatibility.md has it."""
    parts: Sequence[Part]
    """What it changes."""
    holds: Callable[[Output, Reading, Reading, str], bool]
    """Whether it explains what we make of an output, beside what the named engine makes of it."""
    damaged: bool = False
    """Whether only an output can have it whose markers are out of order."""


def shows_markup(reading: Reading) -> bool:
    """Whether an engine did not read an output, but let markup through."""
    return bool(_MARKUP.search(reading.thinking) or _MARKUP.search(reading.text))


def differing(output: Output, ours: Reading, theirs: Reading) -> list[Part]:
    """The parts in which two readings differ. K2's template puts white space around thinking and answer."""
    clean: Callable[[str], str] = str.strip if output.family == "k2" else str
    found: list[Part] = []
    if clean(ours.thinking) != clean(theirs.thinking):
        found.append("thinking")
    if clean(ours.text) != clean(theirs.text):
        found.append("text")
    if _values(ours) != _values(theirs) or _numbers(ours) != (
        _numbers(theirs) if any(theirs.ids) else _numbers(ours)
    ):
        found.append("calls")
    return found


def explained(output: Output, ours: Reading, theirs: Reading, engine: str) -> dict[Part, str]:
    """The intended differences of two readings, by the part that each explains."""
    found: dict[Part, str] = {}
    for difference in DIFFERENCES:
        if difference.damaged and output.damage not in ("lost", "added"):
            continue
        if difference.holds(output, ours, theirs, engine):
            for part in difference.parts:
                found.setdefault(part, difference.name)
    return found


def _values(reading: Reading) -> list[tuple[str, Any]]:
    return [(name, _value(arguments)) for name, arguments in reading.calls]


def _numbers(reading: Reading) -> list[str]:
    """The calls' ids, however they are spelled."""
    return [identity.removeprefix("functions.") for identity in reading.ids]


def _value(arguments: str) -> Any:
    try:
        return json.loads(arguments, parse_constant=str)
    except ValueError:
        return f"not JSON: {arguments}"


def _half(output: Output, mine: str, other: str) -> bool:
    """Whether one text is the other, but for half a token at its end. vLLM moves white space before K2's."""
    if output.family == "k2":
        mine, other = "".join(mine.split()), "".join(other.split())
    longer, shorter = (mine, other) if len(mine) > len(other) else (other, mine)
    return mine == other or (longer.startswith(shorter) and bool(_HALVES.match(longer[len(shorter) :])))


def _unmarked(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    held = not _ANY.search(output.raw) and not ours.thinking and not theirs.text
    return held and _half(output, ours.text, theirs.thinking)


def _in_values(pattern: re.Pattern[str]) -> Callable[[Output, Reading, Reading, str], bool]:
    def holds(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
        values = [match[2] for match in _VALUE.finditer(output.raw)]
        return any(pattern.search(value) for value in values)

    return holds


def _outside_values(raw: str) -> str:
    return _VALUE.sub(r"\1\3", raw)


def _cut_call(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    if output.family == "k2":
        return output.cut or len({output.raw.count(part) for part in _K2_PARTS}) > 1
    calls = [match.group() for match in _CALL.finditer(_outside_values(output.raw))]
    return any(not re.search(rf"{_CLOSE}call{_SEP}\Z", call) for call in calls)


def _skipped(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    twice = theirs.text.startswith(theirs.thinking.rstrip()) or _half(output, theirs.text, theirs.thinking)
    return engine == "SGLang streamed" and bool(theirs.thinking) and twice


def _sections(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    several = len(_SECTION.findall(output.raw)) > 1
    return several and _values(ours)[: len(theirs.calls)] == _values(theirs)


def _spaced(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    return engine != "vLLM whole" and bool(_SPACED.search(output.raw))


def _behind(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    _, end, rest = _outside_values(output.raw).partition("<|close|>message<|sep|>")
    return bool(end and rest)


def _nameless(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    inside = "".join(_CALL.findall(output.raw))
    return output.raw.count("<|open|>argument") > inside.count("<|open|>argument")


def _repeated(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    raw = _outside_values(output.raw)
    ends = len(re.findall(rf"{_CLOSE}think{_SEP}", raw)), len(re.findall(rf"{_OPEN}response{_SEP}", raw))
    later = re.search(rf".+{_OPEN}think{_SEP}", raw, re.DOTALL)
    return max(ends) > 1 or bool(later) or bool(_BESIDE.search(_SECTION.sub("", raw)))


def _disordered(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    return output.family == "k2"


def _stray_text(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    sections = _SECTION.findall(_outside_values(output.raw))
    return any(_CALL.sub("", section).strip() for section in sections)


def _lost(output: Output, ours: Reading, theirs: Reading, engine: str) -> bool:
    rest = _SECTION.sub("", _outside_values(output.raw))
    return "|>call" in rest or "|>argument" in rest


DIFFERENCES: Final[Sequence[Difference]] = (
    Difference("no marker at all", ("thinking", "text"), _unmarked),
    Difference(
        "a marker that is cut", ("thinking",), lambda output, a, b, _: _half(output, a.thinking, b.thinking)
    ),
    Difference("a marker that is cut", ("text",), lambda output, a, b, _: _half(output, a.text, b.text)),
    Difference("a marker inside a value", ("calls",), _in_values(_ENDS)),
    Difference("a marker inside a value", ("thinking", "text"), _in_values(_OUTER)),
    Difference(
        "a marker inside a value", ("text", "calls"), lambda output, *_: bool(_K2_BROKEN.search(output.raw))
    ),
    Difference("a call that is cut", ("calls",), _cut_call),
    Difference("an answer without thinking", ("thinking",), _skipped),
    Difference("several sections of tools", ("calls",), _sections),
    Difference("white space inside markers", ("thinking", "text", "calls"), _spaced),
    Difference("text behind the turn's end", ("thinking", "text", "calls"), _behind, damaged=True),
    Difference(
        "a call without a name, or of a tool that is not declared", ("calls",), _nameless, damaged=True
    ),
    Difference("thinking or answer in several parts", ("thinking", "text", "calls"), _repeated, damaged=True),
    Difference("text inside a section of tools", ("thinking", "text"), _stray_text, damaged=True),
    Difference("a section of tools without its beginning", ("text", "calls"), _lost, damaged=True),
    Difference("K2's tokens, one lost or too many", ("thinking", "text", "calls"), _disordered, damaged=True),
)
