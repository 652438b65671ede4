"""What a `Fault` makes of the answer that it strikes: one entry of a table for each kind. No sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from kimi_vertex_emulator._dialects import DONE, event
from kimi_vertex_emulator._reply import EVENT_STREAM, Reply, body_reply, google_body, google_error, json_reply
from kimi_vertex_emulator._requests import parsed
from kimi_vertex_emulator.answers import Fault, Part

__all__ = ["INVALID_CREDENTIALS", "NO_CREDENTIALS", "breaks_an_answer", "early_reply", "strike"]

_EXPECTED: Final = "Expected OAuth 2 access token, login cookie or other valid authentication credential."
INVALID_CREDENTIALS: Final = f"Request had invalid authentication credentials. {_EXPECTED}"
NO_CREDENTIALS: Final = f"Request is missing required authentication credential. {_EXPECTED}"
_MESSAGES: Final = {
    "400": "Request contains an invalid argument.",
    "401": INVALID_CREDENTIALS,
    "403": "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/"
    "emulator/locations/global/endpoints/openapi' (or it may not exist).",
    "404": "Requested entity was not found",
    "408": "The request timed out. Please try again.",
    "429": "Resource exhausted. Please try again later. Please refer to "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
    "500": "Internal error encountered.",
    "503": "The service is currently unavailable.",
    "504": "Deadline expired before operation could complete.",
}
_OAUTH: Final = {
    "400": ("invalid_grant", "Bad Request"),
    "401": ("invalid_client", "The OAuth client was not found."),
    "403": ("access_denied", "Account restricted."),
    "404": ("invalid_request", "Not found."),
    "429": ("rate_limit_exceeded", "Too many token requests."),
}
_PAGES: Final = {
    "413": ("Request Entity Too Large", "Your client issued a request that was too large."),
    "502": ("Server Error", "The server encountered a temporary error."),
}
_LONG_LINE: Final = 2 << 20


def _page(kind: str, status: int, fault: Fault) -> Reply:
    """A page of HTML about an error, as front ends send it."""
    words = (
        "<!DOCTYPE html>\n<html lang=en>\n<title>Error {0} ({1})!!1</title>\n<p><b>{0}.</b> {2}\n</html>\n"
    )
    page = words.format(kind, *_PAGES[kind]).encode()
    return body_reply(page, "text/html; charset=UTF-8", status, _retry_after(fault))


def _head_of(streaming: bool) -> dict[str, str]:
    return {"content-type": EVENT_STREAM if streaming else "application/json"}


_EARLY: Final[dict[str, Callable[[Fault, bool], Reply]]] = {
    # The fault and whether a stream was asked for -> all that is sent.
    "reset": lambda _fault, _: Reply(None, ("reset",)),
    "close": lambda _fault, _: Reply(None, ("cut",)),
    "garbage": lambda _fault, _: Reply(None, (b"220 mail ready\r\n", "cut")),
    "stall": lambda fault, _: Reply(None, (fault.seconds, "cut")),
    "413": lambda fault, _: _page("413", 413, fault),
    "502": lambda fault, _: _page("502", 502, fault),
    "stall-head": lambda fault, streaming: Reply(200, (fault.seconds, "cut"), _head_of(streaming)),
    "empty-body": lambda _fault, streaming: Reply(200, (), _head_of(streaming)),
    "wrong-content-type": lambda fault, _: _page("502", 200, fault),
    "bad-gzip": lambda _fault, streaming: Reply(
        200, (b"this is not gzip",), {**_head_of(streaming), "content-encoding": "gzip"}
    ),
    "error-200": lambda _fault, _: json_reply(google_body(503, _MESSAGES["503"])),
}
_FLAT: Final = {"object": "error", "message": "The engine died.", "type": "InternalServerError", "code": 500}
_ERRORS: Final[dict[str, Any]] = {
    "error-event": google_body(429, _MESSAGES["429"]),
    "error-event-list": [google_body(429, _MESSAGES["429"])],
    "error-event-flat": _FLAT,
}
_BREAKS: Final[dict[str, Callable[[Fault], tuple[Part, ...]]]] = {
    # The fault -> what follows what has been sent of an answer. A pause lets the client see that: a reset may overtake it.
    "reset-mid": lambda _: (0.05, "reset"),
    "cut-mid": lambda _: (0.05, "cut"),
    "stall-mid": lambda fault: (fault.seconds, "cut"),
    "no-finish": lambda _: (),
    "half-event": lambda _: (b'data: {"choices":[{"index":0,"delta":{"content":"bro',),
    "malformed-json": lambda _: (b'data: {"choices":[{"delta":{"content":"bro\n\n',),
}


def _kept_alive(fault: Fault, parts: Iterable[Part], streaming: bool) -> Iterator[Part]:
    for _ in range(10):
        yield fault.seconds / 10
        # JSON allows white space around a value.
        yield b": keep-alive\n\n" if streaming else b" "
    yield from parts


def _long_line(fault: Fault, parts: Iterable[Part], streaming: bool) -> Iterator[Part]:
    sent = 0
    for part in parts:
        if sent == (fault.after if streaming else 0):
            yield b": " + b"x" * _LONG_LINE + b"\n\n" if streaming else b" " * _LONG_LINE
        yield part
        sent += isinstance(part, bytes)


def _without_reason(_: Fault, parts: Iterable[Part], streaming: bool) -> Iterator[Part]:
    for part in parts:
        value = _json(part)
        answer = value.get("predictions", value) if isinstance(value, dict) else None
        if not isinstance(answer, dict) or not answer.get("choices"):
            yield part
            continue
        answer["choices"] = [{**choice, "finish_reason": None} for choice in answer["choices"]]
        yield event(value) if streaming else event(value).removeprefix(b"data: ").rstrip()


def _open_end(fault: Fault, parts: Iterable[Part], streaming: bool) -> Iterator[Part]:
    yield from parts
    if streaming:
        yield fault.seconds


_ODD: Final[dict[str, Callable[[Fault, Iterable[Part], bool], Iterable[Part]]]] = {
    # The fault, the parts of the answer, whether it is a stream -> all of it, but oddly sent.
    "keep-alive": _kept_alive,
    "oversized-line": _long_line,
    "plain-text": lambda _fault, parts, _: parts,
    "no-reason": _without_reason,
    "no-done": lambda _fault, parts, _: (part for part in parts if part != DONE),
    "open-end": _open_end,
}


def breaks_an_answer(fault: Fault) -> bool:
    """Whether a part of a real answer comes before the fault."""
    return fault.kind in _ERRORS or fault.kind in _BREAKS or fault.kind in _ODD


def early_reply(fault: Fault, *, streaming: bool, token: bool = False) -> Reply:
    """The reply of a fault that strikes before anything of the answer is there; see `strike`."""
    if made := _EARLY.get(fault.kind):
        return made(fault, streaming)
    code, words, headers = int(fault.kind), _MESSAGES[fault.kind], _retry_after(fault)
    if token:
        name, words = _OAUTH.get(fault.kind, ("internal_failure", words))
        return json_reply({"error": name, "error_description": words}, code, headers)
    return google_error(code, words, wrapped=streaming, headers=headers)


def strike(fault: Fault, answer: Callable[[], Reply], *, streaming: bool, token: bool = False) -> Reply:
    """What a fault makes of an answer, which is not asked for if the fault comes before it.

    Google wraps its error in a list where a stream was asked for; a `token` source has an error shape of its own.
    """
    if not breaks_an_answer(fault):
        return early_reply(fault, streaming=streaming, token=token)
    reply = answer()
    head = {name: value for name, value in reply.headers.items() if name != "content-length"}
    if fault.kind == "plain-text":
        head["content-type"] = "text/plain"
    if odd := _ODD.get(fault.kind):
        return replace(reply, headers=head, parts=odd(fault, reply.parts, streaming))
    if streaming:
        return replace(reply, headers=head, parts=_broken(fault, reply.parts))
    if fault.kind in _ERRORS:
        return json_reply(_ERRORS[fault.kind])
    body = b"".join(part for part in reply.parts if isinstance(part, bytes))
    rest = (part for part in _BREAKS[fault.kind](fault) if not isinstance(part, bytes))
    return replace(reply, headers=head, parts=(body[: len(body) // 2], *rest))


def _broken(fault: Fault, parts: Iterable[Part]) -> Iterator[Part]:
    sent = 0
    for part in parts:
        # A fault behind the end would break nothing: the end is never sent.
        if sent == fault.after or _is_end(part):
            break
        yield part
        sent += isinstance(part, bytes)
    yield from [event(_ERRORS[fault.kind])] if fault.kind in _ERRORS else _BREAKS[fault.kind](fault)


def _is_end(part: Part) -> bool:
    value = _json(part)
    choices = value.get("choices") if isinstance(value, dict) else None
    return part == DONE or any(choice.get("finish_reason") for choice in choices or ())


def _json(part: Part) -> Any:
    return parsed(part.removeprefix(b"data: ")) if isinstance(part, bytes) else None


def _retry_after(fault: Fault) -> dict[str, str]:
    return {} if fault.retry_after is None else {"retry-after": fault.retry_after}
