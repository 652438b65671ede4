"""Tool calls that a server let through as text: Kimi's native notation, whole or damaged.

    <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:N<|tool_call_argument_begin|>{...}<|tool_call_end|>...

Servers leak it into thinking and content when their parser is off or loses track (MoonshotAI/Kimi-K2#89,
vllm-project/vllm#33646). This module collects; `_toolcalls` decides what a call is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, Literal

from ._markers import ARGUMENTS_BEGIN, CALL_BEGIN, CALL_END, SECTION_BEGIN, SECTION_END, Token

__all__ = ["BareCalls", "LeakCollector", "LeakedCall"]

_BARE: Final = re.compile(r"((?:functions\.)?([\w.\-]+):\d+)\s*(\{)?")
_LONGEST_ID: Final = 256


@dataclass(frozen=True, slots=True)
class LeakedCall:
    """A call found in text, not yet checked."""

    id: str
    """What stood where the id belongs: `functions.NAME:N`, or whatever the model wrote there."""
    arguments: str


class LeakCollector:
    """Takes the text and tokens of one channel while a tool section is open.

    `take` returns the text that turned out not to belong to a call.
    """

    __slots__ = ("_id", "_parts", "_state", "calls")

    def __init__(self) -> None:
        self.calls: list[LeakedCall] = []
        self._state: Literal["outside", "section", "id", "arguments"] = "outside"
        self._id = ""
        self._parts: list[str] = []

    @property
    def open(self) -> bool:
        """True while text belongs to a tool section."""
        return self._state != "outside"

    def token(self, token: Token, before: str = "") -> str:
        """Take a token.

        Args:
            token: Any token but an opening or closing think tag.
            before: Held text right before the token, which is the call's id if the token that should have
                opened the call is missing.

        Returns:
            Text to be given back to the reader.
        """
        given_back = before if token.kind != ARGUMENTS_BEGIN else ""
        if token.kind == ARGUMENTS_BEGIN:
            name = "".join(self._parts) if self._state in ("id", "section") else before
            self._id, self._parts, self._state = name.strip(), [], "arguments"
        elif token.kind == CALL_BEGIN:
            given_back += self._end_call()
            self._state = "id"
        elif token.kind in {CALL_END, SECTION_BEGIN}:
            given_back += self._end_call()
            self._state = "section"
        elif token.kind == SECTION_END or self._state != "outside":
            given_back += self._end_call()
            self._state = "outside"
        return given_back

    def text(self, text: str) -> None:
        """Take text while `open`."""
        self._parts.append(text)

    def flush(self) -> str:
        """The channel is at its end: close what is open. Returns text that belonged to no call."""
        rest = self._end_call()
        self._state = "outside"
        return rest

    def _end_call(self) -> str:
        text, self._parts = "".join(self._parts), []
        if self._state == "arguments":
            arguments, rest = _split_object(text)
            self.calls.append(LeakedCall(self._id, arguments))
            return rest
        if self._state == "id" or not text.strip():
            return ""
        return text


def _split_object(text: str) -> tuple[str, str]:
    """Separate a JSON object from text that follows it because the end marker is missing."""
    start = len(text) - len(text.lstrip())
    if not text.startswith("{", start):
        return text.strip(), ""
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except ValueError:
        return text.strip(), ""
    rest = text[end:]
    return text[start:end], rest if rest.strip() else ""


class BareCalls:
    """Finds calls whose tokens were stripped: `functions.NAME:N{...}` at the start of a line.

    Happens when a server decodes with `skip_special_tokens`. Looked for only with declared tools, and only
    for their names, so that ordinary text is never taken for a call.
    """

    __slots__ = ("_fresh", "_held", "_line_start", "_names", "_starts")

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._fresh = ""  # the newest piece: only a brace in it can complete an object
        self._starts = tuple(f"{prefix}{name}:" for name in names for prefix in ("", "functions."))
        self._held = ""
        self._line_start = True

    def passes(self, text: str) -> bool:
        """Whether `text` cannot be part of such a call, and leaves nothing to remember."""
        return not self._starts or not (self._line_start or self._held or "\n" in text)

    def take_held(self) -> str:
        """Hand over what is held, because a token or the end follows it."""
        held, self._held = self._held, ""
        self._line_start = False
        return held

    def feed(self, text: str) -> tuple[str, list[LeakedCall]]:
        """Take plain text; return what is certainly text, and the calls found."""
        if not self._starts:
            return text, []
        self._fresh = text
        text, self._held = self._held + text, ""
        shown: list[str] = []
        calls: list[LeakedCall] = []
        while text:
            if not self._line_start:
                line, newline, text = text.partition("\n")
                shown.append(line + newline)
                self._line_start = bool(newline)
                continue
            stripped = text.lstrip()
            verdict = self._match(stripped)
            if verdict is None:
                self._held = text
                break
            if verdict == 0:
                gap = text[: len(text) - len(stripped)]
                shown.append(gap)
                text, self._line_start = stripped, False
                continue
            match = _BARE.match(stripped)
            assert match is not None
            calls.append(LeakedCall(match.group(1), stripped[match.end() - 1 : verdict]))
            text = stripped[verdict:]
        return "".join(shown), calls

    def _match(self, text: str) -> int | None:
        """Index after the call at the start of `text`; 0 if there is none; `None` if undecided."""
        if not text:
            return None
        if not any(text.startswith(s) or s.startswith(text) for s in self._starts):
            return 0
        match = _BARE.match(text)
        if match is None or (not match.group(3) and match.end() == len(text)):
            return None if len(text) < _LONGEST_ID else 0
        if not match.group(3) or match.group(2) not in self._names:
            return 0
        if "}" not in self._fresh:
            return None
        try:
            _, end = json.JSONDecoder(strict=False).raw_decode(text, match.end() - 1)
        except ValueError:
            return None
        return end
