"""One line of plain text for an exchange: what `python -m kimi_vertex_emulator --watch` prints."""

from __future__ import annotations

import time

from kimi_vertex_emulator._journal import Exchange

__all__ = ["line"]


def line(exchange: Exchange) -> str:
    """An exchange in one line: clock, call, model, messages, what was answered, finish reason and duration.

    Example: `14:03:12 POST chat kimi-k2-thinking-maas 3 messages -> 200 stream: 412 thinking, 96 text, stop, 1.24 s`
    """
    request = exchange.request
    clock = time.strftime("%H:%M:%S", time.localtime(exchange.arrived))
    call = f"{clock} {request.method} {_place(exchange)}"
    status = "no head" if exchange.status is None else str(exchange.status)
    kind = " stream" if exchange.streamed else ""
    sizes = [
        f"{len(exchange.thinking)} thinking" if exchange.thinking else "",
        f"{len(exchange.text)} text" if exchange.text else "",
        *(f"{call.name}({len(call.arguments_text)})" for call in exchange.tool_calls),
        exchange.finish_reason or "",
        "" if exchange.ending == "complete" else _ENDINGS[exchange.ending],
        f"{exchange.duration or 0.0:.2f} s",
    ]
    return _plain(f"{call} -> {status}{kind}: {', '.join(filter(None, sizes))}")


_ENDINGS = {"running": "under way", "cut": "cut off", "reset": "reset", "left": "the client left"}


def _place(exchange: Exchange) -> str:
    if not exchange.chat:
        return exchange.request.path
    count = len(exchange.messages)
    model = exchange.model.rpartition("/")[2]
    return " ".join(filter(None, ["chat", model, f"{count} message{'' if count == 1 else 's'}"]))


def _plain(text: str) -> str:
    """Without control characters: what a request says must not steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
