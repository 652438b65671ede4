"""What goes wrong in I/O, as the flow is told of it: nothing that an HTTP client or credentials raise gets past here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from kimi_vertex._exchange.commands import TransportFailure
from kimi_vertex._text import plain
from kimi_vertex.errors import CredentialsError, KimiVertexError

from .encodings import UnreadableBody

__all__ = ["credentials_errors", "failure_of"]

_LONGEST_WORDS: Final = 300


def failure_of(error: Exception, overdue: str) -> TransportFailure:
    """What a failure of I/O is for the flow. Whatever else the HTTP client raises is a connection that broke."""
    words = plain(str(_reason(error)), _LONGEST_WORDS) or type(error).__name__
    if isinstance(error, UnreadableBody):
        return TransportFailure("unreadable", words)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return TransportFailure("connect_timeout", words)
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return TransportFailure("timeout", overdue)
    if isinstance(error, httpx.ProxyError):
        return TransportFailure("proxy", words)
    if isinstance(error, httpx.ConnectError):
        return TransportFailure("connect", words)
    if not isinstance(error, httpx.HTTPError | httpx.StreamError | OSError):
        words = f"{type(error).__name__}: {words}"
    return TransportFailure("broken", words)


def _reason(error: Exception) -> BaseException:
    """What is behind a connection that could not be made: anyio only says that all attempts have failed."""
    if not isinstance(error, httpx.ConnectError):
        return error
    found: BaseException = error
    while cause := found.__cause__ or found.__context__:
        found = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
    return found if isinstance(found, OSError) else error


@contextmanager
def credentials_errors() -> Iterator[None]:
    """Turn what a credentials object raises where google-auth's own do not into an error that holds no secret."""
    try:
        yield
    except (KimiVertexError, TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001  # whatever a credentials object raises
        raise CredentialsError(f"The credentials failed with {type(error).__name__}.") from None
