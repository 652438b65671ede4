"""What an error of a server says, read once: its text, and the fields that Google puts beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kimi_vertex import _wire
from kimi_vertex._target.target import Target
from kimi_vertex._text import plain
from kimi_vertex.models import Server

__all__ = ["Said", "read", "short"]

_LONGEST: Final = 400
"""How much of a server's text an error's text repeats, in characters; all of it is in the error's `body`."""


@dataclass(frozen=True, slots=True)
class Said:
    """An error status, what stands in its body, and what is known about the request that it answers."""

    status: int
    message: str
    target: Target
    model: str | None = None
    reason: str = ""
    """Google's `reason`, such as `SERVICE_DISABLED`."""
    consumer: str = ""
    """The project that Google counts the request to, which need not be the target's."""
    permission: str = ""
    delay: str = ""
    """The wait that Google's `RetryInfo` asks for, such as `30s`: https://cloud.google.com/apis/design/errors#error_payloads"""
    by_google: bool = False
    """Whether the body has the form of Google's errors: a model server has another."""
    account: str | None = None
    """Whose token was sent, as far as the credentials know."""
    token: bool = True
    """Whether a token was sent."""
    can_refresh: bool = True
    """Whether the token is not a static one."""
    seconds: float = 0.0
    """How long the attempt took."""
    waited: float = 0.0
    """For how long the endpoint has been waited for, because it starts."""
    server: Server | None = None
    """The kind of server, as far as it is known."""
    lookup_refused: int | None = None
    """The status of the lookup of the endpoint's own host, if it failed."""

    @property
    def text(self) -> str:
        """Message and reason in lower case, to look for words in."""
        return f"{self.message} {self.reason}".lower()

    @property
    def who(self) -> str:
        """The account in words."""
        return self.account or "the calling account"

    @property
    def member(self) -> str:
        """The account as IAM names it."""
        if self.account is None:
            return "user:EMAIL"
        return (
            f"{'serviceAccount' if self.account.endswith('.gserviceaccount.com') else 'user'}:{self.account}"
        )

    @property
    def project(self) -> str:
        """The target's project, or a word that stands for it."""
        return self.target.project or "PROJECT"


def short(text: str) -> str:
    """A server's text on one line, cut where it is long."""
    return plain(text, _LONGEST)


def read(status: int, error: _wire.WireError, target: Target, model: str | None) -> Said:
    """Read the fields that stand beside the message."""
    details = list(_details(error.body))
    metadata = [detail["metadata"] for detail in details if isinstance(detail.get("metadata"), Mapping)]
    return Said(
        status=status,
        message=error.message,
        target=target,
        model=model,
        reason=_first(details, "reason"),
        consumer=_first(metadata, "consumer").removeprefix("projects/"),
        permission=_first(metadata, "permission"),
        delay=_first(details, "retryDelay"),
        by_google=bool(error.code) and error.code == str(error.code).upper() and not error.code.isdecimal(),
    )


def _first(holders: list[Mapping[str, Any]], name: str) -> str:
    return next((value for holder in holders if isinstance(value := holder.get(name), str)), "")


def _details(body: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(body, list):
        body = next((item for item in body if isinstance(item, Mapping)), None)
    error = body.get("error") if isinstance(body, Mapping) else None
    details = error.get("details") if isinstance(error, Mapping) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            yield detail
