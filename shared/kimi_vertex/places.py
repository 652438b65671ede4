"""What can be known of where a client asks, and as whom. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = ["Login", "Place"]


@dataclass(frozen=True, slots=True)
class Login:
    """Whose credentials a client uses. Never a secret."""

    kind: str
    """In words: `"application default credentials"`, `"static access token"` ..."""
    source: str
    """Where they were found: a variable, a file, gcloud, the metadata server."""
    account: str | None = None
    """Its email, as far as the credentials know it; a user's own login does not."""
    project: str | None = None
    """The project that the credentials name."""
    quota_project: str | None = None
    """The project that requests are counted to; `None` for the target's own."""
    scopes: tuple[str, ...] = ()
    """What the token may be used for, as far as Google said."""
    expires: datetime | None = None
    """When the access token ends, in UTC; it is renewed before. `None` if that is not known."""
    universe_domain: str = "googleapis.com"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client's requests go, as far as it is known without asking."""

    kind: Literal["managed", "endpoint", "base_url"]
    """Google's managed service, an endpoint of one's own, or another server."""
    project: str | None
    location: str
    endpoint: str | None
    """The endpoint's resource name, `projects/P/locations/R/endpoints/ID`."""
    url: str | None
    """What requests are sent to; `None` while the project, or the endpoint's own host, is not known."""
    host: str
    """Host, and port if there is one, that the first request goes to: perhaps not that of `url`."""
    proxy: str | None
    """The proxy on the way, as `VARIABLE (address)`."""
    emulator: bool
    """Whether an emulator stands in for Google's hosts."""
