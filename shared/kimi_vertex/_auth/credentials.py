"""What the user gave as credentials: checked without I/O, shown without secrets, pickled without tokens.

Must not import google-auth: this runs when a model object is built.
"""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kimi_vertex.errors import ConfigurationError

__all__ = ["CLOUD_PLATFORM", "Settings", "not_a_service_account"]

CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"

_TOKEN_START: Final = ("ya29.", "eyJ", "Bearer ", "AIza", "AQ.")


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """How to come by credentials: what the user gave, checked, and nothing that is derived from it."""

    credentials: Any = None
    """google-auth credentials object, the content of a credentials file, its path, or `None`."""
    access_token: str | None = None
    quota_project: str | None = None
    scopes: tuple[str, ...] = (CLOUD_PLATFORM,)
    self_signed_jwt: bool = False
    token_lost: bool = False
    """There was nothing but an access token, and pickling left it behind."""

    def __repr__(self) -> str:
        """Say what kind of credentials these are, without any of their content."""
        return f"Settings({self.kind})"

    @property
    def kind(self) -> str:
        """In words, for reprs and error texts; never a secret."""
        given = self.credentials
        if self.access_token is not None or self.token_lost:
            return "static access token"
        if given is None:
            return "application default credentials"
        if isinstance(given, Mapping):
            return f"credentials info of type {given.get('type')!r}"
        if isinstance(given, Path):
            return f"credentials file {str(given)!r}"
        return f"{type(given).__module__}.{type(given).__qualname__}"

    @classmethod
    def checked(
        cls,
        credentials: Any,
        access_token: str | None,
        quota_project: str | None,
        scopes: Sequence[str],
        *,
        self_signed_jwt: bool,
    ) -> Settings:
        """Check what can be checked without I/O, and raise `ConfigurationError`."""
        if credentials is not None and access_token is not None:
            raise ConfigurationError(
                "credentials and access_token (or api_key) are both given. Leave one out."
            )
        if self_signed_jwt and access_token is not None:
            raise ConfigurationError(
                "self_signed_jwt needs service-account credentials, not a static access_token."
            )
        settings = cls(
            credentials=_check_credentials(credentials),
            access_token=None if access_token is None else _check_token(access_token),
            quota_project=quota_project or None,
            scopes=(scopes,) if isinstance(scopes, str) else tuple(scopes),
            self_signed_jwt=self_signed_jwt,
        )
        given = settings.credentials
        if self_signed_jwt and isinstance(given, Mapping) and given.get("type") != "service_account":
            raise not_a_service_account(settings)
        return settings

    def for_pickle(self) -> Settings:
        """Return the same settings without any access token."""
        if self.access_token is not None:
            return replace(self, access_token=None, token_lost=True)
        if self.credentials is None or isinstance(self.credentials, (Path, Mapping)):
            return self
        if getattr(self.credentials, "refresh_token", "") is None and not getattr(
            self.credentials, "refresh_handler", None
        ):
            return replace(self, credentials=None, token_lost=True)
        return replace(self, credentials=_without_tokens(self.credentials))


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
        return copy.deepcopy(dict(given))
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


def _check_token(token: str) -> str:
    text = token.strip().removeprefix("Bearer ").strip()
    if not text:
        raise ConfigurationError(
            "access_token is empty. Leave it out to use application default credentials, or check the variable "
            "that it comes from."
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(
            "access_token contains spaces, line breaks or characters that a header cannot hold."
        )
    return text


def not_a_service_account(settings: Settings) -> ConfigurationError:
    """Return the error for settings that ask for what only a service account's key can do."""
    return ConfigurationError(
        f"self_signed_jwt needs service-account credentials, but these are {settings.kind}. Leave it out."
    )


def _without_tokens(credentials: Any) -> Any:
    """Return a copy of a google-auth object, and of those inside it, that holds no access token."""
    try:
        twin = _scrubbed(credentials)
        pickle.dumps(twin)
    except Exception as error:  # noqa: BLE001 - whatever a foreign object raises
        raise ConfigurationError(
            f"The credentials object ({type(credentials).__qualname__}) cannot be pickled ({type(error).__name__}). "
            "Use application default credentials, the path of a credentials file, or its content as a dict."
        ) from None
    return twin


def _scrubbed(credentials: Any) -> Any:
    twin = copy.copy(credentials)
    for name, value in list(vars(twin).items()):
        if hasattr(value, "token") and hasattr(value, "refresh"):
            setattr(twin, name, _scrubbed(value))
    twin.token, twin.expiry = None, None
    return twin
