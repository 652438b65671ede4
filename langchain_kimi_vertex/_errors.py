"""The core's errors, joined to the error types that LangChain's retries, fallbacks and middleware look at.

Each class here is both: `except kimi_vertex.RateLimitError` and
`except langchain_core.exceptions.ModelRateLimitError` catch the same error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core import exceptions as lc
from langchain_core.messages import AIMessage

import kimi_vertex as core
from langchain_kimi_vertex._chunks import to_message

__all__ = ["ErrorResponse", "langchain_errors", "to_langchain_error"]


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """What the service answered, in the shape that LangChain's tracing reads from an error."""

    status_code: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The decoded body."""
        return self.body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)


class _Partial:
    partial: core.Completion | None

    @property
    def partial_message(self) -> AIMessage | None:
        """What had arrived before the failure, as a message; its cut-off calls are invalid calls."""
        return None if self.partial is None else to_message(self.partial)


class _Status(_Partial):
    status_code: int
    body: Any
    request_id: str | None

    @property
    def response(self) -> ErrorResponse:
        """Status and body, for LangChain's trace of the failed run."""
        headers = {"x-request-id": self.request_id} if self.request_id else {}
        return ErrorResponse(self.status_code, self.body, headers)


class InvalidRequestError(core.InvalidRequestError, lc.ModelInvalidRequestError):
    """The conversation cannot be sent to this model as it is."""


class CredentialsError(core.CredentialsError, lc.ModelAuthenticationError):
    """No usable Google credentials, or no token to be had."""


class APIError(_Partial, core.APIError, lc.ModelAPIError):
    """The service failed, or the way to it did."""


class APIConnectionError(_Partial, core.APIConnectionError, lc.ModelConnectionError):
    """The service could not be reached."""


class APITimeoutError(_Partial, core.APITimeoutError, lc.ModelTimeoutError, lc.ModelConnectionError):
    """Nothing came for longer than the timeout allows."""


class APIStatusError(_Status, core.APIStatusError, lc.ModelAPIError):
    """An HTTP status without a class of its own."""


class BadRequestError(_Status, core.BadRequestError, lc.ModelInvalidRequestError):
    """400: the service does not accept the request."""


class ContextOverflowError(
    _Status, core.ContextOverflowError, lc.ContextOverflowError, lc.ModelInvalidRequestError
):
    """The conversation is larger than the model's context window."""


class AuthenticationError(_Status, core.AuthenticationError, lc.ModelAuthenticationError):
    """401: the token was not accepted."""


class PermissionDeniedError(_Status, core.PermissionDeniedError, lc.ModelPermissionDeniedError):
    """403: the account may not call this model or endpoint."""


class NotFoundError(_Status, core.NotFoundError, lc.ModelNotFoundError):
    """404: no such model or endpoint, or a retired one."""


class RequestTooLargeError(_Status, core.RequestTooLargeError, lc.ModelInvalidRequestError):
    """413: the body is over the endpoint's limit."""


class RateLimitError(_Status, core.RateLimitError, lc.ModelRateLimitError):
    """429: shared capacity or a quota is exhausted."""


class InternalServerError(_Status, core.InternalServerError, lc.ModelAPIError):
    """408 or 5xx: the service failed."""


class APIResponseError(_Partial, core.APIResponseError, lc.ModelAPIError):
    """The status was 200, but the body is not an answer."""


class StreamInterruptedError(_Partial, core.StreamInterruptedError, lc.ModelConnectionError):
    """The answer broke off; `partial_message` holds what arrived."""


class EmptyTurnError(_Partial, core.EmptyTurnError, lc.ModelAPIError):
    """The model finished without an answer, and `empty_turn="raise"` is set."""


_JOINED: Final[Mapping[type[core.KimiVertexError], type[core.KimiVertexError]]] = {
    parent: joined
    for joined in list(globals().values())
    if isinstance(joined, type) and issubclass(joined, core.KimiVertexError)
    for parent in joined.__bases__
    if issubclass(parent, core.KimiVertexError)
}
"""The classes above, by the core's class that each of them joins."""


def to_langchain_error(error: core.KimiVertexError) -> core.KimiVertexError:
    """The same error with LangChain's base class added; the error itself if there is no such class."""
    if isinstance(error, lc.ModelError):
        return error
    joined = next((_JOINED[base] for base in type(error).__mro__ if base in _JOINED), None)
    if joined is None:
        return error
    same = joined.__new__(joined)
    Exception.__init__(same, *error.args)
    same.__dict__.update(error.__dict__)
    return same


@contextmanager
def langchain_errors() -> Iterator[None]:
    """Raise the core's errors as LangChain's from this block on; everything else passes through."""
    try:
        yield
    except core.KimiVertexError as error:
        raise to_langchain_error(error).with_traceback(error.__traceback__) from error.__cause__
