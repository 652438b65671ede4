"""What the user gave as credentials: checked without I/O, shown without secrets, pickled only without any.

Must not import google-auth: this runs when a model object is built.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kimi_vertex.errors import ConfigurationError

__all__ = ["CLOUD_PLATFORM", "CredentialSettings"]

CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"

_TOKEN_START: Final = ("ya29.", "eyJ", "Bearer ", "AIza", "AQ.")
# What google-auth reads from the environment when it loads credentials, and `TokenSource` for a static token.
_VARIABLES: Final = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_QUOTA_PROJECT",
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "CLOUDSDK_CONFIG",
    "GCE_METADATA_HOST",
)


@dataclass(frozen=True, slots=True, repr=False)
class CredentialSettings:
    """How to come by credentials: what the user gave, checked, and nothing that is derived from it."""

    credentials: Any = None
    """google-auth credentials object, the content of a credentials file, its path, or `None`."""
    access_token: str | None = None
    token_variable: str | None = None
    """A variable that holds the token: read again for each request, and never pickled."""
    audience: str | None = None
    """Whom ID tokens are made for; `None` for access tokens."""
    ca_certs: str | None = None
    """What the token service's certificate is checked with."""

    def __repr__(self) -> str:
        """Say what kind of credentials these are, without any of their content."""
        return f"CredentialSettings({self.kind})"

    @property
    def is_static(self) -> bool:
        """Whether there is nothing but a token, which cannot be replaced."""
        return self.access_token is not None or self.token_variable is not None

    @property
    def token(self) -> str | None:
        """The static token."""
        if self.token_variable is not None:
            return _check_token(os.environ.get(self.token_variable, ""), self.token_variable)
        return self.access_token

    @property
    def kind(self) -> str:
        """In words, for reprs and error texts; never a secret."""
        given = self.credentials
        if self.token_variable is not None:
            return f"token in {self.token_variable}"
        if self.access_token is not None:
            return "static access token"
        if given is None:
            return "application default credentials"
        if isinstance(given, Mapping):
            return f"credentials info of type {given.get('type')!r}"
        if isinstance(given, Path):
            return f"credentials file {str(given)!r}"
        return f"{type(given).__module__}.{type(given).__qualname__}"

    @property
    def is_reference(self) -> bool:
        """Whether these only say where credentials are: application default ones, or the path of a file."""
        return self.access_token is None and isinstance(self.credentials, Path | None)

    @property
    def key(self) -> Hashable:
        """Equal for settings that lead to the same credentials: an object is only itself, the rest goes by value."""
        given = self.credentials
        if not (given is None or isinstance(given, Path | Mapping)):
            return ("object", id(given), self.audience, self.ca_certs)
        if isinstance(given, Mapping):
            given = repr(sorted(given.items(), key=repr))  # keys may be of any type
        how = (self.access_token, self.token_variable, self.audience, self.ca_certs)
        return (how, given, *map(os.environ.get, _VARIABLES))

    @classmethod
    def checked(
        cls,
        credentials: Any,
        access_token: str | None,
        *,
        token_variable: str | None = None,
        audience: str | None = None,
        ca_certs: str | None = None,
    ) -> CredentialSettings:
        """Check what can be checked without I/O, and raise `ConfigurationError`."""
        if audience is not None and access_token is not None:
            raise ConfigurationError(
                "audience and access_token are both given: leave audience out, and pass the ID token as access_token; "
                "or leave access_token out, and an ID token is made from the credentials."
            )
        if credentials is not None and access_token is not None:
            raise ConfigurationError(
                "credentials and access_token (or api_key) are both given. Leave one out."
            )
        return cls(
            credentials=_check_credentials(credentials),
            access_token=None if access_token is None else _check_token(access_token),
            token_variable=token_variable,
            audience=audience,
            ca_certs=ca_certs,
        )

    def check_portable(self) -> None:
        """Refuse to be pickled together with a secret.

        Raises:
            ConfigurationError: These are not application default credentials, nor the path of a file.
        """
        if not self.is_reference:
            raise ConfigurationError(
                "Secrets are not pickled: use application default credentials or credentials=PATH, or build the model "
                f"in the worker. What it has now: {self.kind}."
            )


def _check_credentials(given: Any) -> Any:
    if isinstance(given, str):
        if given.startswith(_TOKEN_START):
            raise ConfigurationError(
                "credentials looks like a token or key. Pass an access token as access_token=."
            )
        if given.lstrip().startswith("{"):
            raise ConfigurationError(
                "credentials is JSON text. Pass the path of a credentials file, or json.loads() of the text."
            )
        if not given.strip():
            raise ConfigurationError(
                "credentials is an empty string. Leave it out to use application default credentials."
            )
        return Path(given).expanduser()
    if isinstance(given, os.PathLike):
        return Path(given).expanduser()
    if isinstance(given, Mapping):
        # A copy, so that later changes by the caller change nothing here.
        try:
            return copy.deepcopy(dict(given))
        except Exception as error:  # noqa: BLE001 - copying runs code of what is in it
            raise ConfigurationError(
                f"credentials is a mapping that cannot be copied ({type(error).__name__}): pass the content of a "
                "credentials file, as json.loads() gives it."
            ) from None
    if given is None:
        return None
    module = type(given).__module__
    if module.startswith("google.auth.aio") or module.endswith("_async"):
        raise ConfigurationError(
            "asynchronous google-auth credentials cannot be used. Pass ordinary ones: they are refreshed in a "
            "thread and never block the event loop."
        )
    if isinstance(given, type) or not (
        callable(getattr(given, "refresh", None)) and callable(getattr(given, "apply", None))
    ):
        raise ConfigurationError(
            f"credentials is a {type(given).__qualname__}. Pass a google.auth credentials object, the content of a "
            "credentials file as a dict, or the path of one."
        )
    return given


def _check_token(token: Any, source: str = "access_token") -> str:
    if not isinstance(token, str):
        raise ConfigurationError(f"{source} is a {type(token).__name__}; it must be the token, a text.")
    text = token.strip().removeprefix("Bearer ").strip()
    if text.startswith(("AIza", "AQ.")):
        raise ConfigurationError(
            f"{source} is a Google API key, which opens no Kimi: leave it out and run `gcloud auth "
            "application-default login`."
        )
    if not text:
        raise ConfigurationError(
            f"{source} is empty. Leave it out to use application default credentials, or check the variable "
            "that it comes from."
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(
            f"{source} contains spaces, line breaks or characters that a header cannot hold."
        )
    return text
