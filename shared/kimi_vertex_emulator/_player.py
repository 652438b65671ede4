"""Which recorded answer a request gets. Plain logic, no I/O but reading the cassette."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._reply import Reply, encode_json, raw_reply
from kimi_vertex_emulator._routes import ENDPOINT
from kimi_vertex_emulator.cassette import Cassette, Interaction, Matching, clean_body, redactor_of
from kimi_vertex_emulator.script import Part, Raw, Recorded, known

__all__ = ["Player"]


class Player:
    """Replays a cassette.

    The same request again gets the next answer that was recorded for it, and the last one over and over.

    Args:
        cassette: The cassette or its path.
        match: How requests are found in it.
        timed: Whether to replay the pauses.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no cassette, or `match` is unknown.
    """

    def __init__(self, cassette: Cassette | str | Path, match: Matching, *, timed: bool) -> None:
        known(match, get_args(Matching), "match")
        self._cassette = cassette if isinstance(cassette, Cassette) else Cassette.load(cassette)
        self._match: Matching = match
        self._timed = timed
        self._keys = [_key(item.method, item.path, item.body, match) for item in self._cassette.interactions]
        self._used: set[int] = set()

    def rewind(self) -> None:
        """Begins anew: nothing has been asked for."""
        self._used.clear()

    @property
    def unused(self) -> list[str]:
        """In words, the interactions that were never asked for."""
        items = enumerate(self._cassette.interactions)
        return [_told(item.method, item.path, item.body) for n, item in items if n not in self._used]

    def take(self, request: Recorded) -> Reply | None:
        """The recorded answer, `None` if there is none."""
        body = clean_body(request, redactor_of(request, self._cassette.redact))
        key = _key(request.method, request.path, body, self._match)
        found = [number for number, recorded in enumerate(self._keys) if recorded == key]
        if not found:
            return None
        number = next((number for number in found if number not in self._used), found[-1])
        self._used.add(number)
        return self._reply(self._cassette.interactions[number])

    def missed(self, request: Recorded) -> Raw:
        """The refusal of a request that the cassette does not hold; it names what comes closest."""
        body = clean_body(request, redactor_of(request, self._cassette.redact))
        asked = _told(request.method, request.path, body)
        held = [_told(item.method, item.path, item.body) for item in self._cassette.interactions]
        message = (
            f"The cassette holds no answer to this request ({self._match} match): {asked}. "
            f"It holds {len(held)}: {'; '.join(held[:5]) or 'nothing'}{'; ...' if len(held) > 5 else ''}. "
            f"{self._difference(body)}Record it again, or match='semantic'."
        )
        error = {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}
        return Raw([encode_json(error)], status=404)

    def _difference(self, body: Any) -> str:
        if not isinstance(body, Mapping):
            return ""
        bodies = [item.body for item in self._cassette.interactions if isinstance(item.body, Mapping)]
        differing = [
            sorted(name for name in {*body, *other} if body.get(name) != other.get(name)) for other in bodies
        ]
        closest = min(differing, key=len, default=[])
        return f"The closest differs in {', '.join(closest)}. " if closest else ""

    def _reply(self, item: Interaction) -> Reply:
        parts: list[Part] = []
        clock = item.head
        for part in item.parts:
            if self._timed and part.at > clock:
                parts.append(part.at - clock)
                clock = part.at
            parts.append(part.data)
        if self._timed and item.seconds > clock:
            parts.append(item.seconds - clock)
        if item.cut:
            parts.append("cut")
        reply = raw_reply(Raw(parts, item.status, item.headers))
        return Reply(reply.status, reply.parts, reply.headers, item.head if self._timed else 0.0)


def _tail(path: str) -> str:
    """What follows the endpoint: project, location and endpoint are the caller's affair."""
    match = ENDPOINT.fullmatch(path)
    if match is not None:
        return match["verb"] or ""
    return "/chat/completions" if path.endswith("/chat/completions") else path


def _key(method: str, path: str, body: Any, match: Matching) -> str:
    if match == "exact" or not _readable(body):
        return json.dumps([method, _tail(path), body], sort_keys=True)
    chat = ChatRequest.from_body(body, model=str(body.get("model") or ""))
    spoken = [number for number, message in enumerate(chat.messages) if message.role == "user"]
    last = spoken[-1] if spoken else 0
    since = [message for message in chat.messages[last:] if message.role in {"user", "tool"}]
    said = [[message.role, " ".join(message.text.split())] for message in since]
    return json.dumps([chat.model, said, sorted(tool.name for tool in chat.tools), chat.stream])


def _readable(body: Any) -> bool:
    messages = body.get("messages") if isinstance(body, Mapping) else None
    return isinstance(messages, list) and bool(messages) and all(isinstance(m, Mapping) for m in messages)


def _told(method: str, path: str, body: Any) -> str:
    line = f"{method} ...{_tail(path)}"
    if not _readable(body):
        return line
    last = body["messages"][-1]
    words = " ".join(str(last.get("content")).split())
    return f"{line} ({len(body['messages'])} messages; {last.get('role')}: {words[:80]!r})"
