"""`kimi-vertex batch`: a file of rows, each answered once, whatever is killed in between."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kimi_vertex_cli._target import Target, with_target

if TYPE_CHECKING:
    from kimi_vertex import KimiVertexClient
    from kimi_vertex_cli._job import Job

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
            metavar="FILE", help="Where rows go that cannot be answered. [default: errors.jsonl beside -o]"
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Rows in work at a time.")] = 64,
    max_wait: Annotated[
        float,
        typer.Option(
            min=1.0, metavar="SECONDS", help="How long a row waits for its turn, then it is put aside."
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
    from kimi_vertex import Pace
    from kimi_vertex_cli._job import Job
    from kimi_vertex_cli._lines import JobError, Lines, Output

    if errors is None:
        errors = out.with_name("errors.jsonl")
    if len({path.resolve() for path in (source, out, errors)}) < 3:
        raise typer.BadParameter("rows, answers and errors need three different files.")
    try:
        with Output(out) as answers, Output(errors) as dead:
            lines = Lines(source, out, *([] if retry_errors else [errors]))
            client = target.client(pace=Pace(max_wait=max_wait))
            if retry_errors:
                dead.empty()
            answers.cut()
            dead.cut()
            job = Job(lines, answers, dead, concurrency)
            with errors.open("rb") as letters:
                job.aside = sum(1 for _ in letters)
            job.progress = progress = _Progress(job, client)
            status = asyncio.run(job.run(client))
    except (JobError, OSError) as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        raise typer.Exit(2) from None
    progress.end()
    if job.fatal is not None:
        typer.secho(f"stopped: {job.fatal}", err=True, fg="red")
    if status in {2, 130}:
        typer.echo("The same command goes on from here.", err=True)
    raise typer.Exit(status)


class _Progress:
    """One line that is written over on a terminal, and a line every ten seconds elsewhere."""

    def __init__(self, job: Job, client: KimiVertexClient) -> None:
        self._job, self._client, self._aside = job, client, job.aside
        self._terminal = sys.stderr.isatty()
        self._told = time.monotonic()

    def __call__(self) -> None:
        if self._terminal:
            print(f"\r\033[K{self}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._told >= _LOG_EVERY:
            self._told = time.monotonic()
            print(self, file=sys.stderr, flush=True)

    def end(self) -> None:
        print(f"\r\033[K{self}" if self._terminal else self, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        job, state = self._job, self._client.pace_state
        done = job.lines.done + job.answered + job.aside - self._aside
        speed = job.answered / max(time.monotonic() - job.began, 1e-3)
        left = (job.lines.total - done) / speed if speed else 0.0
        pace = "" if state.per_second is None else f"pace {state.per_second:.0f}/s, "
        tokens = [
            f"{name} {_short(number)}"
            for name, number in (
                ("in", job.prompt_tokens),
                ("out", job.completion_tokens),
                ("thinking", job.thinking_tokens),
            )
            if number
        ]
        return " · ".join(
            [
                f"{done:,}/{job.lines.total:,}",
                f"{speed:.1f}/s",
                f"{int(left // 60)}:{int(left % 60):02} left",
                f"{job.aside} aside",
                f"{' '.join(tokens)} tokens" if tokens else "no tokens",
                f"{pace}{state.refused} refused",
            ]
        )


def _short(number: int) -> str:
    return f"{number / 1000:.0f}k" if number >= 10_000 else f"{number}"
