"""A turn on the wire: which pieces go out in which order, whatever the dialect; `_dialects` spells them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._dialects import SPELLINGS, Spelling
from kimi_vertex_emulator._k3 import k3_turn
from kimi_vertex_emulator._pieces import Style, clip, estimate, joined
from kimi_vertex_emulator.answers import Part, Turn

__all__ = ["completion_tokens", "limited", "stream_parts", "whole_body"]

_SECTION: Final = ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>")

_Field: TypeAlias = list[str | Sequence[str]]
"""What stands in one field, one after the other."""


def whole_body(turn: Turn, chat: ChatRequest, reply_id: str, style: Style) -> dict[str, Any]:
    """The turn as one `chat.completion` body."""
    speller = _speller(turn, chat, reply_id, style)
    thinking, text = (
        "".join(map(joined, parts)) if parts else None for parts in _fields(turn, speller, style)
    )
    calls = [
        {
            "function": {"arguments": arguments, "name": name},
            "id": call_id,
            "index": index,
            "type": "function",
        }
        for index, (name, call_id, arguments) in enumerate(_calls(turn, speller))
    ]
    if speller.habits.calls_in_text:
        calls = []
    message = speller.message(thinking, "" if text is None and turn.tool_calls else text, calls)
    return speller.body(message, _finish_reason(turn, speller))


def stream_parts(turn: Turn, chat: ChatRequest, reply_id: str, style: Style) -> Iterator[Part]:
    """The turn as server-sent events, one HTTP chunk each, with the turn's pauses between them."""
    speller = _speller(turn, chat, reply_id, style)
    yield from speller.opening()
    for delta in _deltas(turn, speller, style.of(turn)):
        if turn.pause:
            yield turn.pause
        yield speller.chunk([speller.choice(delta)])
    if turn.pause:
        yield turn.pause
    yield from speller.ending(_finish_reason(turn, speller))


def limited(turn: Turn, chat: ChatRequest) -> Turn:
    """What is left of a turn under the request's `stop` and `max_tokens`, thinking counted as Kimi counts it."""
    stops = [joined(turn.text).find(stop) for stop in chat.stop]
    cut_at = min((position for position in stops if position >= 0), default=None)
    if cut_at is not None:
        turn = replace(turn, text=joined(turn.text)[:cut_at], tool_calls=(), finish_reason="stop")
    if chat.max_tokens is None or completion_tokens(turn) <= chat.max_tokens:
        return turn
    kept: list[str] = []
    for written in _written(turn):
        kept.append(clip(written, chat.max_tokens - sum(map(estimate, kept))))
    thinking, text, *arguments = kept
    calls = [
        replace(call, arguments=cut) for call, cut in zip(turn.tool_calls, arguments, strict=True) if cut
    ]
    return replace(
        turn,
        thinking=None if turn.thinking is None else thinking,
        text=text or None,
        tool_calls=calls,
        finish_reason="length",
    )


def completion_tokens(turn: Turn) -> int:
    """Estimated tokens of all that the model writes in a turn."""
    return sum(map(estimate, _written(turn)))


def _written(turn: Turn) -> list[str]:
    return [joined(turn.thinking), joined(turn.text), *(call.arguments_text for call in turn.tool_calls)]


def _speller(turn: Turn, chat: ChatRequest, reply_id: str, style: Style) -> Spelling:
    counts = (0, 0) if turn.usage is not None else (estimate(chat.prompt_text), completion_tokens(turn))
    make, habits = SPELLINGS[style.of(turn).dialect]
    return make(habits, chat, reply_id, counts, turn.usage)


def _fields(turn: Turn, speller: Spelling, style: Style) -> tuple[_Field, _Field]:
    """What stands in the field for thinking and in the content."""
    if speller.habits.raw:
        thinking = None if turn.thinking is None else joined(turn.thinking)
        calls = [(call.name, call.arguments_text) for call in turn.tool_calls]
        return [], [k3_turn(thinking, joined(turn.text), calls)]
    thought: _Field = [] if turn.thinking is None else [turn.thinking]
    content: _Field = [] if turn.text is None else [turn.text]
    if thought and speller.habits.thinking != "field":
        # A tag is one token, so that only the finest ways of cutting cut it.
        finest = style.chunking in ("character", "random")
        opening, closing = (tag if finest else [tag] for tag in ("<think>", "</think>"))
        content = [*([opening] if speller.habits.thinking == "tags" else []), *thought, closing, *content]
        thought = []
    if turn.tool_calls and speller.habits.native_calls:
        (thought if speller.habits.native_calls == "thinking" else content).append(_native(turn, speller))
    return thought, content


def _deltas(turn: Turn, speller: Spelling, style: Style) -> Iterator[dict[str, Any]]:
    thought, content = _fields(turn, speller, style)
    for parts, delta in ((thought, speller.thinking_delta), (content, speller.text_delta)):
        pieces = [piece for part in parts for piece in style.cut(part)]
        if parts == [""] and parts is thought:
            pieces = [""]
        elif len(parts) > 1 and style.chunking == "whole":
            pieces = ["".join(pieces)]
        yield from map(delta, pieces)
    if speller.habits.calls_in_text:
        return
    for index, (name, call_id, arguments) in enumerate(_calls(turn, speller)):
        if speller.habits.whole_calls:
            yield speller.call_delta(index, {"name": name, "arguments": arguments}, call_id)
            continue
        yield speller.call_delta(index, {"name": name}, call_id)
        for piece in style.cut(arguments, arguments=True):
            yield speller.call_delta(index, {"arguments": piece})


def _native(turn: Turn, speller: Spelling) -> str:
    calls = [
        f"<|tool_call_begin|>{call_id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
        for _, call_id, arguments in _calls(turn, speller)
    ]
    return "".join([_SECTION[0], *calls, _SECTION[1]])


def _calls(turn: Turn, speller: Spelling) -> Iterator[tuple[str, str, str]]:
    """Name, id and arguments of each call."""
    for number, call in enumerate(turn.tool_calls, start=speller.chat.calls_so_far):
        call_id = call.id if call.id is not None else speller.call_id(call.name, number)
        yield call.name, call_id, speller.arguments(call.arguments_text)


def _finish_reason(turn: Turn, speller: Spelling) -> str:
    if turn.finish_reason is not None:
        return turn.finish_reason
    return "tool_calls" if turn.tool_calls and not speller.habits.calls_in_text else "stop"
