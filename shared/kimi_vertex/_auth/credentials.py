"""What the user gave as credentials: checked without I/O, shown without secrets, pickled only without any.

Must not import google-auth: this runs when a model object is built.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from kimi_vertex._secrets import Hidden
from kimi_vertex._target.environment import ACCESS_TOKEN_VARIABLE
from kimi_vertex._target.target import Target
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
            return _checked_token(
                Hidden(os.environ.get(self.token_variable, "")), self.token_variable
            ).reveal()
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
        """Equal for settings that lead to the same credentials: an object is only itself, the rest goes by value.

        Secrets are in it as their digests.
        """
        given = self.credentials
        if not (given is None or isinstance(given, Path | Mapping)):
            return ("object", id(given), self.audience, self.ca_certs)
        if isinstance(given, Mapping):
            given = _digest(repr(sorted(given.items(), key=repr)))  # keys may be of any type
        token = None if self.access_token is None else _digest(self.access_token)
        how = (token, self.token_variable, self.audience, self.ca_certs)
        return (how, given, *map(os.environ.get, _VARIABLES))

    @classmethod
    def found(
        cls,
        target: Target,
        credentials: Hidden[Any],
        access_token: Hidden[str | None],
        ca_certs: str | None,
    ) -> CredentialSettings | None:
        """What a target is reached with: what was given, a token in the environment, or Google's default, if it needs any.

        Raises:
            ConfigurationError: What was given cannot be used, or must not be sent to the target.
        """
        variable = None
        given = access_token.reveal() is not None or credentials.reveal() is not None
        if given:
            target.check_token()
        elif os.environ.get(ACCESS_TOKEN_VARIABLE) and target.audience is None:
            takes_one = target.needs_credentials or (target.base_url is not None and not target.plain_http)
            variable = ACCESS_TOKEN_VARIABLE if takes_one else None
        if not (given or variable or target.needs_credentials):
            return None
        read = {"audience": target.audience, "ca_certs": ca_certs}
        return cls.checked(credentials, access_token, token_variable=variable, **read)

    @classmethod
    def checked(
        cls,
        credentials: Hidden[Any],
        access_token: Hidden[str | None],
        *,
        token_variable: str | None = None,
        audience: str | None = None,
        ca_certs: str | None = None,
    ) -> CredentialSettings:
        """Check what can be checked without I/O, and raise `ConfigurationError`."""
        has_token = access_token.reveal() is not None
        if audience is not None and has_token:
            raise ConfigurationError(
                "audience and access_token are both given: leave audience out, and pass the ID token as access_token; "
                "or leave access_token out, and an ID token is made from the credentials."
            )
        if credentials.reveal() is not None and has_token:
            raise ConfigurationError(
                "credentials and access_token (or api_key) are both given. Leave one out."
            )
        wrong = _wrong_credentials(credentials.reveal())
        if wrong is not None:
            raise ConfigurationError(wrong)
        kept, failed = _copied(credentials)
        if kept is None:
            raise ConfigurationError(
                f"credentials is a mapping that cannot be copied ({failed}): pass the content of a credentials file, as "
                "json.loads() gives it."
            )
        return cls(
            credentials=kept.reveal(),
            access_token=_checked_token(access_token).reveal() if has_token else None,
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


# Nothing is raised where a secret has a name: tracebacks are printed with the variables of their frames.


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _copied(given: Hidden[Any]) -> tuple[Hidden[Any] | None, str]:
    try:
        return Hidden(_own(given.reveal())), ""
    except Exception as error:  # noqa: BLE001 - copying runs code of what is in it
        return None, type(error).__name__


def _own(given: Any) -> Any:
    """What the user gave, in a form that stays as it is."""
    if isinstance(given, str | os.PathLike):
        return Path(given).expanduser()
    # A copy, so that later changes by the caller change nothing here.
    return copy.deepcopy(dict(given)) if isinstance(given, Mapping) else given


def _wrong_credentials(given: Any) -> str | None:
    """Why this cannot be credentials; `None` if it can."""
    if given is None or isinstance(given, os.PathLike | Mapping):
        return None
    if isinstance(given, str):
        if given.startswith(_TOKEN_START):
            return "credentials looks like a token or key. Pass an access token as access_token=."
        if given.lstrip().startswith("{"):
            return (
                "credentials is JSON text. Pass the path of a credentials file, or json.loads() of the text."
            )
        if not given.strip():
            return "credentials is an empty string. Leave it out to use application default credentials."
        return None
    module = type(given).__module__
    if module.startswith("google.auth.aio") or module.endswith("_async"):
        return (
            "asynchronous google-auth credentials cannot be used. Pass ordinary ones: they are refreshed in a "
            "thread and never block the event loop."
        )
    if isinstance(given, type) or not (
        callable(getattr(given, "refresh", None)) and callable(getattr(given, "apply", None))
    ):
        return (
            f"credentials is a {type(given).__qualname__}. Pass a google.auth credentials object, the content of a "
            "credentials file as a dict, or the path of one."
        )
    return None


def _checked_token(token: Hidden[Any], source: str = "access_token") -> Hidden[str]:
    wrong = _wrong_token(token.reveal(), source)
    if wrong is not None:
        raise ConfigurationError(wrong)
    return Hidden(_bare(token.reveal()))


def _bare(token: str) -> str:
    return token.strip().removeprefix("Bearer ").strip()


def _wrong_token(token: Any, source: str) -> str | None:
    """Why this cannot be a token; `None` if it can."""
    if not isinstance(token, str):
        return f"{source} is a {type(token).__name__}; it must be the token, a text."
    text = _bare(token)
    if text.startswith(("AIza", "AQ.")):
        return (
            f"{source} is a Google API key, which opens no Kimi: leave it out and run `gcloud auth "
            "application-default login`."
        )
    if not text:
        return (
            f"{source} is empty. Leave it out to use application default credentials, or check the variable "
            "that it comes from."
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        return f"{source} contains spaces, line breaks or characters that a header cannot hold."
    return None
