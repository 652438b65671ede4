"""Faults as replies: what a `Fault` makes of the answer that it strikes. Knows bodies and parts, no sockets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from kimi_vertex_emulator._dialects import event
from kimi_vertex_emulator._reply import EVENT_STREAM, Reply, body_reply, json_reply
from kimi_vertex_emulator.script import Fault, Part

__all__ = ["early_reply", "exhausted", "struck"]

_STATUSES: Final[dict[str, tuple[str, str]]] = {
    "400": ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    "401": (
        "UNAUTHENTICATED",
        (
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
            "valid authentication credential."
        ),
    ),
    "403": (
        "PERMISSION_DENIED",
        (
            "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/"
            "emulator/locations/global/endpoints/openapi' (or it may not exist)."
        ),
    ),
    "404": ("NOT_FOUND", "Requested entity was not found"),
    "408": ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
    "429": (
        "RESOURCE_EXHAUSTED",
        (
            "Resource exhausted. Please try again later. Please refer to "
            "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."
        ),
    ),
    "500": ("INTERNAL", "Internal error encountered."),
    "503": ("UNAVAILABLE", "The service is currently unavailable."),
    "504": ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}
_OAUTH: Final = {
    "400": ("invalid_grant", "Bad Request"),
    "401": ("invalid_client", "The OAuth client was not found."),
    "403": ("access_denied", "Account restricted."),
    "404": ("invalid_request", "Not found."),
    "429": ("rate_limit_exceeded", "Too many token requests."),
}
_PAGE: Final = (
    "<!DOCTYPE html>\n<html lang=en>\n<title>Error {0} ({1})!!1</title>\n"
    "<p><b>{0}.</b> <ins>That's an error.</ins>\n<p>{2}\n</html>\n"
)
_PAGES: Final = {
    "413": ("Request Entity Too Large", "Your client issued a request that was too large."),
    "502": ("Server Error", "The server encountered a temporary error."),
}
_LONG_LINE: Final = 2 << 20
_ODD_ENDS: Final = ("no-reason", "no-done", "open-end")
_BROKEN_OFF: Final[dict[str, Literal["reset", "cut"]]] = {"reset-mid": "reset", "cut-mid": "cut"}


def early_reply(fault: Fault, *, streaming: bool, token: bool = False) -> Reply:
    """The reply of a fault that strikes before anything of the answer is there.

    Args:
        fault: The fault; `strikes_late` is false.
        streaming: The call asked for a stream: Google then wraps its error in a list.
        token: A token source was asked, which has its own error shape.
    """
    kind = fault.kind
    if kind == "reset":
        return Reply(None, ("reset",))
    if kind == "close":
        return Reply(None, ("cut",))
    if kind == "garbage":
        return Reply(None, (b"220 mail ready\r\n", "cut"))
    if kind == "stall":
        return Reply(None, (fault.seconds, "cut"))
    if kind == "307":
        return body_reply(b"", "text/html", 307, {"location": "/elsewhere"})
    if kind in _PAGES:
        return _page(kind, int(kind), _retry_after(fault))
    if kind.isdecimal():
        return _status_reply(fault, streaming=streaming, token=token)
    return _useless(fault, EVENT_STREAM if streaming else "application/json", streaming=streaming)


def _useless(fault: Fault, content_type: str, *, streaming: bool) -> Reply:
    """A 200 that is no answer."""
    kind = fault.kind
    if kind == "stall-head":
        return Reply(200, (fault.seconds, "cut"), {"content-type": content_type})
    if kind == "empty-body":
        return body_reply(b"", content_type)
    if kind == "wrong-content-type":
        return _page("502", 200)
    if kind == "bad-gzip":
        return body_reply(b"this is no gzip", content_type, headers={"content-encoding": "gzip"})
    if kind == "error-200":
        return json_reply({"error": _error("503")})
    name = "chat.completion.chunk" if streaming else "chat.completion"
    body: dict[str, Any] = {"id": "emulator", "object": name, "created": 0, "model": "emulator"}
    if kind == "wrong-shape":
        body = {"answer": "Hello"}
    else:
        body["choices"] = [] if kind == "empty-choices" else None
    if not streaming:
        return json_reply(body)
    return Reply(200, (event(body), b"data: [DONE]\n\n"), {"content-type": EVENT_STREAM})


def _page(kind: str, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    """A page of HTML about an error, as front ends send it."""
    page = _PAGE.format(kind, *_PAGES[kind]).encode()
    return body_reply(page, "text/html; charset=UTF-8", status, headers)


def _status_reply(fault: Fault, *, streaming: bool, token: bool) -> Reply:
    code = int(fault.kind)
    if token:
        name, words = _OAUTH.get(fault.kind, ("internal_failure", _STATUSES[fault.kind][1]))
        return json_reply({"error": name, "error_description": words}, code, _retry_after(fault))
    body = {"error": _error(fault.kind)}
    return json_reply([body] if streaming else body, code, _retry_after(fault))


def exhausted(*, streaming: bool, retry_after: str | None) -> Reply:
    """The 429 of a quota that is used up."""
    return _status_reply(Fault("429", retry_after=retry_after), streaming=streaming, token=False)


def struck(fault: Fault, reply: Reply, *, streaming: bool) -> Reply:
    """An answer that a fault strikes in the middle."""
    if fault.kind in _ODD_ENDS and not (streaming or fault.kind == "no-reason"):
        return reply
    if fault.kind == "plain-text":
        return replace(reply, headers={**reply.headers, "content-type": "text/plain"})
    if streaming:
        head = {name: value for name, value in reply.headers.items() if name != "content-length"}
        return Reply(reply.status, _struck_stream(fault, reply.parts), head, reply.delay)
    body = b"".join(part for part in reply.parts if isinstance(part, bytes))
    return _struck_body(fault, body, reply)


def _struck_stream(fault: Fault, parts: Iterable[Part]) -> Iterator[Part]:
    if fault.kind == "trickle":
        yield from _trickle(fault, parts)
        return
    if fault.kind == "keep-alive":
        yield from _waiting(fault, b": keep-alive\n\n")
        yield from parts
        return
    if fault.kind in _ODD_ENDS:
        yield from _oddly_ended(fault, parts)
        return
    sent, part, rest = 0, None, iter(parts)
    for part in rest:
        if sent == fault.after:
            break
        # A fault behind the end would be none: the end is never sent.
        if isinstance(part, bytes) and (part.startswith(b"data: [DONE]") or _ends(part)):
            break
        yield part
        sent += isinstance(part, bytes)
    if fault.kind == "oversized-line":
        yield b": " + b"x" * _LONG_LINE + b"\n\n"
        if part is not None:
            yield part
        yield from rest
        return
    yield from _blow(fault)


def _blow(fault: Fault) -> Iterator[Part]:
    """The fault itself, in a stream."""
    if fault.kind in _BROKEN_OFF:
        # The client has to see what came before; a reset may overtake it.
        yield 0.05
        yield _BROKEN_OFF[fault.kind]
    elif fault.kind == "stall-mid":
        yield fault.seconds
        yield "cut"
    elif fault.kind == "error-event":
        yield event({"error": _error("429")})
    elif fault.kind == "error-event-list":
        yield event([{"error": _error("429")}])
    elif fault.kind == "error-event-flat":
        yield event(
            {"object": "error", "message": "The engine died.", "type": "InternalServerError", "code": 500}
        )
    elif fault.kind == "malformed-json":
        yield b'data: {"choices":[{"delta":{"content":"bro\n\n'
    elif fault.kind == "half-event":
        yield b'data: {"choices":[{"index":0,"delta":{"content":"bro'


def _oddly_ended(fault: Fault, parts: Iterable[Part]) -> Iterator[Part]:
    """The whole answer, but for the marks at its end."""
    for part in parts:
        if fault.kind == "no-done" and part == b"data: [DONE]\n\n":
            continue
        if fault.kind == "no-reason" and isinstance(part, bytes) and _ends(part):
            yield event(_without_reason(json.loads(part.removeprefix(b"data: "))))
        else:
            yield part
    if fault.kind == "open-end":
        yield fault.seconds


def _unreasoned(body: bytes, reply: Reply) -> Reply:
    """A whole answer without its finish reason; what is no answer of the model has none."""
    try:
        value = json.loads(body)
        inner = value.get("predictions", value)
        value = _without_reason(inner) if inner is value else {**value, "predictions": _without_reason(inner)}
    except (AttributeError, KeyError, ValueError):
        return reply
    return json_reply(value)


def _without_reason(body: Any) -> Any:
    choices = [{**choice, "finish_reason": None} for choice in body["choices"]]
    return {**body, "choices": choices}


def _waiting(fault: Fault, sign: bytes) -> Iterator[Part]:
    """Signs of life, and nothing else."""
    for _ in range(10):
        yield fault.seconds / 10
        yield sign


def _trickle(fault: Fault, parts: Iterable[Part]) -> Iterator[Part]:
    """The whole answer, cut small and slow, over the fault's seconds."""
    pieces = [
        part[at : at + 16] for part in parts if isinstance(part, bytes) for at in range(0, len(part), 16)
    ]
    for piece in pieces:
        yield fault.seconds / len(pieces)
        yield piece


def _struck_body(fault: Fault, body: bytes, reply: Reply) -> Reply:
    half = body[: len(body) // 2]
    parts: tuple[Part, ...]
    if fault.kind.startswith("error-event"):
        error: Any = {"error": _error("429")}
        return json_reply([error] if fault.kind == "error-event-list" else error)
    if fault.kind == "no-reason":
        return _unreasoned(body, reply)
    if fault.kind in ("malformed-json", "half-event", "no-finish"):
        return body_reply(half, "application/json; charset=UTF-8")
    if fault.kind in _BROKEN_OFF:
        parts = (half, 0.05, _BROKEN_OFF[fault.kind])
    elif fault.kind == "stall-mid":
        parts = (half, fault.seconds, "cut")
    elif fault.kind == "trickle":
        parts = tuple(_trickle(fault, (body,)))
    elif fault.kind == "keep-alive":
        # JSON allows white space around a value.
        head = {**reply.headers, "content-length": str(len(body) + 10)}
        return Reply(reply.status, (*_waiting(fault, b" "), body), head, reply.delay)
    else:
        return body_reply(b" " * _LONG_LINE + body, "application/json; charset=UTF-8")
    return Reply(reply.status, parts, reply.headers, reply.delay)


def _ends(part: bytes) -> bool:
    """Whether a chunk says that the answer is whole."""
    try:
        chunk = json.loads(part.removeprefix(b"data: "))
    except ValueError:
        return False
    return any(choice.get("finish_reason") for choice in chunk.get("choices") or ())


def _error(kind: str) -> dict[str, Any]:
    status, message = _STATUSES[kind]
    return {"code": int(kind), "message": message, "status": status}


def _retry_after(fault: Fault) -> dict[str, str]:
    return {} if fault.retry_after is None else {"retry-after": fault.retry_after}
