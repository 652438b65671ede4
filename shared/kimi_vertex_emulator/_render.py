"""A turn on the wire: which pieces go out in which order, whatever the dialect; `_dialects` spells them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._dialects import Spelling, spelling
from kimi_vertex_emulator._k3 import k3_turn
from kimi_vertex_emulator._pieces import clip, cut, deltas, estimate, joined
from kimi_vertex_emulator.answers import Call, Chunking, Dialect, Part, Turn

__all__ = ["Style", "completion_tokens", "limited", "stream_parts", "whole_body"]

_SECTION = ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>")


@dataclass(frozen=True, slots=True)
class Style:
    """How an answer is sent: dialect, chunking, and the source of randomness."""

    dialect: Dialect = "vertex"
    chunking: Chunking = "default"
    draw: random.Random = field(default_factory=random.Random)

    def of(self, turn: Turn) -> Style:
        """The style of one turn, which may have settings of its own."""
        return replace(self, dialect=turn.dialect or self.dialect, chunking=turn.chunking or self.chunking)


_DEFAULT = Style()


def whole_body(turn: Turn, chat: ChatRequest, reply_id: str, style: Style = _DEFAULT) -> dict[str, Any]:
    """The turn as one `chat.completion` body."""
    speller = _speller(turn, chat, reply_id, style)
    if speller.raw:
        return speller.body(speller.message(None, _raw(turn), []), _finish_reason(turn, speller))
    thinking = None if turn.thinking is None else joined(turn.thinking)
    text = joined(turn.text) if turn.text is not None or turn.tool_calls else None
    if speller.thinking != "field" and thinking is not None:
        text, thinking = "".join(_tags(speller, turn)) + (text or ""), None
    calls = [
        {
            "function": {"arguments": arguments, "name": call.name},
            "id": call_id,
            "index": index,
            "type": "function",
        }
        for index, (call, call_id, arguments) in enumerate(_calls(turn, speller))
    ]
    if speller.native_calls == "content" and calls:
        text, calls = (text or "") + _native(turn, speller), []
    elif speller.native_calls == "thinking" and calls:
        thinking, calls = (thinking or "") + _native(turn, speller), []
    return speller.body(speller.message(thinking, text, calls), _finish_reason(turn, speller))


def stream_parts(turn: Turn, chat: ChatRequest, reply_id: str, style: Style = _DEFAULT) -> Iterator[Part]:
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
    budget = chat.max_tokens
    if budget is None or completion_tokens(turn) <= budget:
        return turn
    thinking = clip(joined(turn.thinking), budget)
    budget = max(0, budget - estimate(thinking))
    text = clip(joined(turn.text), budget)
    budget = max(0, budget - estimate(text))
    calls: list[Call] = []
    for call in turn.tool_calls:
        if budget <= 0:
            break
        arguments = clip(call.arguments_text, budget)
        budget -= estimate(arguments)
        calls.append(replace(call, arguments=arguments))
    return replace(
        turn,
        thinking=None if turn.thinking is None else thinking,
        text=text or None,
        tool_calls=calls,
        finish_reason="length",
    )


def completion_tokens(turn: Turn) -> int:
    """Estimated tokens of all that the model writes in a turn."""
    texts = [joined(turn.thinking), joined(turn.text), *(call.arguments_text for call in turn.tool_calls)]
    return sum(map(estimate, texts))


def _speller(turn: Turn, chat: ChatRequest, reply_id: str, style: Style) -> Spelling:
    counts = (0, 0) if turn.usage is not None else (estimate(chat.prompt_text), completion_tokens(turn))
    return spelling(turn.dialect or style.dialect)(chat, reply_id, counts, turn.usage)


def _raw(turn: Turn) -> str:
    thinking = None if turn.thinking is None else joined(turn.thinking)
    calls = [(call.name, call.arguments_text) for call in turn.tool_calls]
    return k3_turn(thinking, joined(turn.text), calls)


def _deltas(turn: Turn, speller: Spelling, style: Style) -> Iterator[dict[str, Any]]:
    if speller.raw:
        for piece in cut(_raw(turn), False, style.chunking, style.draw):
            yield speller.text_delta(piece)
        return
    if speller.thinking == "field":
        if turn.thinking == "":
            yield speller.thinking_delta("")
        for piece in _thought(turn, speller, style):
            yield speller.thinking_delta(piece)
    for piece in _content(turn, speller, style):
        yield speller.text_delta(piece)
    if speller.native_calls:
        return
    for index, (call, call_id, arguments) in enumerate(_calls(turn, speller)):
        if speller.whole_calls:
            yield speller.call_delta(index, {"name": call.name, "arguments": arguments}, call_id)
            continue
        yield speller.call_delta(index, {"name": call.name}, call_id)
        for piece in cut(arguments, True, style.chunking, style.draw):
            yield speller.call_delta(index, {"arguments": piece})


def _thought(turn: Turn, speller: Spelling, style: Style) -> list[str]:
    """The pieces of the thinking, with calls behind it where the dialect lets them stay there."""
    pieces = _cut(turn.thinking, style)
    if speller.native_calls != "thinking" or not turn.tool_calls:
        return pieces
    pieces = [*pieces, *cut(_native(turn, speller), False, style.chunking, style.draw)]
    return ["".join(pieces)] if style.chunking == "whole" else pieces


def _content(turn: Turn, speller: Spelling, style: Style) -> list[str]:
    """The pieces of the content, with whatever the dialect puts into it."""
    pieces = _cut(turn.text, style)
    if speller.thinking != "field" and turn.thinking is not None:
        opening, _, closing = _tags(speller, turn)
        around = [_cut_tag(tag, style) for tag in (opening, closing)]
        pieces = [*around[0], *_cut(turn.thinking, style), *around[1], *pieces]
    if speller.native_calls == "content" and turn.tool_calls:
        pieces += cut(_native(turn, speller), False, style.chunking, style.draw)
    mixed = speller.thinking != "field" or speller.native_calls == "content"
    return ["".join(pieces)] if mixed and style.chunking == "whole" and pieces else pieces


def _tags(speller: Spelling, turn: Turn) -> tuple[str, str, str]:
    """Opening tag, thinking, closing tag, as Kimi's template writes them."""
    return ("<think>" if speller.thinking == "tags" else "", joined(turn.thinking), "</think>")


def _cut(value: Any, style: Style) -> list[str]:
    return deltas(value, chunking=style.chunking, draw=style.draw)


def _cut_tag(tag: str, style: Style) -> list[str]:
    if not tag:
        return []
    # A tag is one token, so that only the finest ways of cutting cut it.
    return cut(tag, False, style.chunking, style.draw) if style.chunking in ("character", "random") else [tag]


def _native(turn: Turn, speller: Spelling) -> str:
    calls = [
        f"<|tool_call_begin|>{call_id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
        for _, call_id, arguments in _calls(turn, speller)
    ]
    return "".join([_SECTION[0], *calls, _SECTION[1]])


def _calls(turn: Turn, speller: Spelling) -> Iterator[tuple[Call, str, str]]:
    for number, call in enumerate(turn.tool_calls, start=speller.chat.calls_so_far):
        call_id = call.id if call.id is not None else speller.call_id(call.name, number)
        yield call, call_id, speller.arguments(call.arguments_text)


def _finish_reason(turn: Turn, speller: Spelling) -> str:
    if turn.finish_reason is not None:
        return turn.finish_reason
    return "tool_calls" if turn.tool_calls and not (speller.native_calls or speller.raw) else "stop"
