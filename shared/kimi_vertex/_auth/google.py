"""google-auth: loading, scoping and refreshing credentials, and explaining what goes wrong.

Imported at the first token, never before. Its objects are `Any` here, because its classes are untyped.
"""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import google.auth
import google.auth.compute_engine
from google.auth import exceptions
from google.auth.credentials import with_scopes_if_required
from google.auth.transport.requests import Request

from kimi_vertex._secrets import masked
from kimi_vertex._transport.network import requests_verify
from kimi_vertex.errors import CredentialsError, KimiVertexError
from kimi_vertex.places import Login

from .credentials import CLOUD_PLATFORM, CredentialSettings

__all__ = ["LONGEST_WAIT", "Loaded", "describe", "explain", "find_project", "load", "open_transport"]

_LOGIN: Final = "gcloud auth application-default login"
_VARIABLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
LONGEST_WAIT: Final = 30.0
"""Seconds for which a token service may be silent."""
_LONGEST: Final = 400
"""How much of google-auth's text an error message repeats, in characters."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Credentials that are ready to be refreshed."""

    credentials: Any = field(repr=False)
    project: str | None
    """As far as it is known without a call to a Google API."""


def load(settings: CredentialSettings) -> Loaded:
    """Load and scope credentials. Reads files, may start `gcloud` and ask a metadata server.

    No access token is fetched. google-auth's own exceptions pass through.
    """
    given = settings.credentials
    if isinstance(given, Path):
        credentials, project = _from_info(_read(given))
    elif isinstance(given, Mapping):
        credentials, project = _from_info(given)
    elif given is None:
        credentials, project = _application_default()
    else:
        credentials, project = given, getattr(given, "project_id", None)
    if settings.audience is not None:
        credentials = _for_audience(credentials, settings)
    return Loaded(_scoped(credentials), project if isinstance(project, str) and project else None)


def describe(loaded: Loaded, settings: CredentialSettings, account: str | None) -> Login:
    """Say whose credentials these are, without any of their secrets."""
    credentials = loaded.credentials
    scopes = getattr(credentials, "granted_scopes", None) or getattr(credentials, "scopes", None) or ()
    expiry = getattr(credentials, "expiry", None)  # naive, in UTC
    return Login(
        kind=settings.kind,
        source=_source(credentials, settings),
        account=account,
        project=loaded.project,
        quota_project=getattr(credentials, "quota_project_id", None),
        scopes=(scopes,) if isinstance(scopes, str) else tuple(map(str, scopes)),
        expires=expiry.replace(tzinfo=UTC) if isinstance(expiry, datetime) else None,
        universe_domain=str(credentials.universe_domain),
    )


def _source(credentials: Any, settings: CredentialSettings) -> str:
    """Where application default credentials were found, in google-auth's own order; else what was given."""
    if settings.credentials is not None:
        return settings.kind
    if os.environ.get(_VARIABLE):
        return _VARIABLE
    if isinstance(credentials, google.auth.compute_engine.Credentials):
        return "the metadata server"
    return f"`{_LOGIN}`"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        info = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CredentialsError(
            f"There is no credentials file {str(path)!r}. Check the path given as credentials=."
        ) from None
    except OSError as error:
        raise CredentialsError(
            f"The credentials file {str(path)!r} cannot be read: {error.strerror}."
        ) from None
    except ValueError:
        raise CredentialsError(
            f"The credentials file {str(path)!r} is not JSON. Download it again."
        ) from None
    if isinstance(info, dict) and ("installed" in info or "web" in info):
        raise CredentialsError(
            f"The credentials file {str(path)!r} is an OAuth client's, not a login: run `{_LOGIN}`, or download a "
            "service account's key."
        )
    if not isinstance(info, dict):
        raise CredentialsError(f"The credentials file {str(path)!r} does not hold a JSON object.")
    return info


def _from_info(info: Mapping[str, Any]) -> tuple[Any, str | None]:
    with warnings.catch_warnings():
        # It warns of content from strangers; this is the user's own.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Without scopes: with them, an external account would look up its project at once, over the network.
        loaded: tuple[Any, str | None] = google.auth.load_credentials_from_dict(dict(info))  # type: ignore[no-untyped-call]
    return loaded


def _application_default() -> tuple[Any, str | None]:
    # Scopes are added later; see `_from_info`.
    loaded: tuple[Any, str | None] = google.auth.default()
    return loaded


def _for_audience(credentials: Any, settings: CredentialSettings) -> Any:
    """Credentials for ID tokens, which Cloud Run and IAP take, of those that can make some.

    Raises:
        CredentialsError: A user's login cannot.
    """
    from google.auth import compute_engine, impersonated_credentials  # noqa: PLC0415 - rarely needed
    from google.oauth2 import service_account  # noqa: PLC0415 - rarely needed

    audience = settings.audience
    made: Any = None
    if isinstance(credentials, service_account.Credentials):
        made = service_account.IDTokenCredentials(  # type: ignore[no-untyped-call]
            credentials.signer,
            credentials.service_account_email,
            credentials._token_uri,  # noqa: SLF001 - it has no public name
            audience,
        )
    elif isinstance(credentials, impersonated_credentials.Credentials):
        source = _scoped(credentials)
        made = impersonated_credentials.IDTokenCredentials(  # type: ignore[no-untyped-call]
            source, target_audience=audience, include_email=True
        )
    elif isinstance(credentials, compute_engine.Credentials):
        with open_transport(settings.ca_certs) as request:
            made = compute_engine.IDTokenCredentials(  # type: ignore[no-untyped-call]
                request, audience, use_metadata_identity_endpoint=True
            )
    elif callable(getattr(credentials, "with_target_audience", None)):
        made = credentials.with_target_audience(audience)
    if made is None:
        raise CredentialsError(
            "This login cannot make ID tokens: use a service account's, or `gcloud auth application-default login "
            f"--impersonate-service-account=EMAIL`. It is {type(credentials).__module__}."
            f"{type(credentials).__qualname__}, and audience={audience!r} asks for an ID token."
        )
    return made


def _scoped(credentials: Any) -> Any:
    return with_scopes_if_required(credentials, [CLOUD_PLATFORM])  # type: ignore[no-untyped-call]


def find_project(loaded: Loaded, request: Any) -> str | None:
    """Return the project, asking Google for it where only the credentials' own service knows it."""
    if loaded.project is not None:
        return loaded.project
    ask = getattr(loaded.credentials, "get_project_id", None)
    found = ask(request) if callable(ask) else None
    return found if isinstance(found, str) and found else None


class _Request(Request):
    """A transport that waits no longer than it is told, where google-auth would wait two minutes."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Any = None,
        timeout: Any = None,
        **options: Any,
    ) -> Any:
        limited = min(timeout, self._seconds) if isinstance(timeout, int | float) else self._seconds
        return super().__call__(url, method, body, headers, limited, **options)  # type: ignore[no-untyped-call]


@contextmanager
def open_transport(ca_certs: str | None = None, seconds: float = LONGEST_WAIT) -> Iterator[Any]:
    """A google-auth transport for one refresh, silent for so many seconds at most: tokens last an hour, connections do not."""
    request = _Request(seconds)
    request.session.verify = requests_verify(ca_certs)
    try:
        yield request
    finally:
        request.session.close()


def explain(error: Exception, settings: CredentialSettings) -> KimiVertexError:
    """Turn a failure of google-auth into an error that says what to do, and holds no token.

    The original is not chained: its arguments may hold the token service's whole answer.
    """
    if isinstance(error, KimiVertexError):
        return copy.copy(error)
    said = _said(error)
    lower = " ".join(map(_text, error.args)).lower()
    transport = _is_transport_failure(error)
    if isinstance(error, exceptions.DefaultCredentialsError) and not transport:
        if settings.credentials is not None:
            return CredentialsError(f"The {settings.kind} cannot be used: {said}.")
        if "default credentials were not found" in lower:
            return CredentialsError(
                f"No Google login was found: run `{_LOGIN}`, or set {_VARIABLE} to a credentials file. No usable Google "
                f"credentials were found, neither in {_VARIABLE}, nor from gcloud, nor from a metadata server; "
                "credentials= takes some, too."
            )
        return CredentialsError(
            f"No usable Google credentials were found: {said}. Run `{_LOGIN}`, or set {_VARIABLE} to the path "
            "of a credentials file, or pass credentials=."
        )
    is_retryable = transport or bool(getattr(error, "retryable", False))
    return CredentialsError(
        f"{_next_step(lower, transport=is_retryable)} Google gave no access token for {settings.kind}: {said}.",
        is_retryable=is_retryable,
    )


def _said(error: Exception) -> str:
    """Return what google-auth says, without its further arguments: those may be a server's whole answer."""
    texts = [_text(error.args[0])] if error.args else []
    if isinstance(error, exceptions.DefaultCredentialsError):
        texts += [_text(argument) for argument in error.args[1:] if isinstance(argument, Exception)]
    if not isinstance(error, exceptions.GoogleAuthError):
        texts.insert(0, f"unexpected {type(error).__name__}")
    text = ": ".join(text.strip().rstrip(".") for text in texts if text.strip())
    return masked(text)[:_LONGEST] or type(error).__name__


def _text(argument: object) -> str:
    try:
        return str(argument)
    except Exception:  # noqa: BLE001 - credentials of others raise what they like
        return type(argument).__name__


def _is_transport_failure(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(
            error, (exceptions.TransportError, exceptions.TimeoutError, OSError)
        ) and not isinstance(error, exceptions.DefaultCredentialsError):
            # The metadata server's answer, if there was one, is the error's second argument.
            status = getattr(error.args[1], "status", 500) if len(error.args) > 1 else 500
            return not isinstance(error, (FileNotFoundError, PermissionError)) and (
                not isinstance(status, int) or status >= 500 or status in {408, 429}
            )
        error = error.__cause__
    return False


def _next_step(lower: str, *, transport: bool) -> str:
    if "impersonated" in lower or "generateaccesstoken" in lower or "getaccesstoken" in lower:
        return (
            "Impersonation was refused: grant your account roles/iam.serviceAccountTokenCreator on the target service "
            "account, and enable the API iamcredentials.googleapis.com."
        )
    if "metadata" in lower:
        return (
            "The metadata server gave no token: check that this machine, pod or Cloud Run service has a service "
            f"account, or run `{_LOGIN}`."
        )
    if transport:
        return "The token service could not be reached or failed; try again, and check network and proxy."
    if "invalid_grant" in lower or "reauth" in lower or "expired or revoked" in lower:
        return (
            f"Your Google login has expired or was revoked: run `{_LOGIN}`. A service account's key may have been "
            "deleted: create a new one. A wrong clock on this machine has the same effect."
        )
    if "necessary fields" in lower:
        return "The credentials hold nothing but an access token that has expired: pass some that can be refreshed."
    return f"Check the credentials, or run `{_LOGIN}` and leave credentials out."
