"""`kimi-vertex batch`: a file of rows, each answered once, whatever is killed in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from kimi_vertex_cli import _console
from kimi_vertex_cli._target import Target, with_target

__all__ = ["batch"]

_LOG_EVERY = 10.0


@with_target
def batch(
    target: Target,
    source: Annotated[
        Path, typer.Argument(metavar="IN", exists=True, dir_okay=False, help="Rows, one a line.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where answers go.")],
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where rows go that cannot be answered. [default: FILE.errors.jsonl]"
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Rows in work at a time.")] = 64,
    max_wait: Annotated[
        float,
        typer.Option(
            min=1.0, metavar="SECONDS", help="How long a row waits for the service, then it is put aside."
        ),
    ] = 3600.0,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Ask again for what was put aside.")
    ] = False,
) -> None:
    """Answer every row of a file, once.

    A row is {"messages": [...]}, or a line of OpenAI's batches. Begun again with the same arguments, the job asks for what
    is missing. Exit status: 0 all answered, 1 some put aside, 2 stopped, 130 interrupted.

    \b
    Examples:
      kimi-vertex batch in.jsonl -o out.jsonl
      kimi-vertex batch in.jsonl -o out.jsonl --concurrency 256 --retry-errors
    """  # noqa: D301 - \b keeps typer from filling the lines
    from kimi_vertex import KimiVertexError, Pace
    from kimi_vertex_cli._job import Job
    from kimi_vertex_cli._lines import JobError, Lines, Output

    errors = errors or out.with_name(f"{out.stem}.errors.jsonl")
    if len({path.resolve() for path in (source, out, errors)}) < 3:
        raise typer.BadParameter("rows, answers and errors need three different files.")
    progress = _Progress()
    try:
        with Output(out) as answers, Output(errors, afresh=retry_errors) as dead:
            lines = Lines(source)
            lines.settle(answers, "Bring it back, or take another file with -o.")
            lines.settle(dead, "If you have mended it, begin again with --retry-errors.")
            job = Job(lines, answers, dead, concurrency)
            client = target.client(pace=Pace(max_wait=max_wait), on_wait=job.heed)
            answers.cut()
            dead.cut()
            status = asyncio.run(job.run(client, progress))
            fatal = job.fatal
    except KeyboardInterrupt:
        status, fatal = 130, None
    except (JobError, KimiVertexError, OSError) as error:
        _say(typer.style(f"error: {error}", fg="red"))
        raise typer.Exit(2) from None
    progress.end()
    if fatal is not None:
        _say(typer.style(f"stopped: {fatal}", fg="red"))
    if status in {2, 130}:
        _say("The same command goes on from here.")
    raise typer.Exit(status)


def _say(text: str, *, nl: bool = True) -> None:
    with contextlib.suppress(OSError):  # a job does not end because who listened to it has gone
        typer.echo(text, nl=nl, err=True)


class _Progress:
    """One line that is written over on a terminal, and a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        console = _console.errors()
        self._width = console.width - 1 if console.file.isatty() else None
        self._news, self._told = "", time.monotonic()

    def __call__(self, news: str) -> None:
        self._news = news
        if self._width is not None:
            _say(f"\r\033[K{news[: self._width]}", nl=False)
        elif time.monotonic() - self._told >= _LOG_EVERY:
            self._told = time.monotonic()
            _say(news)

    def end(self) -> None:
        _say(self._news if self._width is None else f"\r\033[K{self._news}")
