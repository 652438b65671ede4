"""The doctor's round: what is looked at, how it is shown, and what of it may leave the house."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from kimi_vertex import ConfigurationError, KimiVertexClient, RequestStats, Timeouts
from kimi_vertex_cli._card import first_request, score_card
from kimi_vertex_cli._checks import before_the_client, before_the_model
from kimi_vertex_cli._console import GRAY, errors, output, printable
from kimi_vertex_cli._findings import Line, command_for
from kimi_vertex_cli._target import Target

__all__ = ["diagnose"]

_MARKS: Final = {"ok": ("✓", "green"), "red": ("✗", "bold red"), "warn": ("!", "yellow"), "info": ("·", GRAY)}
_PLAIN: Final = {"ok": "ok  ", "red": "FAIL", "warn": "warn", "info": "    "}
_CARD: Final = "score card"
_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)+")
_TOKEN: Final = re.compile(r"ya29\.[\w.-]+|eyJ[\w.-]{10,}|AIza[\w-]{10,}|sk-[\w-]{8,}")
_HOST: Final = re.compile(r"(?<![\w.-])[\w-]++(?:\.[\w-]++)*\.(?:vertexai\.goog|run\.app)\b")


class _Round:
    """One examination."""

    def __init__(self, target: Target, *, quick: bool) -> None:
        self._target = target
        self._quick = quick
        self._console = errors()
        self._status: Status | None = None
        self._stats: list[RequestStats] = []
        self.names: dict[str, str] = {str(Path.home()): "~"}
        """What a report must not hold, and what stands for it."""

    def working(self, text: str) -> None:
        """Show what is being done, on a terminal."""
        if not self._console.is_terminal:
            return
        self.rest()
        self._status = self._console.status(Text(text, GRAY), spinner_style=GRAY)
        self._status.start()

    def rest(self) -> None:
        """Nothing is being done."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def lines(self) -> Iterator[tuple[str, Line]]:
        """Everything that is found, with the section that it belongs to."""
        yield from (("", line) for line in before_the_client(os.environ))
        try:
            client = self._client()
        except ConfigurationError as error:
            yield "", Line("settings", "red", error.message, command_for(error.message, None))
            return
        with client:
            self._learn(client)
            yield "", Line("settings", "ok", repr(client).strip("<>").partition(" ")[2])
            for line in before_the_model(client, self._target.settings, self.working):
                yield "", line
                if line.status == "red":
                    return
            self._learn(client)
            answered = first_request(client, self.working)
            yield "", answered
            if answered.status != "red" and not self._quick:
                yield from (
                    (_CARD, line) for line in score_card(client, self._target, self._stats, self.working)
                )

    def _client(self) -> KimiVertexClient:
        return self._target.client(
            max_retries=0,
            pace=None,
            timeout=Timeouts(first_byte=120.0, idle=120.0),
            on_request=self._stats.append,
        )

    def _learn(self, client: KimiVertexClient) -> None:
        """Note the names that a report must not hold."""
        place = client.place
        if place.project:
            self.names[place.project] = "PROJECT"
        if place.endpoint:
            self.names[place.endpoint.rpartition("/")[2]] = "ENDPOINT"
        if place.kind == "base_url" and not re.match(r"(?:127\.|localhost|\[::1\])", place.host):
            self.names[place.host] = "HOST"
        if place.proxy:
            self.names[place.proxy.partition("(")[2].rstrip(")")] = "PROXY"


def diagnose(target: Target, *, quick: bool, as_json: bool, report: Path | None) -> bool:
    """Examine the way from here to the model.

    Args:
        target: Which Kimi.
        quick: Whether to leave the score card out.
        as_json: Whether to write JSON instead of lines.
        report: Where to write the list without names.

    Returns:
        Whether nothing is wrong.
    """
    logging.getLogger("kimi_vertex").addHandler(logging.NullHandler())  # the lines say it, too
    examination = _Round(target, quick=quick)
    console = output()
    found: list[tuple[str, Line]] = []
    try:
        for section, line in examination.lines():
            examination.rest()
            if not as_json:
                if section and (not found or found[-1][0] != section):
                    console.print(Text(f"\n{section}", GRAY))
                _show(console, line)
            found.append((section, line))
    finally:
        examination.rest()
    wrong = next((line for _, line in found if line.status == "red"), None)
    if as_json:
        json.dump(_data(found, wrong), sys.stdout, indent=2)
        sys.stdout.write("\n")
    elif wrong is not None:
        console.print(Text("\nRun this:", "bold" if console.is_terminal else ""))
        console.print(Text(f"  {printable(wrong.command or '')}"), soft_wrap=True)
    else:
        console.print(Text("\nEverything works.", "green" if console.is_terminal else ""))
    if report is not None:
        _write(report, found, wrong, examination.names)
    return wrong is None


def _show(console: Console, line: Line) -> None:
    if not console.is_terminal:
        console.print(Text(f"{_PLAIN[line.status]} {line.name:<12} {printable(line.text)}"), soft_wrap=True)
        return
    mark, style = _MARKS[line.status]
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(width=12)
    table.add_column(overflow="fold")
    tone = {"red": "red", "info": GRAY}.get(line.status, "")
    table.add_row(
        Text(mark, style),
        Text(line.name, "bold" if line.status != "info" else GRAY),
        Text(printable(line.text), tone),
    )
    console.print(table)


def _data(found: list[tuple[str, Line]], wrong: Line | None) -> dict[str, Any]:
    def listed(card: bool) -> list[dict[str, Any]]:
        return [
            {"name": line.name, "status": line.status, "text": line.text, "command": line.command}
            for section, line in found
            if (section == _CARD) is card
        ]

    first = None if wrong is None else {"name": wrong.name, "text": wrong.text, "command": wrong.command}
    return {
        "ok": wrong is None,
        "first_red": first,
        "checks": listed(card=False),
        "score_card": listed(card=True),
    }


def _write(report: Path, found: list[tuple[str, Line]], wrong: Line | None, names: dict[str, str]) -> None:
    rows = [f"- {_PLAIN[line.status].strip() or '-'} **{line.name}**: {line.text}" for _, line in found]
    text = "\n".join(["# kimi-vertex doctor", "", *rows, ""])
    if wrong is not None:
        text += f"\nFirst wrong: {wrong.name}. {wrong.text}\n"
    report.write_text(_redacted(text, names), encoding="utf-8")


def _redacted(text: str, names: dict[str, str]) -> str:
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    text = _TOKEN.sub("TOKEN", text)
    return _HOST.sub("HOST", _EMAIL.sub("ACCOUNT", text))
