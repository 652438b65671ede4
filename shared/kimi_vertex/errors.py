"""Everything that this library raises on purpose.

    KimiVertexError
    ├── ConfigurationError (ValueError)      wrong project, location, endpoint, option
    ├── InvalidRequestError (ValueError)     input that cannot be sent: roles, images, orphan results, size
    ├── CredentialsError                     no usable Google credentials, or no token for them
    └── APIError                             the service, or the way to it
        ├── APIConnectionError
        │   └── APITimeoutError
        ├── APIStatusError                   an HTTP status, or an error event in a stream
        │   ├── BadRequestError (400)
        │   │   └── ContextOverflowError
        │   ├── AuthenticationError (401)
        │   ├── PermissionDeniedError (403)
        │   ├── NotFoundError (404)
        │   ├── RequestTooLargeError (413)
        │   ├── RateLimitError (429)
        │   └── InternalServerError (408 and 5xx)
        ├── APIResponseError                 a 200 that is not an answer: HTML, broken JSON, nothing
        ├── StreamInterruptedError           the answer broke off
        └── EmptyTurnError                   the model finished without an answer, and you asked for an error

All are picklable and hold no httpx objects. Nothing in them is a token. Their text is one line of 2,000 characters at
most, without control signs, whatever a server or a setting put into it.
"""

from __future__ import annotations

from typing import Any, Final

from ._text import plain
from .completion import Completion

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "ContextOverflowError",
    "CredentialsError",
    "EmptyTurnError",
    "InternalServerError",
    "InvalidRequestError",
    "KimiVertexError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTooLargeError",
    "StreamInterruptedError",
]


_LONGEST: Final = 2_000


def _rebuild(cls: type[KimiVertexError], message: str, state: dict[str, Any]) -> KimiVertexError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class KimiVertexError(Exception):
    """Base of all errors of this library."""

    def __init__(self, message: str = "") -> None:
        super().__init__(plain(message, _LONGEST))

    @property
    def message(self) -> str:
        """What happened and what to do about it."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.__dict__))


class ConfigurationError(KimiVertexError, ValueError):
    """A setting is wrong or missing. Raised before anything is sent."""


class InvalidRequestError(KimiVertexError, ValueError):
    """The conversation cannot be sent to this model as it is. Raised before anything is sent."""


class CredentialsError(KimiVertexError):
    """There are no usable Google credentials, or Google's token service gave no token."""

    def __init__(self, message: str, *, is_retryable: bool = False) -> None:
        super().__init__(message)
        self.is_retryable = is_retryable
        """Whether the token service failed in a way that may pass (it did not refuse)."""


class APIError(KimiVertexError):
    """The service failed, or the way to it did."""

    is_retryable: bool = False
    """Whether the same request may succeed later. The library has retried it, unless part of an answer was shown."""

    def __init__(
        self,
        message: str,
        *,
        partial: Completion | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.partial = partial
        """What had arrived before the failure; `None` if nothing had, or the answer is cut and was not streamed."""
        self.request_id = request_id
        """The service's id of the request, for a support case."""
        self.client_request_id: str | None = None
        """The id that was sent with it as `X-Request-Id`, to find it in a server's log."""


class APIConnectionError(APIError):
    """The service could not be reached, or the connection broke before an answer began."""

    is_retryable = True
    connected: bool = True
    """Whether there was a connection; if not, nothing of the request was sent."""


class APITimeoutError(APIConnectionError):
    """Nothing came for longer than the timeout allows."""


class APIStatusError(APIError):
    """The service answered with an error status, or sent an error event in its stream."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str | None = None,
        body: Any = None,
        retry_after: float | None = None,
        partial: Completion | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, partial=partial, request_id=request_id)
        self.status_code = status_code
        """The HTTP status; for an error event, the status that the event names."""
        self.code = code
        """Google's canonical code (`RESOURCE_EXHAUSTED`) or the server's error type."""
        self.body = body
        """The decoded error body: a dict, a list, or text; the beginning of it, if it is long or deeply nested."""
        self.retry_after = retry_after
        """Seconds that the service asked to wait, if it did."""


class BadRequestError(APIStatusError):
    """400: the service does not accept the request."""


class ContextOverflowError(BadRequestError):
    """The conversation, or `max_tokens`, is larger than the model's context window."""


class AuthenticationError(APIStatusError):
    """401: the token was not accepted, even after a refresh."""


class PermissionDeniedError(APIStatusError):
    """403: the account may not call this model or endpoint, or the API is disabled."""


class NotFoundError(APIStatusError):
    """404: no such model or endpoint there; also what a retired model answers."""


class RequestTooLargeError(APIStatusError):
    """413: the request's body is over the endpoint's limit."""


class RateLimitError(APIStatusError):
    """429: shared capacity or a quota is exhausted."""

    is_retryable = True


class InternalServerError(APIStatusError):
    """408 or 5xx: the service failed or was too slow."""

    is_retryable = True


class APIResponseError(APIError):
    """The status was 200, but the body is not an answer."""


class StreamInterruptedError(APIError):
    """The answer broke off. `partial` holds what arrived; a call that is cut must not be executed."""

    is_retryable = True


class EmptyTurnError(APIError):
    """The model finished without text or tool call, and `empty_turn="raise"` is set."""

    is_retryable = True
