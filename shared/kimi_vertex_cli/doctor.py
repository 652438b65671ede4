"""`kimi-vertex doctor`: why it does not work, or what the endpoint can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kimi_vertex_cli._target import Target, with_target

__all__ = ["doctor"]


@with_target
def doctor(
    target: Target,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the score card: one request to the model, not eight.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a checklist.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the list without names of projects, hosts and accounts, for a bug report.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Find out why requests fail, or what the endpoint can do.

    Looks at versions, variables, settings, login, network, endpoint and model, in this order, and names one command to run
    for the first thing that is wrong. If nothing is, the score card says what the server can do. It costs some eight short
    requests; no secret is shown. The status is 1 if something is wrong.

    \b
    Examples:
      kimi-vertex doctor
      kimi-vertex doctor --base-url http://localhost:8000/v1 --quick
      kimi-vertex doctor --report report.md
    """  # noqa: D301 - \b keeps typer from filling the lines
    from kimi_vertex_cli._diagnosis import diagnose

    if not diagnose(target, quick=quick, as_json=as_json, report=report):
        raise typer.Exit(1)
