"""The list of endpoints, as a table, as lines or as JSON."""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from kimi_vertex import ConfigurationError, KimiVertexClient
from kimi_vertex_cli._console import GRAY, errors, output, printable
from kimi_vertex_cli._resources import REGIONS, Endpoint, list_endpoints
from kimi_vertex_cli._target import Target

__all__ = ["show"]

# A target of Google's is needed to ask Google; no request goes to the model.
_ANY_MODEL = "moonshotai/kimi-k2-thinking-maas"
_ANYWHERE = "us"


def show(target: Target, *, everything: bool, as_json: bool) -> None:
    """List the endpoints.

    Args:
        target: Project, location and credentials.
        everything: Whether to show those that do not serve Kimi, too.
        as_json: Whether to write JSON.

    Raises:
        KimiVertexError: They cannot be listed.
    """
    with target.client(**_elsewhere(target)) as client:
        project, locations = _where(client)
        with _working(
            f"looking through {locations[0] if len(locations) == 1 else f'{len(locations)} regions'}"
        ):
            found = list_endpoints(client, project, locations)
    shown = [endpoint for endpoint in found if everything or endpoint.kimi]
    if as_json:
        json.dump([{**asdict(endpoint), "use": endpoint.use} for endpoint in shown], sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    if shown:
        _table(shown) if output().is_terminal else _lines(shown)
    _say(project, locations, found, shown)


def _elsewhere(target: Target) -> dict[str, str]:
    """Settings with which the client asks Google in any case.

    An endpoint that the environment names must not contradict a project or region that was asked for.
    """
    given = target.settings
    if "endpoint" in given or not given.keys() & {"project", "location"}:
        return {} if "model" in given else {"model": _ANY_MODEL}
    return {
        "endpoint": "1",
        "location": given.get("location") or os.environ.get("GOOGLE_CLOUD_LOCATION") or _ANYWHERE,
    }


def _where(client: KimiVertexClient) -> tuple[str, tuple[str, ...]]:
    place = client.place
    if place.kind == "base_url":
        raise ConfigurationError(
            "base_url is another server, which has no endpoints: leave it out (KIMI_VERTEX_BASE_URL)."
        )
    project = place.project
    if project is None:
        login = client.login()
        project = login.project if login is not None else "emulator" if place.emulator else None
    if project is None:
        raise ConfigurationError("No project is known: pass --project, or set GOOGLE_CLOUD_PROJECT.")
    return project, REGIONS if place.location in {"global", _ANYWHERE} else (place.location,)


def _working(text: str) -> Any:
    console = errors()
    return console.status(Text(text, GRAY), spinner_style=GRAY) if console.is_terminal else nullcontext()


def _table(shown: list[Endpoint]) -> None:
    console = output()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=GRAY)
    for column in ("", "endpoint", "region", "model", "state", "name"):
        table.add_column(column, overflow="fold")
    for endpoint in shown:
        mark = Text("●", "green" if endpoint.ready else "yellow") if endpoint.kimi else ""
        texts = (endpoint.id, endpoint.location, endpoint.model, endpoint.state, endpoint.display_name)
        table.add_row(mark, *(Text(printable(text)) for text in texts))
    console.print(table)
    for endpoint in shown:
        console.print()
        host = f", at {endpoint.host}" if endpoint.host else ""
        console.print(Text(f"# {printable(endpoint.display_name)}{host}", GRAY), soft_wrap=True)
        console.print(Text(endpoint.use), soft_wrap=True)


def _lines(shown: list[Endpoint]) -> None:
    for endpoint in shown:
        kimi = "kimi" if endpoint.kimi else "other"
        texts = (endpoint.name, kimi, endpoint.model, endpoint.state, endpoint.host, endpoint.use)
        sys.stdout.write("\t".join(printable(text).replace("\t", " ") for text in texts) + "\n")


def _say(project: str, locations: tuple[str, ...], found: list[Endpoint], shown: list[Endpoint]) -> None:
    where = locations[0] if len(locations) == 1 else f"{len(locations)} regions"
    if not shown:
        others = f", {len(found)} others (--all)" if found else ""
        text = f"No endpoint of {project} in {where} serves Kimi{others}. docs/deploy.md says how to get one."
    else:
        text = f"{len(shown)} of {len(found)} endpoints of {project} in {where}"
    errors().print(Text(text, GRAY), soft_wrap=True)
