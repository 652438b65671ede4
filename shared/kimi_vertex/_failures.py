"""Turns what went wrong on the wire into the errors of `errors`, in words that say what to do next."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from . import _wire
from ._endpoint import Target
from ._models import explain_status
from .completion import Completion
from .errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContextOverflowError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
)

__all__ = ["parse_retry_after", "refuses_forced_choice", "retryable", "status_error"]

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
# The texts of Moonshot, vLLM and SGLang for the same thing.
_OVERFLOW: Final = re.compile(
    r"maximum context length|model token limit|context (?:window|length)|max_(?:completion_)?tokens'? .{0,40}too large"
    r"|total message size \d+ exceeds|longer than the model|input (?:is )?too long",
    re.IGNORECASE,
)
_FORCED: Final = re.compile(
    r"tool_choice.{0,80}(?:incompatible|not (?:supported|allowed|compatible)|unsupported|invalid|thinking)",
    re.IGNORECASE | re.DOTALL,
)
# A quota that waiting for a moment does not refill, unlike overload and quotas by the minute.
_SPENT: Final = re.compile(r"current quota|insufficient[_ ](?:quota|balance)|per day", re.IGNORECASE)


def status_error(
    status: int,
    error: _wire.WireError,
    *,
    headers: Mapping[str, str],
    target: Target,
    model: str | None,
    now: datetime | None,
    partial: Completion | None = None,
) -> APIStatusError:
    """Build the error for an HTTP status, or for an error event that names one.

    Args:
        status: The HTTP status, or the one that the event names.
        error: What the service said.
        headers: The response's headers, names in lower case.
        target: Where the request went.
        model: The model asked for.
        now: The time, to read a `Retry-After` date by.
        partial: What had arrived before, for an error in the middle of a stream.
    """
    kind = _BY_STATUS.get(status) or (InternalServerError if status >= 500 else APIStatusError)
    if kind in (BadRequestError, RequestTooLargeError) and _OVERFLOW.search(error.message):
        kind = ContextOverflowError
    said = error.message or "the service gave no reason"
    where = f" ({error.code})" if error.code else ""
    details = error.message if error.body is None else f"{error.message} {_as_text(error.body)}"
    hint = explain_status(status, details, target, model)
    when = "in the middle of the answer" if partial is not None else "for"
    text = f"HTTP {status}{where} {when} {target.describe(model)}: {said}"
    if hint:
        text = f"{text.rstrip('.')}. {hint}"
    failure = kind(
        text,
        status_code=status,
        code=error.code,
        body=error.body,
        retry_after=parse_retry_after(headers.get("retry-after"), now),
        partial=partial,
        request_id=request_id(headers),
    )
    failure.is_retryable = retryable(failure)
    return failure


def request_id(headers: Mapping[str, str]) -> str | None:
    """The service's id of the request, under any of the names in use."""
    for name in ("x-request-id", "x-goog-request-id", "x-cloud-trace-context", "request-id"):
        if headers.get(name):
            return headers[name]
    return None


def retryable(error: APIStatusError) -> bool:
    """Whether the same request may succeed in a moment."""
    if error.status_code not in _RETRYABLE:
        return False
    return not (error.status_code == 429 and _SPENT.search(error.message))


def refuses_forced_choice(error: APIStatusError) -> bool:
    """Whether a server says that a thinking model cannot be made to call a tool.

    Moonshot's words are "tool_choice 'required' is incompatible with thinking enabled".
    """
    return error.status_code in (400, 422) and bool(_FORCED.search(error.message))


def parse_retry_after(value: str | None, now: datetime | None) -> float | None:
    """Seconds to wait from a `Retry-After` header: a number, or a date; `None` if absent or unreadable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        if now is None:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _as_text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)
