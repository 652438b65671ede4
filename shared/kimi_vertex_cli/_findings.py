"""What the doctor finds: lines, and the command that mends the first red one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from kimi_vertex import KimiVertexError, Place

__all__ = ["Line", "Status", "command_for", "news"]

Status: TypeAlias = Literal["ok", "red", "warn", "info"]
"""`red`: requests fail, or answers are not what they should be. `warn`: they need not be."""

_IN_TEXT: Final = re.compile(r"`((?:gcloud|python|export|unset|kimi-vertex) [^`]+)`")
_FLAGS: Final = "--enable-auto-tool-choice --tool-call-parser kimi_k2 --reasoning-parser kimi_k2"
_COMMANDS: Final[tuple[tuple[str, str], ...]] = (
    # What an error says -> what to run, where it does not name a command itself.
    (r"use its region, (?P<found>[\w-]+)", "export GOOGLE_CLOUD_LOCATION={found}"),
    (r"did you mean '(?P<found>[a-z]+-[a-z]+\d+)'", "export GOOGLE_CLOUD_LOCATION={found}"),
    (r'pass endpoint_host="(?P<found>[^"]+)"', "export KIMI_VERTEX_ENDPOINT_HOST={found}"),
    (r"api key", "gcloud auth application-default login"),
    (r"access_token has expired", "gcloud auth application-default login"),
    (r"billing is off", "gcloud billing projects link {project} --billing-account=ACCOUNT"),
    (r"does not exist or is suspended", "gcloud projects list"),
    (
        r"quota of project",
        "gcloud alpha services quota list --service=aiplatform.googleapis.com --consumer=projects/{project}",
    ),
    (r"wake_timeout", "kimi-vertex ask --wake-timeout 1800 Hello"),
    (r"runs without tool calls|parser", f"vllm serve MODEL {_FLAGS}"),
    (r"has another model", "unset KIMI_VERTEX_MODEL"),
    (r"has retired|manages no model|no model: pass", "kimi-vertex endpoints"),
    (r"certificate is not trusted", "export KIMI_VERTEX_CA_CERTS=system"),
    (r"does not speak tls", "curl -sS http://{host}/"),
    (r"proxy", "env | grep -i _proxy"),
    (r"has no address", "nslookup {name}"),
    (r"could not connect|did not begin|broke", "curl -sSv {url}"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    name: str
    status: Status
    text: str
    command: str | None = None
    """What to run about it."""


def news(error: KimiVertexError) -> str:
    """What an error says before it repeats the server's words and the address."""
    said = error.message.partition(" The server said:")[0].partition(" Likely causes:")[0]
    return re.sub(r" \((?:HTTP|project|base_url|status) .*\)\.?$", "", said)


def command_for(text: str, place: Place | None, default: str = "kimi-vertex endpoints") -> str:
    """The one command for an error: the one that its text names, or the one that fits."""
    named = _IN_TEXT.search(text)
    if named is not None:
        return named[1]
    host = place.host if place is not None else "HOST"
    known = {
        "project": (place.project if place is not None else None) or "PROJECT",
        "host": host,
        "name": host.partition(":")[0],
        "url": (place.url if place is not None else None) or f"https://{host}/",
    }
    for pattern, command in _COMMANDS:
        if found := re.search(pattern, text, re.IGNORECASE):
            return command.format(**{**known, **found.groupdict()})
    return default
