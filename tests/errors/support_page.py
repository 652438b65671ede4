"""The table of docs/troubleshooting.md that says what servers answer and what to do: `make docs-output` writes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import httpx

from kimi_vertex import APIStatusError, KimiVertexClient
from kimi_vertex_emulator import Emulator, Raw

from .support_errors import ENDPOINT, ENDPOINT_ID, PROJECT, Rerouted
from .support_service import DNS, ROWS

PAGE: Final = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
BEGIN: Final = "<!-- what servers say: written by `make docs-output` -->\n"
END: Final = "<!-- end -->\n"
# The project, the endpoint and the host of the tests' own are not what a reader will see.
_NAMES: Final = {
    DNS: "HOST",
    ENDPOINT: "ENDPOINT",
    ENDPOINT_ID: "ENDPOINT",
    PROJECT: "PROJECT",
    "4242": "PROJECT",
}


def table() -> str:
    """Send a request to a server that answers each of the rows, and write down what its user is told."""
    lines = ["| status | the server says | what it means, and what to do |", "| --- | --- | --- |"]
    with Emulator(strict=False) as emulator, httpx.Client(transport=Rerouted(emulator)) as http_client:
        for settings, status, body, _ in sorted(ROWS.values(), key=lambda row: row[1]):
            emulator.reset()
            emulator.enqueue(*[Raw([body] if body else [], status=status)] * 4)
            told = _told({"access_token": "t", **settings, "http_client": http_client})
            if told is not None:
                begins = f"| {status} | {_cell(_message(body))}"
                # The same words mean something else from a server that is not Google's.
                again = "base_url" in settings and any(line.startswith(begins) for line in lines)
                lines.append(f"{begins}{' (behind `base_url`)' if again else ''} | {_cell(told)} |")
    return "\n".join(lines) + "\n"


def _told(settings: dict[str, Any]) -> str | None:
    """What stands before the server's own words, if anything does."""
    try:
        KimiVertexClient(max_retries=0, pace=None, **settings).complete("Hi")
    except APIStatusError as error:
        advice, said, _ = re.split(r" Likely causes:", str(error))[0].partition(" The server said:")
        return advice if said or "Likely causes:" in str(error) else None
    raise AssertionError("the server was meant to refuse")


def _message(body: bytes) -> str:
    """The server's text, without the JSON or HTML around it."""
    try:
        read = json.loads(body)
    except ValueError:
        return re.sub(r"<[^>]*+>", "", body.decode()) or "(a redirect)"
    read = read[0] if isinstance(read, list) else read
    error = read.get("error", read)
    message = error if isinstance(error, str) else error.get("message") or error.get("detail")
    reasons = [detail["reason"] for detail in (error.get("details", ()) if isinstance(error, dict) else ())]
    return " ".join([str(message), *(f"`{reason}`" for reason in reasons)])


def _cell(text: str) -> str:
    for name, word in _NAMES.items():
        text = text.replace(name, word)
    return text.replace("|", "\\|").replace("\n", " ")


def written() -> str:
    """The page with the table as it is today."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
