"""What the environment says about targets: its variables, and those that look like one and are not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ACCESS_TOKEN_VARIABLE",
    "EMULATOR_VARIABLE",
    "LOCATION_VARIABLE",
    "PROJECT_VARIABLE",
    "Environment",
    "unknown_variables",
    "warn_of_unknown",
]

logger = logging.getLogger("kimi_vertex")

PROJECT_VARIABLE: Final = "GOOGLE_CLOUD_PROJECT"
LOCATION_VARIABLE: Final = "GOOGLE_CLOUD_LOCATION"
EMULATOR_VARIABLE: Final = "KIMI_VERTEX_EMULATOR_HOST"
ACCESS_TOKEN_VARIABLE: Final = "KIMI_VERTEX_ACCESS_TOKEN"  # noqa: S105 - the variable's name

_PREFIX: Final = "KIMI_VERTEX_"
_SETTINGS: Final = ("model", "endpoint", "endpoint_host", "base_url", "api", "audience")
_OTHERS: Final = (
    *("ACCESS_TOKEN", "CA_CERTS", "EMULATOR_HOST", "INSECURE_HTTP", "MAX_RETRIES", "TIMEOUT", "WAKE_TIMEOUT"),
)
_KNOWN: Final = tuple(_PREFIX + name for name in (*map(str.upper, _SETTINGS), *_OTHERS))
# Read by the project's own tests.
_FOREIGN: Final = f"{_PREFIX}LIVE"
_HABITS: Final = {
    f"{_PREFIX}PROJECT": PROJECT_VARIABLE,
    f"{_PREFIX}LOCATION": LOCATION_VARIABLE,
    f"{_PREFIX}REGION": LOCATION_VARIABLE,
    f"{_PREFIX}API_KEY": ACCESS_TOKEN_VARIABLE,
    f"{_PREFIX}TOKEN": ACCESS_TOKEN_VARIABLE,
    f"{_PREFIX}URL": f"{_PREFIX}BASE_URL",
    f"{_PREFIX}HOST": f"{_PREFIX}ENDPOINT_HOST",
}

_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment says, not yet checked; an empty variable says nothing."""

    project: str | None = None
    location: str | None = None
    emulator: str | None = None
    insecure_http: str | None = None
    model: str | None = None
    endpoint: str | None = None
    endpoint_host: str | None = None
    base_url: str | None = None
    api: str | None = None
    audience: str | None = None
    unknown: Sequence[tuple[str, str | None]] = ()
    """As `unknown_variables` has them."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Environment:
        """Read the variables, of which others than those that are about targets may hold a secret."""
        return cls(
            project=environ.get(PROJECT_VARIABLE) or None,
            location=environ.get(LOCATION_VARIABLE) or None,
            emulator=environ.get(EMULATOR_VARIABLE) or None,
            insecure_http=environ.get(f"{_PREFIX}INSECURE_HTTP") or None,
            unknown=unknown_variables(environ),
            **{name: environ.get(_PREFIX + name.upper()) or None for name in _SETTINGS},
        )


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """The variables that look like the library's and are not read by it, each with what was probably meant."""
    found = []
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in _KNOWN and not name.startswith(_FOREIGN):
            from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

            near = get_close_matches(name, _KNOWN, 1, 0.8)
            found.append((name, _HABITS.get(name) or (near[0] if near else None)))
    return found


def warn_of_unknown(environment: Environment) -> None:
    """Log each variable that is not read, once in a process."""
    for name, meant in environment.unknown:
        if name not in _warned:
            _warned.add(name)
            hint = f"did you mean {meant}?" if meant else f"known are {', '.join(_KNOWN)}."
            logger.warning("The environment variable %s is not read by kimi-vertex: %s", name, hint)
