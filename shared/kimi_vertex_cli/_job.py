"""A job over many rows: asks for what is not done, writes each answer at once, and stops so that it can be continued."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kimi_vertex import (
    APIStatusError,
    AuthenticationError,
    Completion,
    ConfigurationError,
    CredentialsError,
    InvalidRequestError,
    KimiVertexClient,
    KimiVertexError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestOptions,
)

from ._lines import JobError, Lines, Output

__all__ = ["Job"]

_FATAL: Final = (
    AuthenticationError,
    CredentialsError,
    NotFoundError,
    PermissionDeniedError,
)
_GRACE: Final = 30.0
"""Seconds that running requests get when the job is told to stop."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Job:
    """What is to be done, and how far it is."""

    lines: Lines
    out: Output
    errors: Output
    concurrency: int
    progress: Callable[[], None] = lambda: None
    """Called every fifth of a second."""
    answered: int = 0
    aside: int = 0
    """Rows that were put aside, earlier runs included."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    thinking_tokens: int = 0
    interrupted: bool = False
    fatal: Exception | None = None
    """Why the job was stopped."""
    began: float = 0.0

    async def run(self, client: KimiVertexClient) -> int:
        """Ask for all that is left; returns the exit status.

        Returns:
            0: all rows are answered. 1: some are among the dead letters. 2: the job was stopped, and can be continued.
            130: likewise, by the user.
        """
        self.began = time.monotonic()
        loop, asking = asyncio.get_running_loop(), asyncio.ensure_future(self._ask(client))

        def stop() -> None:
            if self.interrupted:
                asking.cancel()
            self.interrupted = True
            loop.call_later(_GRACE, asking.cancel)

        for number in _SIGNALS:
            loop.add_signal_handler(number, stop)
        showing = asyncio.ensure_future(self._show())
        try:
            await asyncio.gather(asking, return_exceptions=True)
            if not asking.cancelled() and (error := asking.exception()) is not None:
                if not isinstance(error, OSError):
                    raise error
                self.fatal = error
        finally:
            showing.cancel()
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
        self.out.sync()
        return 130 if self.interrupted else 2 if self.fatal else 1 if self.aside else 0

    async def _ask(self, client: KimiVertexClient) -> None:
        async for (number, key, row, options), answer in client.acomplete_many(
            self._rows(), concurrency=self.concurrency
        ):
            mark = {**self.lines.mark(number), "custom_id": key}
            if isinstance(answer, Completion):
                self.answered += 1
                self._count(answer)
                response = {"status_code": 200, "request_id": answer.response_id, "body": completion(answer)}
                self.out.write({**mark, "response": response, "error": None})
            elif _is_final(answer, options):
                self.fatal = self.fatal or answer
            else:
                self.aside += 1
                self.errors.write({**mark, **failure(answer), "row": row})

    def _rows(self) -> Iterator[Any]:
        try:
            for number, line in self.lines.left():
                if self.interrupted or self.fatal:
                    return
                try:
                    key, row, messages, options = read(number, line)
                except ValueError as error:
                    self.aside += 1
                    dead = failure(InvalidRequestError(f"Line {number} cannot be read: {error}"))
                    self.errors.write({**self.lines.mark(number), "custom_id": None, **dead, "row": None})
                else:
                    yield (number, key, row, options), messages, options
        except JobError as error:  # what runs is still written
            self.fatal = self.fatal or error

    async def _show(self) -> None:
        while True:
            self.progress()
            await asyncio.sleep(0.2)

    def _count(self, answer: Completion) -> None:
        if answer.usage is not None:
            self.prompt_tokens += answer.usage.prompt_tokens
            self.completion_tokens += answer.usage.completion_tokens
            self.thinking_tokens += answer.usage.thinking_tokens or 0


def read(number: int, line: bytes) -> tuple[str, Any, Any, dict[str, Any]]:
    """A row's key, the row, its conversation and its options.

    Raises:
        ValueError: It is neither a line of OpenAI's batches nor one with `messages`.
    """
    row = orjson.loads(line)
    body = row.get("body", row) if isinstance(row, dict) else None
    if not (isinstance(body, dict) and isinstance(body.get("messages"), list)):
        raise ValueError(  # noqa: TRY004 - what is wrong is the line
            'it needs "messages", or a "body" that has them'
        )
    known = RequestOptions.__annotations__.keys()
    own = {"messages", "stream", "custom_id", "method", "url"}
    options = {name: value for name, value in body.items() if name in known}
    rest = {name: value for name, value in body.items() if name not in known and name not in own}
    if rest:
        extra = options.get("extra_body") or {}
        if not isinstance(extra, dict):
            raise ValueError('"extra_body" must be an object')
        options["extra_body"] = {**rest, **extra}
    key = row.get("custom_id")
    return str(number if key is None else key), row, body["messages"], options


def _is_final(error: KimiVertexError, options: dict[str, Any]) -> bool:
    """Whether no other row would fare better: a login, a target or a quota that is spent."""
    if isinstance(error, ConfigurationError):
        return not options  # the client was made, so what is wrong is an option of the row, where it has any
    return isinstance(error, _FATAL) or (isinstance(error, RateLimitError) and not error.is_retryable)


def completion(answer: Completion) -> dict[str, Any]:
    """An answer in the form of OpenAI's chat completions."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.thinking is not None:
        message["reasoning_content"] = answer.thinking
    if answer.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.tool_calls
        ]
    usage = answer.usage
    counted = usage and {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return {"object": "chat.completion", "model": answer.model, "choices": [choice], "usage": counted}


def failure(error: KimiVertexError) -> dict[str, Any]:
    """An error as a dead letter has it: status, text, and as much of the answer as came."""
    status = error.status_code if isinstance(error, APIStatusError) else None
    partial = getattr(error, "partial", None)
    return {
        "response": None if status is None else {"status_code": status, "body": error.body},  # type: ignore[attr-defined]
        "error": {"code": type(error).__name__, "message": error.message},
        "partial": completion(partial) if partial is not None else None,
    }
