"""A request on a clock of the test's, against scripted answers, without any I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from kimi_vertex import CredentialsError, Event, KimiVertexClient, RequestOptions
from kimi_vertex._exchange.commands import (
    Authorize,
    Drain,
    Head,
    Identity,
    ReadBody,
    ReadChunk,
    Request,
    Send,
    Sleep,
    TransportFailure,
)
from kimi_vertex._secrets import Hidden

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@dataclass
class Answer:
    """What the server does with one request."""

    status: int = 200
    batches: Sequence[list[str]] = ()
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    fails: TransportFailure | None = None
    """Thrown where the next batch would have come; with no batches, in place of the head."""


def piece(finish: str | None = None, **delta: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


GOOD = Answer(batches=[[piece(reasoning_content="Hm.")], [piece(content="Hello"), piece("stop"), "[DONE]"]])
BUSY = Answer(503, body='{"error": {"code": 503, "message": "Busy."}}')


class Play:
    """Runs one call against scripted answers."""

    def __init__(
        self,
        client: KimiVertexClient,
        answers: Sequence[Answer | Exception],
        *,
        random: Callable[[], float] = lambda: 1.0,
        form: Literal["stream", "whole"] = "stream",
        seconds_per_request: float = 0.0,
        refreshable: bool = False,
        options: RequestOptions | None = None,
    ) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.sent: list[Request] = []
        self.rejected: list[str | None] = []
        self.events: list[Event] = []
        self.error: Exception | None = None
        self.drained = 0
        self._answers = list(answers)
        self._refreshable = refreshable
        self._step = seconds_per_request
        exchange, flow = client._start("Hi", options or RequestOptions(), stream=form == "stream")
        exchange.clock, exchange.today, exchange.random = (lambda: self.now), (lambda: NOW), random
        self.exchange = exchange
        try:
            self._run(flow)
        except Exception as error:
            self.error = error

    def _run(self, flow: Any) -> None:
        reply: Any = None
        failure: Exception | None = None
        while True:
            try:
                step = flow.throw(failure) if failure is not None else flow.send(reply)
            except StopIteration:
                return
            reply = failure = None
            if isinstance(step, list):
                self.events += step
                continue
            try:
                reply = self._perform(step)
            except (TransportFailure, CredentialsError) as error:
                failure = error

    def _perform(self, command: Any) -> Any:
        match command:
            case Authorize():
                self.rejected.append(None if command.rejected is None else command.rejected.reveal())
                token = "second" if command.rejected else "first"
                return Identity(Hidden({"authorization": token}), None, "googleapis.com", self._refreshable)
            case Send():
                self.sent.append(command.request)
                self.now += self._step
                answer = self._answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                self._current, self._batches = answer, list(answer.batches)
                kind = "text/event-stream" if answer.batches else "application/json"
                return Head(answer.status, {"content-type": kind, **answer.headers})
            case ReadBody():
                return self._current.body.encode()
            case ReadChunk():
                self.events += command.show
                if self._batches:
                    return self._batches.pop(0), False
                if self._current.fails:
                    raise self._current.fails
                return [], True
            case Drain():
                self.drained += 1
                return None
            case Sleep():
                self.waits.append(command.seconds)
                self.now += command.seconds
                return None
        raise AssertionError(command)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content or b"null") for request in self.sent]


def client(**settings: Any) -> KimiVertexClient:
    # Without a pace, a refusal is retried like a failure: what these tests are about.
    return KimiVertexClient("kimi", base_url="http://127.0.0.1:1/v1", **{"pace": None, **settings})
