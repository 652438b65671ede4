"""What the doctor finds: lines, and the command that mends the first red one."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from kimi_vertex import KimiVertexError, Place

__all__ = ["Line", "Status", "command_for", "news"]

Status: TypeAlias = Literal["ok", "red", "warn", "info"]
"""`red`: requests fail, or answers are not what they should be. `warn`: they need not be."""

_IN_TEXT: Final = re.compile(r"`((?:gcloud|python|export|unset|kimi-vertex) [^`]+)`")
_LOGIN: Final = "gcloud auth application-default login"
_STRONGER: Final = ("KIMI_VERTEX_ACCESS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS")
"""Variables that win over a login."""
_CERTIFICATE: Final = (
    "openssl s_client -connect {address} </dev/null | openssl x509 -noout -issuer -dates -ext subjectAltName"
)
_COMMANDS: Final[tuple[tuple[str, str], ...]] = (
    # What an error says -> what to run, where it does not name a command itself.
    (r"use its region, (?P<found>[\w-]+)", "export GOOGLE_CLOUD_LOCATION={found}"),
    (r"did you mean '(?P<found>projects/[^']+)'", "export KIMI_VERTEX_ENDPOINT={found}"),
    (r"did you mean '(?P<found>[a-z]+-[a-z]+\d+)'", "export GOOGLE_CLOUD_LOCATION={found}"),
    (r'pass endpoint_host="(?P<found>[^"]+)"', "export KIMI_VERTEX_ENDPOINT_HOST={found}"),
    (r"='http://(?P<found>[^']+)': plain http", "kimi-vertex doctor --base-url https://{found}"),
    (r"='(?P<found>[^']+)'(?:: there is no such file| cannot be used)", "ls -l {found}"),
    (r"the server (?:wants a|did not accept the) token", "export KIMI_VERTEX_ACCESS_TOKEN=TOKEN"),
    (r"api key|access_token has expired", _LOGIN),
    (
        r"perimeter",
        "gcloud logging read 'LOG_ID(\"cloudaudit.googleapis.com/policy\")' --project={project} --limit=1",
    ),
    (r"billing is off", "gcloud billing projects link {project} --billing-account=ACCOUNT"),
    (r"does not exist or is suspended", "gcloud projects list"),
    (
        r"quota of project",
        "gcloud alpha services quota list --service=aiplatform.googleapis.com --consumer=projects/{project}",
    ),
    (r"wake_timeout", "kimi-vertex ask --wake-timeout 1800 Hello"),
    (r"parser (?P<parser>kimi_k\d)", "{serve} --tool-call-parser {parser} --reasoning-parser {parser}"),
    (r"has another model", "unset KIMI_VERTEX_MODEL"),
    (r"has retired|manages no model|no model: pass", "kimi-vertex endpoints"),
    (r"certificate is not trusted", "{trust}"),
    (r"certificate (?:is for another name|has expired)", _CERTIFICATE),
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


def command_for(
    text: str, place: Place | None, default: str = "kimi-vertex endpoints", server: str | None = None
) -> str:
    """The one command for an error: the one that its text names, or the one that fits.

    Args:
        text: The error's text.
        place: Where the request went, if that is known.
        default: What to run if nothing else fits.
        server: The kind of server, if that is known.
    """
    command = _command(text, place, default, server)
    stronger = [name for name in _STRONGER if os.environ.get(name)] if command == _LOGIN else []
    return f"unset {' '.join(stronger)} && {command}" if stronger else command


def _command(text: str, place: Place | None, default: str, server: str | None) -> str:
    named = _IN_TEXT.search(text)
    if named is not None:
        return named[1]
    host = place.host if place is not None else "HOST"
    address = host if re.search(r":\d+$", host) else f"{host}:443"
    trusted = os.environ.get("KIMI_VERTEX_CA_CERTS")
    known = {
        "project": (place.project if place is not None else None) or "PROJECT",
        "host": host,
        "name": host.partition(":")[0],
        "address": address,
        "trust": _CERTIFICATE.format(address=address) if trusted else "export KIMI_VERTEX_CA_CERTS=system",
        "serve": "sglang serve --model-path MODEL"
        if server == "sglang"
        else "vllm serve MODEL --enable-auto-tool-choice",
        "url": (place.url if place is not None else None) or f"https://{host}/",
    }
    for pattern, command in _COMMANDS:
        if found := re.search(pattern, text, re.IGNORECASE):
            filled = {name: shlex.quote(value) for name, value in found.groupdict().items()}
            return command.format(**{**known, **filled})
    return default
