"""What went over the wire, request and response, as values that tests can ask; no sockets."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs

from kimi_vertex_emulator._chat import ChatRequest, objects
from kimi_vertex_emulator._redact import is_secret_header, masked_query
from kimi_vertex_emulator._reply import Reply, google_error, json_reply
from kimi_vertex_emulator._requests import Recorded, is_chat, json_object, parsed, summary
from kimi_vertex_emulator.answers import Call, Part
from kimi_vertex_emulator.script import Match, Script

__all__ = ["JOURNAL", "Ending", "Exchange", "Journal", "journal_page"]

JOURNAL = "/_emulator/journal"

Ending: TypeAlias = Literal["running", "complete", "cut", "reset", "left"]
"""How a response ended: it is still being sent; in full; closed early or reset by the server; the client left."""

_LOG = logging.getLogger("kimi_vertex_emulator")
_THINKING = ("reasoning_content", "reasoning")
_DONE = b"data: [DONE]"
_MOST_RULES = 8


@dataclass(slots=True)
class Exchange:
    """One request and its response, which may still be under way."""

    request: Recorded
    arrived: float
    """When the request had arrived in full, as `time.time()` counts."""
    status: int | None = None
    """`None`: no head was sent."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The response's headers, names in lower case."""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    """What was sent of the response's body, with the seconds since the request had arrived."""
    ending: Ending = "running"
    duration: float | None = None
    """Seconds from the request to the end; `None` while it runs."""
    unexpected: bool = False
    """Whether nothing was scripted for the request, or its route does not exist."""
    began: float = field(default_factory=time.monotonic, repr=False)
    """When the request had arrived in full, on the monotonic clock."""
    on_end: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    """Called when it ends, before its last bytes are sent: the client may ask again at once."""

    @property
    def body(self) -> bytes:
        """The response's body, as far as it was sent."""
        return b"".join(data for _, data in self.pieces)

    @property
    def json(self) -> Any:
        """The response's body as JSON.

        Raises:
            ValueError: It is not JSON but, for example, an event stream; see `events`.
        """
        return json.loads(self.body)

    @property
    def streamed(self) -> bool:
        """Whether the response is an event stream."""
        return "event-stream" in self.headers.get("content-type", "")

    @property
    def events(self) -> list[tuple[float, Any]]:
        """The events of a stream with their offsets in seconds: JSON where they are JSON, else text."""
        found: list[tuple[float, Any]] = []
        rest = b""
        for at, sent in self.pieces if self.streamed else ():
            *blocks, rest = (rest + sent).replace(b"\r\n", b"\n").split(b"\n\n")
            found += [(at, data) for block in blocks if (data := _event(block)) is not None]
        return found

    @property
    def chat(self) -> bool:
        """Whether the request called the model."""
        return is_chat(self.request)

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """The messages of the request; empty if it is not a chat request."""
        return objects((json_object(self.request) or {}).get("messages"))

    @property
    def thinking(self) -> str:
        """The thinking that was sent in a field of its own."""
        # A gateway sends the same thinking in both fields.
        return next((text for name in _THINKING if (text := self._field(name))), "")

    @property
    def text(self) -> str:
        """The content that was sent, inline tags and tokens included."""
        return self._field("content")

    @property
    def tool_calls(self) -> list[Call]:
        """The tool calls that were sent, their arguments as text."""
        found: dict[Any, Call] = {}
        for choice in self._choices():
            for number, call in enumerate(_side(choice).get("tool_calls") or ()):
                key, function = call.get("index", number), call.get("function") or {}
                old = found.get(key, Call("", ""))
                found[key] = Call(
                    function.get("name") or old.name,
                    old.arguments_text + (function.get("arguments") or ""),
                    call.get("id") or old.id,
                )
        return list(found.values())

    @property
    def finish_reason(self) -> str | None:
        """The finish reason that was sent last, if one was."""
        reasons = [choice.get("finish_reason") for choice in self._choices()]
        return next((str(reason) for reason in reversed(reasons) if reason), None)

    def __str__(self) -> str:
        sizes = [f"{len(text)} {name}" for name in ("thinking", "text") if (text := getattr(self, name))]
        sizes += [f"{call.name}({len(call.arguments_text)})" for call in self.tool_calls]
        ends = [self.finish_reason or "", self.ending if self.ending != "complete" else ""]
        status = f"{self.status or 'no head'}{' stream' if self.streamed else ''}"
        answer = ", ".join(filter(None, [*sizes, *ends]))
        request = self.request
        line = f"{summary(request.method, request.path, json_object(request))} -> {status}{': ' if answer else ''}{answer}"
        # What a request says must not steer a terminal.
        return "".join(char if char.isprintable() else "?" for char in line)

    def line(self) -> str:
        """The exchange in one line, with its time and duration: what `--watch` prints."""
        clock = time.strftime("%H:%M:%S", time.localtime(self.arrived))
        return f"{clock} {self}, {self.duration or 0.0:.2f} s"

    def to_data(self) -> dict[str, Any]:
        """The exchange as JSON data; headers and parameters that authenticate the caller are masked."""
        request = self.request
        return {
            "request": {
                "method": request.method,
                "path": request.path,
                "query": masked_query(request.query),
                "headers": {
                    name: "***" if is_secret_header(name) else value
                    for name, value in request.headers.items()
                },
                "body": json_object(request) if self.chat else None,
            },
            "response": {
                "status": self.status,
                "headers": dict(self.headers),
                "events": [{"at": round(at, 6), "data": data} for at, data in self.events],
                "body": self.body.decode("utf-8", "replace") if self.chat and not self.streamed else None,
                "ending": self.ending,
            },
            "arrived": self.arrived,
            "duration": self.duration,
            "summary": str(self),
        }

    def _field(self, name: str) -> str:
        return "".join(str(_side(choice).get(name) or "") for choice in self._choices())

    def _choices(self) -> Iterator[Mapping[str, Any]]:
        sent = [data for _, data in self.events] if self.streamed else [_read(self.body)]
        for data in objects(sent):
            body = data.get("predictions", data)
            yield from objects(body.get("choices"))[:1] if isinstance(body, Mapping) else ()


def _side(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    return choice.get("delta") or choice.get("message") or {}


def _event(block: bytes) -> Any:
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return _read(b"\n".join(lines)) if lines else None


def _read(data: bytes) -> Any:
    """JSON if it is JSON, else text."""
    text = data.decode("utf-8", "replace")
    value = parsed(text)
    return text if value is None else value


class Journal:
    """Exchanges in the order of arrival, the newest `limit` of them or all."""

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"journal_limit {limit} must be 1 or more; leave it out to keep everything")
        self.watchers: list[Callable[[Exchange], None]] = []
        self._kept: deque[Exchange] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Exchange]:
        with self._lock:
            return iter(list(self._kept))

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._kept.clear()

    def find(self, match: Match, status: int | None, finish_reason: str | None) -> list[Exchange]:
        """The exchanges with the model that fulfill all conditions, in the order of arrival."""
        return [
            exchange
            for exchange in self
            if (chat := _chat_of(exchange.request)) is not None
            and not match.unmet(chat, exchange.request)
            and status in (None, exchange.status)
            and finish_reason in (None, exchange.finish_reason)
        ]

    def failure(self, words: str) -> AssertionError:
        """An error that lists everything that came."""
        seen = [f"  {number}. {exchange}" for number, exchange in enumerate(self, start=1)]
        came = "\n".join(seen) or "  none"
        return AssertionError(
            f"kimi-vertex emulator: {words}\nRequests that came, and their answers:\n{came}"
        )

    def why_unscripted(self, request: Recorded, script: Script) -> list[str]:
        """A request that no script answered, and what did not match in each rule."""
        chat = _chat_of(request)
        words = [f"  {rule.refusal(chat, request)}" for rule in script.rules] if chat is not None else []
        more = [f"  and {len(words) - _MOST_RULES} more"] if len(words) > _MOST_RULES else []
        asked = summary(request.method, request.path, json_object(request))
        return [f"not scripted: {asked}", *words[:_MOST_RULES], *more]

    def open(self, request: Recorded) -> Exchange:
        """Begins an exchange."""
        exchange = Exchange(request, time.time())
        with self._lock:
            self._kept.append(exchange)
        return exchange

    def fail(self, exchange: Exchange) -> None:
        """Notes that the emulator itself failed, which the connection answers with status 500."""
        exchange.status = 500
        self._end(exchange, "complete")

    def note(self, exchange: Exchange, reply: Reply) -> Reply:
        """The same reply, noting what of it is sent."""
        exchange.headers = {name.lower(): value for name, value in reply.headers.items()}
        exchange.unexpected, exchange.on_end = reply.unexpected, reply.done

        def done() -> None:
            answered = _DONE in b"".join(data for _, data in exchange.pieces[-2:])
            self._end(exchange, "complete" if answered else "left")

        return replace(reply, parts=self._noted(exchange, reply), done=done)

    def _noted(self, exchange: Exchange, reply: Reply) -> Iterator[Part]:
        # Asked for the first part, the connection has just sent the head.
        exchange.status = reply.status
        missing = int(exchange.headers.get("content-length", -1))
        for part in reply.parts:
            if isinstance(part, bytes):
                exchange.pieces.append((time.monotonic() - exchange.began, part))
                missing -= len(part)
            # The client may be done with a body of declared length before the next part is asked for.
            if missing == 0:
                self._end(exchange, "complete")
            elif part in ("reset", "cut"):
                self._end(exchange, part)
            yield part
        self._end(exchange, "complete" if reply.status is not None else "cut")

    def _end(self, exchange: Exchange, ending: Ending) -> None:
        if exchange.ending != "running":
            return
        exchange.duration, exchange.ending = time.monotonic() - exchange.began, ending
        if exchange.on_end is not None:
            exchange.on_end()
        for watcher in self.watchers:
            try:
                watcher(exchange)
            except Exception:  # noqa: BLE001  # a watcher must not break what it watches
                _LOG.exception("emulator: a watcher failed")


def _chat_of(request: Recorded) -> ChatRequest | None:
    """What a request asks the model, if it does so readably."""
    body = (json_object(request) or {}) if is_chat(request) else {}
    messages = objects(body.get("messages"))
    model = str(body.get("model") or "")
    return ChatRequest.from_body({**body, "messages": messages}, model=model) if messages else None


def journal_page(journal: Journal, request: Recorded) -> Reply:
    """The journal as JSON, for `GET /_emulator/journal`; `?last=N` gives the newest N exchanges only."""
    last = parse_qs(request.query).get("last", [""])[-1]
    if request.method != "GET" or not (last.isdecimal() or not last):
        return google_error(400, f"Ask with GET {JOURNAL} or GET {JOURNAL}?last=N.")
    exchanges = list(journal)
    kept = exchanges[max(0, len(exchanges) - int(last)) :] if last else exchanges
    return json_reply({"emulator": "kimi-vertex", "exchanges": [exchange.to_data() for exchange in kept]})
