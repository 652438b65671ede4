"""`kimi-vertex ask`."""

from __future__ import annotations

from typing import Annotated

import typer

from kimi_vertex_cli._target import Target, with_target

__all__ = ["ask"]


@with_target
def ask(
    target: Target, question: Annotated[list[str], typer.Argument(help="What to ask.", show_default=False)]
) -> None:
    """Ask Kimi a question."""
    from kimi_vertex import TextDelta

    with target.client() as client:
        for event in client.stream(" ".join(question)):
            if isinstance(event, TextDelta):
                typer.echo(event.text, nl=False)
    typer.echo()
