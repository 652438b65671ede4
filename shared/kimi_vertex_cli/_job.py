"""A job over many rows: asks for what is not done, writes each answer at once, and stops so that it can be continued."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
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
    Wait,
)

from ._lines import JobError, Lines, Output, key_of

__all__ = ["Job"]

_FATAL: Final = (
    AuthenticationError,
    CredentialsError,
    NotFoundError,
    PermissionDeniedError,
)
_GRACE: Final = 30.0
"""Seconds that running requests get when the job is told to stop."""
_TICK: Final = 0.2
_OPTIONS: Final = RequestOptions.__annotations__.keys() - {"on_thinking", "traced"}
_NOT_SENT: Final = frozenset({"messages", "stream", "custom_id", "method", "url"})


class Job:
    """What is to be done, and how far it is.

    Args:
        lines: The rows.
        out: Where answers go.
        errors: Where rows go that cannot be answered.
        concurrency: How many rows are in work at a time.
    """

    def __init__(self, lines: Lines, out: Output, errors: Output, concurrency: int) -> None:
        self._lines, self._out, self._errors, self._concurrency = lines, out, errors, concurrency
        self._before, self._answered, self._aside = lines.done, 0, 0
        self._tokens: Counter[str] = Counter()
        self._stopped: float | None = None
        self._began = time.monotonic()
        self._wait: Wait | None = None
        self.fatal: Exception | None = None
        """Why the job was stopped."""

    async def run(self, client: KimiVertexClient, progress: Callable[[str], None]) -> int:
        """Ask for all that is left.

        Args:
            client: Whom to ask.
            progress: Told every fifth of a second how far it is.

        Returns:
            The exit status. 0: all rows are answered. 1: some are among the dead letters. 2: the job was stopped, and can
            be continued. 130: likewise, by the user.

        Raises:
            KeyboardInterrupt: The user wants it to end at once, or it took too long to end.
        """
        # Not the loop's own signal handlers, which Windows has not: there the tick is when a signal is noticed.
        handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        asking = asyncio.ensure_future(self._ask(client))
        try:
            while not asking.done():
                await asyncio.wait([asking], timeout=_TICK)
                progress(self._news(client))
                if self._stopped is not None and time.monotonic() - self._stopped > _GRACE:
                    raise KeyboardInterrupt
            await asking
        except OSError as error:
            self.fatal = error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return 130 if self._stopped else 2 if self.fatal else int(self._errors.count + self._aside > 0)

    def _stop(self, *_: object) -> None:
        self._stopped = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)

    def heed(self, wait: Wait) -> None:
        """Take news of a wait that is not for a turn."""
        if wait.reason != "pace":
            self._wait = wait

    async def _ask(self, client: KimiVertexClient) -> None:
        async for (number, key, options), answer in client.acomplete_many(
            self._rows(), concurrency=self._concurrency
        ):
            self._wait = None
            if isinstance(answer, Completion):
                self._answered += 1
                if usage := answer.usage:
                    self._tokens["in"] += usage.prompt_tokens
                    self._tokens["out"] += usage.completion_tokens
                    self._tokens["thinking"] += usage.thinking_tokens or 0
                response = {"status_code": 200, "request_id": answer.response_id, "body": completion(answer)}
                mark = {**self._lines.mark(number), "custom_id": key}
                self._out.write({**mark, "response": response, "error": None})
            elif _is_final(answer, options):
                self.fatal = self.fatal or answer
            else:
                self._put_aside(number, key, answer)

    def _rows(self) -> Iterator[Any]:
        try:
            for number, line in self._lines.left():
                if self._stopped or self.fatal:
                    return
                row = None
                try:
                    row = orjson.loads(line)
                    messages, options = read(row)
                except ValueError as error:
                    wrong = InvalidRequestError(f"Line {number} cannot be read: {error}")
                    self._put_aside(number, key_of(number, row), wrong)
                else:
                    yield (number, key_of(number, row), options), messages, options
        except JobError as error:  # what runs is still written
            self.fatal = self.fatal or error

    def _put_aside(self, number: int, key: Any, error: KimiVertexError) -> None:
        self._aside += 1
        status = error.status_code if isinstance(error, APIStatusError) else None
        partial = getattr(error, "partial", None)
        self._errors.write(
            {
                **self._lines.mark(number),
                "custom_id": key,
                "response": status and {"status_code": status, "body": getattr(error, "body", None)},
                "error": {"code": type(error).__name__, "message": error.message},
                "partial": partial and completion(partial),
            }
        )

    def _news(self, client: KimiVertexClient) -> str:
        state, ended = client.pace_state, self._answered + self._aside
        speed = ended / max(time.monotonic() - self._began, 1e-3)
        left = self._lines.total - self._before - ended
        far = f"{self._lines.total - left:,}/{self._lines.total:,}"
        if self._wait is not None:
            return f"{far} · waiting for {self._wait.seconds:.0f} s: {self._wait.error}"
        tokens = " ".join(f"{name} {_short(number)}" for name, number in self._tokens.items() if number)
        pace = "" if state.per_second is None else f"pace {state.per_second:.0f}/s, "
        return (
            f"{far} · {speed:.1f}/s · "
            + (f"{timedelta(seconds=left // speed)} left · " if speed else "")
            + f"{self._errors.count + self._aside:,} aside · {tokens or 'no'} tokens · {pace}{state.refused:,} refused"
        )


def _short(number: int) -> str:
    return f"{number / 1000:,.0f}k" if number >= 10_000 else f"{number}"


def read(row: Any) -> tuple[Any, dict[str, Any]]:
    """A row's conversation and its options.

    Raises:
        ValueError: It is neither a line of OpenAI's batches nor one with `messages`.
    """
    body = row.get("body", row) if isinstance(row, dict) else None
    if not (isinstance(body, dict) and isinstance(body.get("messages"), list)):
        raise ValueError('it needs "messages", or a "body" that has them')  # noqa: TRY004 - the line is what is wrong
    options = {name: value for name, value in body.items() if name in _OPTIONS}
    rest = {name: value for name, value in body.items() if name not in _OPTIONS | _NOT_SENT}
    if rest:
        extra = options.get("extra_body") or {}
        if not isinstance(extra, dict):
            raise ValueError('"extra_body" must be an object')
        options["extra_body"] = {**rest, **extra}
    return body["messages"], options


def _is_final(error: KimiVertexError, options: dict[str, Any]) -> bool:
    """Whether no other row would fare better: a login, a target or a quota that is spent."""
    if isinstance(error, ConfigurationError):  # the text begins with the setting that is wrong
        return not error.message.startswith(tuple(options))
    return isinstance(error, _FATAL) or (isinstance(error, RateLimitError) and not error.is_retryable)


def completion(answer: Completion) -> dict[str, Any]:
    """An answer in the form of OpenAI's chat completions."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.tool_calls
    ]
    message = {
        "role": "assistant",
        "content": answer.text,
        "reasoning_content": answer.thinking,
        "refusal": answer.refusal,
        "tool_calls": calls or None,
        "invalid_tool_calls": [asdict(call) for call in answer.invalid_tool_calls] or None,
    }
    choice = {
        "index": 0,
        "message": {name: value for name, value in message.items() if value is not None},
        "finish_reason": answer.finish_reason,
        "logprobs": answer.metadata.get("logprobs"),
    }
    usage = answer.usage and {
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "total_tokens": answer.usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.usage.thinking_tokens},
    }
    return {"object": "chat.completion", "model": answer.model, "choices": [choice], "usage": usage}
