"""`kimi-vertex endpoints`: which there are, and the line to use each."""

from __future__ import annotations

from typing import Annotated

import typer

from kimi_vertex_cli._target import Target, with_target

__all__ = ["endpoints"]


@with_target
def endpoints(
    target: Target,
    everything: Annotated[bool, typer.Option("--all", help="Also those that do not serve Kimi.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the endpoints of a project that serve Kimi.

    Each with its model, state and host, and the line that makes every client and command use it. Without a location all
    regions with machines for large models are looked through.

    \b
    Examples:
      kimi-vertex endpoints --project my-project
      kimi-vertex endpoints --location us-central1 --all
      eval "$(kimi-vertex endpoints --json | jq -r '.[0].use')"
    """  # noqa: D301 - \b keeps typer from filling the lines
    from kimi_vertex_cli._listing import show

    show(target, everything=everything, as_json=as_json)
