"""One request from start to finish as a generator: it asks for I/O, is sent the outcome, and yields events.

Everything that is decided about a request is decided here, once for sync and async. No socket, no clock, no thread.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from kimi_vertex import _wire
from kimi_vertex._answer.decoder import Decoder, StreamErrorEvent, UnreadableData
from kimi_vertex._answer.reask import reject
from kimi_vertex._json import loads
from kimi_vertex._request.body import Payload
from kimi_vertex._target.facts import RELEARN
from kimi_vertex.completion import Accumulator, Completion
from kimi_vertex.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AuthenticationError,
    CredentialsError,
    EmptyTurnError,
    KimiVertexError,
)
from kimi_vertex.events import Event, Finish, ThinkingDelta, Usage

from .asking import Retry, ask
from .commands import (
    Drain,
    Flow,
    ReadBody,
    ReadChunk,
    Steps,
    TransportFailure,
)
from .concessions import concede
from .failures import (
    broken,
    empty_text,
    unexpected,
    unreadable,
)
from .state import Exchange
from .turns import await_turn, begin_answer, end_turn, may_wait, take_turn
from .waiting import await_start, sleep

__all__ = ["run"]

logger = logging.getLogger("kimi_vertex")

_FIRST_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 8.0
_DOUBLINGS: Final = 10


def run(exchange: Exchange) -> Flow:
    """The flow of one request.

    Raises:
        KimiVertexError: As documented at `KimiVertexClient`.
    """
    exchange.begin()
    stats = exchange.stats
    try:
        while True:
            try:
                if not take_turn(exchange):
                    yield from await_turn(exchange)
                stats.attempt()
                yield from _attempt(exchange)
            except Retry as retry:
                stats.failures.append(str(retry))
                continue
            except EmptyTurnError:
                raise
            except (APIError, CredentialsError) as error:
                end_turn(exchange, error)
                stats.failed(error)
                if not (yield from _before_retry(exchange, error)):
                    yield from _show(exchange, exchange.held_back)
                    if isinstance(error, APIError) and error.partial is None and exchange.rejected:
                        error.partial = exchange.rejected.answer
                    raise
            else:
                exchange.done(exchange.completion, None)
                return
            finally:
                end_turn(exchange)
    except GeneratorExit:
        exchange.done(exchange.completion, None)
        raise
    except KimiVertexError as error:
        exchange.done(getattr(error, "partial", None), error)
        raise
    except Exception as error:
        raise _unexpected(exchange, error) from error
    finally:
        exchange.refusal = None  # its traceback holds the exchange
        if exchange.on_end is not None:
            exchange.on_end()


def _unexpected(exchange: Exchange, error: Exception) -> APIError:
    """End the request with an error that stands for one that is not of this library."""
    failure = unexpected(error, exchange.place, exchange.completion)
    exchange.done(failure.partial, failure)
    return failure


def _attempt(exchange: Exchange) -> Steps[None]:
    """Ask once and read the answer. Each delta passes through here, so the loop is in this frame."""
    decoder = exchange.new_decoder()
    exchange.held_back = []
    head = yield from ask(exchange)
    if exchange.turn is not None and exchange.pacer is not None:
        exchange.pacer.admitted(exchange.turn, exchange.clock())
    content_type = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    streamed = content_type == "text/event-stream"
    reading, ended = ReadChunk(), not streamed
    shows, listens = exchange.shows_events, exchange.stats.listening
    failed: APIError | None = None
    try:
        while not (ended or decoder.done):
            data, ended = yield reading
            events: list[Event] = []
            reading.show = events
            try:
                _decode(decoder, data, events)
            except UnreadableData:
                if not (ended and _may_be_half(data[-1])):
                    yield from _show(exchange, events)
                    raise
            except StreamErrorEvent:
                yield from _show(exchange, events)
                raise
            if events:
                exchange.shown = shows
                if listens:
                    exchange.stats.events(events)
            if not reading.begun:
                reading.begun = bool(events) or decoder.undecided
                if reading.begun:
                    begin_answer(exchange)
        if streamed:
            yield reading.show
        else:
            begin_answer(exchange)
            body: bytes = yield ReadBody()
            events = []
            try:
                _decode_body(decoder, body, content_type, events)
            except (UnreadableData, StreamErrorEvent):
                yield from _show(exchange, events)
                raise
            yield from _show(exchange, events)
    except StreamErrorEvent as event:
        status, partial = event.error.status or 500, _partial(exchange, decoder)
        failed = exchange.status_error(head, event.error, status=status, partial=partial)
    except UnreadableData as problem:
        words, partial = exchange.masked(str(problem)), _partial(exchange, decoder)
        failed = unreadable(words, content_type, exchange.place, head.headers, partial)
    except TransportFailure as failure:
        if not (streamed and decoder.complete):
            failed = broken(failure, exchange.place, _partial(exchange, decoder))
    if failed is not None:
        try:
            raise failed  # out here it has no context, which would keep what the server has repeated of the request
        finally:
            failed = None  # its traceback holds this frame
    if not decoder.complete:
        cut = TransportFailure(
            "broken", "the server closed the stream without a finish reason and without [DONE]"
        )
        raise broken(cut, exchange.place, _partial(exchange, decoder))
    if decoder.server is not None and exchange.target.self_deployed and not exchange.facts.knows("server"):
        exchange.facts.learn("server", decoder.server, "what came beside an answer")
    yield from _finish(exchange, decoder)
    if streamed:
        yield Drain()


def _decode(decoder: Decoder, batch: Iterable[str], events: list[Event]) -> None:
    """Add the events of data that came together, up to the answer's end; what comes before a failure is added."""
    for data in batch:
        events += decoder.feed(data)
        if decoder.done:
            break
        if decoder.failure is not None:
            raise decoder.failure


def _may_be_half(data: str) -> bool:
    """Whether data at a body's end may be the beginning of a chunk, or of `[DONE]`: the body then broke off."""
    return data.startswith("{") or "[DONE]".startswith(data.strip())


def _decode_body(decoder: Decoder, source: bytes, content_type: str, events: list[Event]) -> None:
    """Add the events of a body that is not declared as a stream, but may be one: a proxy may have lost the type."""
    if not source or source.isspace():
        raise UnreadableData("the body is empty")
    try:
        body = loads(source)
    except (ValueError, RecursionError):
        text = source.decode("utf-8-sig", "replace")
        _decode(decoder, _wire.event_data(text), events)
        if decoder.has_chunks:
            return
        start = " ".join(text[:200].split())
        raise UnreadableData(f"not JSON but {content_type or 'of no type'}: {start}") from None
    events += decoder.feed_body(body, source)


def _show(exchange: Exchange, events: list[Event]) -> Steps[None]:
    if events:
        exchange.shown = exchange.shows_events
        exchange.stats.events(events)
        yield events


def _finish(exchange: Exchange, decoder: Decoder) -> Steps[None]:
    policy = exchange.settings.empty_turn
    if exchange.stream and decoder.undecided:
        logger.info(
            "The whole answer was held back, because it might have been thinking (%s). For a server that separates "
            "thinking, or a model that does not think, set implicit_thinking=False to see such answers stream.",
            exchange.place,
        )
    last = decoder.finish(promote=policy == "promote")
    if decoder.stripped:
        _learn_stripped(exchange)
    if exchange.settings.tool_validation == "reask" and exchange.rejected is None:
        rejected = reject(decoder.accumulator)
        if rejected is not None:
            reasons = _reasons(rejected.answer)
            logger.warning(
                "Asking the model again, because of invalid tool calls: %s (%s).",
                reasons,
                exchange.place,
                extra=exchange.record,
            )
            exchange.stats.reask()
            yield from _show(exchange, [event for event in last if not isinstance(event, Usage | Finish)])
            yield Drain()
            exchange.ask_again(rejected)
            raise Retry("invalid tool calls")
    finish = last[-1]
    assert isinstance(finish, Finish)
    if invalid := _reasons(decoder.completion):
        logger.warning(
            "The answer has tool calls that cannot be executed: %s (%s).",
            invalid,
            exchange.place,
            extra=exchange.record,
        )
    _learn(exchange, decoder)
    quoted = finish.metadata.get("quoted_tool_calls")
    if quoted:
        names = ", ".join(sorted({call["name"] for call in quoted}))
        logger.info(
            "Text that looks like %d tool call(s) was taken for a quotation (%s).", len(quoted), names
        )
    if finish.empty is not None:
        lost = decoder.lost_closing_tag
        if not exchange.found_empty:
            logger.warning(
                "%s (%s, finish reason %s); empty_turn=%r.",
                empty_text(finish, exchange.place, policy).removesuffix("."),
                finish.empty,
                finish.raw_reason,
                policy,
                extra=exchange.record,
            )
        # Thinking alone has been shown where its closing tag was lost: an answer may follow it.
        shown = exchange.shown and not (lost and exchange.rejected is None)
        again = not (exchange.found_empty or shown or finish.reason == "length")
        exchange.found_empty = True
        if policy == "retry" and again:
            if exchange.shown:
                yield from _show(exchange, [event for event in last if isinstance(event, ThinkingDelta)])
                exchange.thought = Accumulator()
                exchange.thought.add(ThinkingDelta(decoder.completion.thinking or ""))
            exchange.stream = False
            exchange.payload = _unstreamed(exchange.payload)
            yield Drain()
            raise Retry("an empty turn")
        if policy == "raise":
            yield Drain()
            raise EmptyTurnError(empty_text(finish, exchange.place, policy), partial=decoder.completion)
    yield from _show(exchange, last)


def _learn(exchange: Exchange, decoder: Decoder) -> None:
    """Remember what the answer tells about the server."""
    facts, model, field = exchange.facts, exchange.payload.model, decoder.thinking_field
    if field and field != facts.value("thinking_field", model=model):
        facts.learn("thinking_field", field, "an answer's thinking", model=model, lasts=RELEARN)
    if decoder.lost_closing_tag or decoder.split_by_usage:
        facts.learn("loses_closing_tag", True, "an answer's counts of tokens", model=model, lasts=RELEARN)


def _reasons(answer: Completion) -> str:
    """Why tool calls of an answer are invalid; empty if there are none, or they have been asked for again."""
    calls = [call for call in answer.invalid_tool_calls if not call.replaced]
    return "; ".join(f"{call.name or 'without a name'}: {call.error}" for call in calls)


def _unstreamed(payload: Payload) -> Payload:
    body = {key: value for key, value in payload.body.items() if key not in ("stream", "stream_options")}
    return replace(payload, body=body)


def _partial(exchange: Exchange, decoder: Decoder) -> Completion | None:
    """What has come of an answer that broke off; text that was held back is shown unless the request is retried."""
    exchange.held_back = decoder.flush()
    return decoder.completion if decoder.has_chunks else None


def _before_retry(exchange: Exchange, error: APIError | CredentialsError) -> Steps[bool]:
    """Make the next attempt possible, wait for its time and return true; return false if there must not be one.

    An answer that a user has seen part of is never started over. A refused token is replaced once, a refused tool choice is given
    up once, and a target that cannot be reached is waited for as long as `Pace.max_wait` says, if it does; none of these counts
    as a retry. Everything else waits as long as the service asks, or a random part of a
    ceiling that doubles (full jitter: many clients that failed together do not come back together).
    """
    if exchange.shown or exchange.gave_up:
        return False
    if isinstance(error, AuthenticationError) and not exchange.refreshed and exchange.token is not None:
        exchange.refreshed = True
        exchange.refused_token = exchange.token
        return True
    if isinstance(error, APIStatusError):
        conceded = concede(exchange.payload, exchange.facts, error, exchange.place)
        if conceded is not None:
            exchange.payload = conceded
            return True
    started = yield from await_start(exchange, error)
    if started is not None:
        return started
    if isinstance(error, APIStatusError) and error is exchange.refusal:
        return may_wait(exchange, error)
    settings, total = exchange.settings, exchange.timeouts.total
    away = isinstance(error, APIConnectionError) and not error.connected
    patience = exchange.pace.max_wait if away else None
    if not error.is_retryable or (patience is None and exchange.retries >= settings.max_retries):
        return False
    asked = error.retry_after if isinstance(error, APIStatusError) else None
    doublings = min(exchange.retries, _DOUBLINGS) if patience is None else _DOUBLINGS
    ceiling = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0**doublings)
    delay = ceiling * exchange.random() if asked is None else asked
    now = exchange.clock()
    end = min(
        exchange.retrying_since + settings.max_retry_seconds
        if patience is None
        else exchange.alone_since + patience,
        exchange.started + (math.inf if total is None else total),
    )
    if now + delay > end:
        return False
    exchange.retries += patience is None
    logger.info(
        "Attempt %d failed (%s); trying again in %.2f s.",
        exchange.stats.attempts,
        type(error).__name__,
        delay,
        extra=exchange.record,
    )
    yield from sleep(exchange, "retry", delay, end, error)
    if patience is not None:
        exchange.retrying_since += delay
    return True


def _learn_stripped(exchange: Exchange) -> None:
    facts, model = exchange.facts, exchange.payload.model
    if facts.value("strips_markers", model=model):
        return
    facts.learn("strips_markers", True, "an answer's text", model=model, lasts=RELEARN)
    logger.warning(
        "The server took the tokens out of Kimi K3's markup, so that this answer cannot be read (%s). Start it with "
        "--reasoning-parser kimi_k3 --tool-call-parser kimi_k3 --enable-auto-tool-choice. From now on requests say "
        "skip_special_tokens: false, which keeps the tokens.",
        exchange.place,
    )
