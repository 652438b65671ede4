"""`kimi-vertex ask`: one question, or a conversation."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from kimi_vertex_cli._target import Target, with_target

__all__ = ["ask"]


@with_target
def ask(
    target: Target,
    question: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION", help="What to ask; what is piped in follows it.", show_default=False
        ),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Go on with the conversation; Ctrl-D ends it.")
    ] = False,
    tools: Annotated[
        bool, typer.Option("--tools", help="Let Kimi call a tool: what time it is, somewhere.")
    ] = False,
    thinking: Annotated[
        Literal["fold", "show", "hide"],
        typer.Option(
            metavar="HOW",
            help="fold it when the answer begins, show or hide it; in a pipe it goes to standard error.",
        ),
    ] = "fold",
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the model is told first.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="At most so many tokens, thinking included.", show_default=False),
    ] = None,
    effort: Annotated[
        Literal["none", "low", "medium", "high", "max"] | None,
        typer.Option(
            metavar="LEVEL", help="How much to think: none, low, medium, high or max.", show_default=False
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line with tokens and seconds.")] = False,
) -> None:
    """Ask Kimi, and see it think.

    On a terminal the thinking is gray and folds when the answer begins, which is rendered. In a pipe the answer is plain
    text on standard output.

    \b
    Examples:
      kimi-vertex ask "Why is the sky blue?"
      kimi-vertex ask -i --tools
      git diff | kimi-vertex ask "Write a commit message." > message.txt
    """  # noqa: D301 - \b keeps typer from filling the lines
    from kimi_vertex_cli._conversation import Conversation

    piped = "" if sys.stdin is None or sys.stdin.isatty() or interactive else sys.stdin.read()
    first = "\n\n".join(part for part in (" ".join(question or ()), piped.strip()) if part)
    if not (first or interactive):
        raise typer.BadParameter("ask something, pipe it in, or begin a conversation with -i.")
    with Conversation(
        target,
        tools=tools,
        thinking=thinking,
        system=system,
        max_tokens=max_tokens,
        effort=effort,
        quiet=quiet,
    ) as conversation:
        if first:
            conversation.ask(first)
        if interactive:
            conversation.run()
