"""The commands together, and what becomes of their errors: one line, a hint and an exit status, never a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from kimi_vertex_cli.ask import ask
from kimi_vertex_cli.batch import batch
from kimi_vertex_cli.doctor import doctor
from kimi_vertex_cli.endpoints import endpoints

__all__ = ["app", "run"]

app = typer.Typer(
    name="kimi-vertex",
    help="Kimi on Google Vertex AI, from a terminal. Which Kimi: by options of each command, or by the environment.",
    # Help without rich: its panels cost three times what the rest of `--help` does.
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(ask)
app.command()(batch)
app.command()(endpoints)
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from kimi_vertex import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the library's log.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if verbose:
        logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
        logging.getLogger("kimi_vertex").setLevel(logging.DEBUG)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see `kimi_vertex_cli.main`."""
    try:
        get_command(app)(args=None if arguments is None else list(arguments), prog_name="kimi-vertex")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:  # noqa: BLE001 - none of them is to end in a traceback
        return _fail(error)
    return 0


def _fail(error: Exception) -> int:
    """Say what went wrong, in one line, and what to do."""
    from kimi_vertex import APIError, CredentialsError, KimiVertexError

    logging.getLogger("kimi_vertex").debug("The command ended early.", exc_info=error)
    if isinstance(error, KimiVertexError):
        typer.secho(f"error: {error}", err=True, fg="red")
        if isinstance(error, APIError | CredentialsError):
            typer.echo("hint: `kimi-vertex doctor`, with the same options, looks for the cause.", err=True)
    else:
        typer.secho(f"error: {type(error).__name__}: {error}", err=True, fg="red")
        typer.echo(
            "hint: this is a fault of the command's own; `kimi-vertex -v ...` shows where. Please report it.",
            err=True,
        )
    return 1
