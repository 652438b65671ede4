"""A token source of what a user gives."""

from __future__ import annotations

from typing import Any

from kimi_vertex._auth.credentials import CredentialSettings
from kimi_vertex._auth.tokens import TokenSource
from kimi_vertex._secrets import Hidden


def source_of(credentials: Any = None, *, access_token: str | None = None) -> TokenSource:
    """The source that a client would have for the same settings."""
    return TokenSource(CredentialSettings.checked(Hidden(credentials), Hidden(access_token)))
