"""Turns what went wrong on the wire into the errors of `errors`, in words that say what to do next."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from kimi_vertex import _wire
from kimi_vertex._target.target import Target
from kimi_vertex._text import plain
from kimi_vertex.completion import Completion
from kimi_vertex.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ContextOverflowError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    StreamInterruptedError,
)
from kimi_vertex.events import Finish
from kimi_vertex.options import EmptyTurnPolicy

from .advice import explain, explain_overflow
from .commands import TransportFailure
from .said import Said, short

__all__ = [
    "LOST_TAG",
    "broken",
    "empty_text",
    "parse_retry_after",
    "request_id",
    "retryable",
    "status_error",
    "unexpected",
    "unreachable",
    "unreadable",
]

LOST_TAG: Final = (
    "the server dropped the closing tag of the thinking (a fault of vLLM 0.25 to 0.33 in streams of later turns), so "
    "that the answer is inside the thinking"
)
"""Why a turn can be empty although the model has answered."""
logger = logging.getLogger("kimi_vertex")

_BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: InternalServerError,
    413: RequestTooLargeError,
    422: BadRequestError,
    429: RateLimitError,
}
_RETRYABLE: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
# The texts of Google, Moonshot, vLLM and SGLang for the same thing.
_OVERFLOW: Final = re.compile(
    r"(?:input|prompt|requested) token count.{0,40}exceeds|exceeds the maximum (?:allowed )?(?:number of tokens|length)|"
    r"maximum context length|model token limit|context (?:window|length)|max_(?:completion_)?tokens'? .{0,40}too large"
    r"|total message size \d+ exceeds|longer than the model|input (?:is )?too long",
    re.IGNORECASE,
)
_LONGEST_ID: Final = 200
_LONGEST_WAIT: Final = 30 * 24 * 3600.0
# A quota that waiting for a moment does not refill, unlike overload and quotas by the minute.
_SPENT: Final = re.compile(r"current quota|insufficient[_ ](?:quota|balance)|per day", re.IGNORECASE)


def status_error(
    said: Said,
    error: _wire.WireError,
    *,
    headers: Mapping[str, str],
    now: datetime | None,
    partial: Completion | None = None,
) -> APIStatusError:
    """Build the error for an HTTP status, or for an error event that names one.

    Args:
        now: The time, to read a `Retry-After` date by.
        partial: What had arrived before, for an error in the middle of a stream.
    """
    status = said.status
    kind = _BY_STATUS.get(status) or (InternalServerError if status >= 500 else APIStatusError)
    if kind in (BadRequestError, RequestTooLargeError) and _OVERFLOW.search(error.message):
        kind = ContextOverflowError
    failure = kind(
        f"{_news(said, kind, headers)} ({_address(said, error, partial is not None)}).",
        status_code=status,
        code=error.code,
        body=error.body,
        retry_after=_wait(headers, said.delay, now),
        partial=partial,
        request_id=request_id(headers),
    )
    failure.is_retryable = retryable(failure, said)
    return failure


def _news(said: Said, kind: type[APIStatusError], headers: Mapping[str, str]) -> str:
    """What happened and the next step, then the server's own words."""
    words = short(said.message) or "it gave no reason"
    if kind is ContextOverflowError:
        advice: str | None = explain_overflow(said)
    elif 300 <= said.status < 400:
        advice = _redirected(headers)
    else:
        advice = explain(said)
    if advice:
        return f"{advice} The server said: {words}"
    if said.status < 500 and said.status not in (408, 425, 429):
        return f"The server refused the request: {words}"
    if said.status == 429:
        return f"The server takes no more at the moment; try again later, or send less at once: {words}"
    return f"The server failed; try again later: {words}"


def _address(said: Said, error: _wire.WireError, amid: bool) -> str:
    """Status, codes and place, which come last in an error's text."""
    codes = " ".join(code for code in (f"HTTP {said.status}", error.code, said.reason) if code)
    parts = [codes + (" in the middle of the answer" if amid else ""), said.target.describe(said.model)]
    if said.account is not None:
        parts.append(f"account {said.account}")
    return "; ".join(parts)


def unreachable(
    failure: TransportFailure, place: str, *, target: Target, host: str, proxy: str | None
) -> APIError:
    """The error for a failure before the head of the response."""
    words = str(failure)
    through = f" through the proxy in {proxy}" if proxy else ""
    if failure.kind == "connect_timeout":
        text = (
            f"Could not connect in time to {host}{through}: check the network, a firewall or a proxy "
            "(HTTPS_PROXY), or raise Timeouts.connect."
        )
        return _unsent(APITimeoutError(f"{text} {words} ({place})."))
    if failure.kind == "timeout":
        return APITimeoutError(
            f"The service did not begin to answer in time: stream the answer, or raise the timeout. {host}{through}: "
            f"{words} ({place})."
        )
    if failure.kind == "proxy":
        return APIConnectionError(f"{_refused_by_proxy(words, host, proxy)} {words} ({place}).")
    if failure.kind == "connect":
        error = APIConnectionError(f"{_unconnected(words, target, host, proxy)} {words} ({place}).")
        met = (
            "ssl" in words.lower() or "certificate" in words.lower()
        )  # a server that waiting does not change
        return error if met else _unsent(error)
    tls = " Or does it want https?" if (target.base_url or "").startswith("http:") else ""
    return APIConnectionError(
        f"The connection to {host} broke before the answer began: try again, or look at the server's log.{tls} {words}"
        f"{through} ({place})."
    )


def _unsent(error: APIConnectionError) -> APIConnectionError:
    error.connected = False
    return error


def _refused_by_proxy(words: str, host: str, proxy: str | None) -> str:
    """What a proxy answered instead of letting a connection through, which its words begin with if it is a status."""
    name, where = (f"The proxy in {proxy}", "the variable") if proxy else ("The proxy", "its address")
    if words.startswith("407"):
        return f"{name} wants a login: put user and password into {where}."
    if words.startswith("4"):
        return f"{name} refuses {host}: ask its administrator, or name the host in NO_PROXY."
    if words.startswith("5"):
        return f"{name} cannot reach {host}: check the address, or name the host in NO_PROXY."
    return f"{name} does not let {host} through: check {where}, or name the host in NO_PROXY."


def _unconnected(words: str, target: Target, host: str, proxy: str | None) -> str:
    """Why there is no connection, and what to look at first."""
    low = words.lower()
    if target.emulator:
        port = (target.emulator_origin or "").rpartition(":")[2]
        return (
            f"Could not connect to the emulator at {host}: start it with `python -m kimi_vertex_emulator --port {port}`, "
            "or unset KIMI_VERTEX_EMULATOR_HOST."
        )
    if "too many open files" in low:
        return (
            f"Could not connect to {host}: this process may not open more files. Raise `ulimit -n`, or let fewer requests "
            "run (Pace.max_concurrency)."
        )
    if "mismatch, certificate" in low:
        return (
            f"Could not connect to {host}: its certificate is for another name. Check {_which_setting(target)}, or "
            "whether a proxy answers in its place."
        )
    if "certificate has expired" in low or "certificate is not yet valid" in low:
        return (
            f"Could not connect to {host}: its certificate has expired, or is not valid yet. Renew it, or set this "
            "machine's clock."
        )
    if "certificate" in low:
        return (
            f"Could not connect to {host}: its certificate is not trusted. Behind a TLS proxy or with an own CA pass "
            'ca_certs= (a PEM file, or "system").'
        )
    if "wrong_version_number" in low or "wrong version number" in low or "record layer" in low:
        return f"Could not connect to {host}: it does not speak TLS. Check the port; http needs a base_url with http://."
    if proxy:
        return (
            f"Could not connect through the proxy in {proxy}: check the variable, or name {host} in NO_PROXY."
        )
    if "name or service" in low or "nodename" in low or "resolution" in low or "getaddrinfo" in low:
        return f"Could not connect: {host} has no address. {_which_name(target)} Is a private DNS zone or VPN missing?"
    return f"Could not connect to {host}: is the server up, and {_which_setting(target)} right?"


def _which_setting(target: Target) -> str:
    if target.kind == "base_url":
        return "base_url"
    return "endpoint_host" if target.host is not None else "location"


def _which_name(target: Target) -> str:
    if _which_setting(target) == "location":
        return f"Is location={target.location!r} right?"
    return f"Is {_which_setting(target)} right?"


def broken(failure: TransportFailure, place: str, partial: Completion | None) -> APIError:
    """The error for an answer that broke off after its head."""
    if failure.kind == "unreadable":
        return APIResponseError(f"The answer cannot be read: {failure} ({place}).", partial=partial)
    if failure.kind == "timeout":
        return APITimeoutError(
            f"The answer stalled: {failure}. Ask again, or raise the timeout; what came is in partial ({place}).",
            partial=partial,
        )
    if partial is None:
        return APIConnectionError(
            f"The connection broke before any of the answer came; ask again: {failure} ({place})."
        )
    return StreamInterruptedError(
        f"The answer broke off; ask again, or use what came, in partial: {failure} ({place}).",
        partial=partial,
    )


def unreadable(
    problem: str, content_type: str, place: str, headers: Mapping[str, str], partial: Completion | None
) -> APIError:
    """The error for a status 200 whose body is not an answer."""
    if content_type == "text/html":
        news = (
            "The answer cannot be read: it is a web page, perhaps a login or a proxy's. Check base_url or endpoint_host, "
            f"and HTTPS_PROXY. {problem}"
        )
    else:
        news = f"The answer cannot be read: {problem}"
    error = APIResponseError(
        f"{news} (status 200, {content_type or 'no content type'}; {place}).",
        partial=partial,
        request_id=request_id(headers),
    )
    # A page of HTML is a wrong address or a login page, and stays one.
    error.is_retryable = partial is None and content_type != "text/html"
    return error


def unexpected(error: Exception, place: str, partial: Completion) -> APIError:
    """The error for an answer that this library should have read, or refused, and did not."""
    logger.error("An answer caused %s, which is a defect of kimi-vertex (%s).", type(error).__name__, place)
    return APIResponseError(
        f"The answer cannot be read: {type(error).__name__}. Please report this as a defect ({place}).",
        partial=partial if partial != Completion() else None,
    )


def empty_text(finish: Finish, place: str, policy: EmptyTurnPolicy) -> str:
    """What an empty turn is and what to do about it, beside what is done by `policy`; for the log and the error."""
    what = {
        "thinking_only": "The model thought, but gave neither an answer nor a tool call",
        "missing_tool_calls": "The server announced tool calls and sent none",
        "nothing": "The model's turn is empty",
    }[finish.empty or "nothing"]
    if finish.reason == "length":
        why = "; max_tokens was used up by thinking: raise it"
    else:
        why = "; ask again" if policy == "retry" else '; ask again, or set empty_turn="retry"'
    if finish.metadata.get("lost_closing_tag"):
        why = f"; {LOST_TAG}"
    return f"{what}{why} ({place})."


def request_id(headers: Mapping[str, str]) -> str | None:
    """The service's id of the request, under any of the names in use."""
    for name in ("x-request-id", "x-goog-request-id", "x-cloud-trace-context", "request-id"):
        if headers.get(name):
            return plain(headers[name], _LONGEST_ID)
    return None


def retryable(error: APIStatusError, said: Said) -> bool:
    """Whether the same request may succeed in a moment."""
    if error.status_code not in _RETRYABLE:
        return False
    return not (error.status_code == 429 and _SPENT.search(said.message))


def parse_retry_after(value: str | None, now: datetime | None) -> float | None:
    """Seconds to wait from a `Retry-After` header: a number, or a date; `None` if absent or unreadable.

    Nothing is waited for longer than a month, however large the number.
    """
    if not value:
        return None
    try:
        seconds = float(value) if any(map(str.isdigit, value)) else math.nan
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
            if now is None:
                return None
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
        except (ValueError, OverflowError, TypeError):
            return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), _LONGEST_WAIT)


def _wait(headers: Mapping[str, str], delay: str, now: datetime | None) -> float | None:
    """What the service asks to wait, in a header or beside its error."""
    seconds = parse_retry_after(headers.get("retry-after"), now)
    if seconds is not None:
        return seconds
    return parse_retry_after(delay[:-1], None) if delay.endswith("s") else None


def _redirected(headers: Mapping[str, str]) -> str:
    where = (
        plain(headers.get("location", "").partition("?")[0], _LONGEST_ID)
        or "an address that it does not name"
    )
    return (
        "The server sends elsewhere, perhaps to a login: check base_url or endpoint_host. It "
        f"redirects to {where}; redirects are not followed, so that no token reaches another host."
    )
