"""One call from start to finish as a generator: it asks for I/O, is sent the outcome, and yields events.

Everything that is decided about a call is decided here, once for sync and async. No socket, no clock, no thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace

from kimi_vertex import _wire
from kimi_vertex._answer.decoder import Decoder, StreamErrorEvent, UnreadableData
from kimi_vertex._json import loads
from kimi_vertex._request.body import Payload
from kimi_vertex._target.target import Target
from kimi_vertex.completion import Completion
from kimi_vertex.errors import APIError, CredentialsError, EmptyTurnError, InvalidRequestError
from kimi_vertex.events import Event, Finish

from .commands import (
    Authorize,
    Drain,
    Flow,
    Head,
    Identity,
    ReadBody,
    ReadStream,
    Request,
    Send,
    Steps,
    TransportFailure,
)
from .failures import broken, empty_text, unreachable, unreadable
from .retries import before_retry
from .state import Call, State
from .stats import StatsRecorder

__all__ = ["run"]

logger = logging.getLogger("kimi_vertex")


class _Retry(Exception):
    """Start the call anew, at once."""


def run(call: Call) -> Flow:
    """The flow of one call.

    Raises:
        KimiVertexError: As documented at `KimiVertexClient`.
    """
    recorder = StatsRecorder(call.clock, call.on_request)
    state = State(call)
    try:
        while True:
            recorder.attempt()
            try:
                completion = yield from _attempt(state, recorder)
            except _Retry:
                continue
            except EmptyTurnError:
                raise
            except (APIError, CredentialsError) as error:
                if not (yield from before_retry(state, error)):
                    yield from _show(state, state.held_back, recorder)
                    if isinstance(error, APIError) and error.partial is None:
                        error.partial = state.rejected_answers.last
                    raise
            else:
                recorder.done(completion, None)
                return completion
    except GeneratorExit:
        recorder.done(call.completion, None)
        raise
    except Exception as error:
        recorder.done(getattr(error, "partial", None), error)
        raise


def _attempt(state: State, recorder: StatsRecorder) -> Flow:
    call = state.call
    call.decoder = decoder = state.new_decoder()
    state.held_back = []
    content = state.payload.encoded()
    identity: Identity = yield Authorize(state.rejected, project=state.target.needs_project)
    state.rejected = None
    state.token = identity.headers.get("authorization") if identity.can_refresh else None
    if state.target.needs_project and identity.project:
        state.target = state.target.with_project(identity.project)
    if state.target.needs_discovery:
        state.target = yield from _discover(state, identity)
    _check_size(content, state.target)
    url = state.target.url(
        stream=state.stream, universe_domain=identity.universe_domain, model=state.payload.model
    )
    accept = "text/event-stream" if state.stream else "application/json"
    headers = {**call.headers, **identity.headers, "content-type": "application/json", "accept": accept}
    head = yield from _send(state, Request("POST", url, headers, content, call.timeouts))
    if head.status != 200:
        body = yield from _read_error_body()
        raise state.status_error(head, _wire.error_from_body(body), status=head.status)
    yield from _read_answer(state, head, decoder, recorder)
    return decoder.completion


def _send(state: State, request: Request) -> Steps[Head]:
    try:
        head: Head = yield Send(request)
    except TransportFailure as failure:
        raise unreachable(failure, state.place) from None
    return head


def _read_error_body() -> Steps[str]:
    """The body of an error status; a body that breaks off does not hide the status."""
    try:
        body: bytes = yield ReadBody()
    except TransportFailure:
        return ""
    return body.decode("utf-8-sig", "replace")


def _discover(state: State, identity: Identity) -> Steps[Target]:
    """Ask once for the endpoint's own host name.

    Where the account may not read the endpoint, the shared host is tried: the answer then says what is wrong.
    """
    url = state.target.discovery_url(identity.universe_domain)
    known = state.call.traits.dedicated_dns
    if url in known:
        return state.target.with_dedicated_dns(known[url])
    headers = {**state.call.headers, **identity.headers, "accept": "application/json"}
    head = yield from _send(state, Request("GET", url, headers, None, state.call.timeouts))
    if head.status != 200:
        body = yield from _read_error_body()
        if head.status in (401, 429) or head.status >= 500:
            raise state.status_error(head, _wire.error_from_body(body), status=head.status)
        logger.info(
            "Could not look up the endpoint's host name (HTTP %s); trying the shared one.", head.status
        )
        return state.target.with_dedicated_dns(None)
    try:
        resource = json.loads((yield ReadBody()))
    except TransportFailure as failure:
        raise broken(failure, state.place, None) from None
    except ValueError:
        resource = None
    dns = resource.get("dedicatedEndpointDns") if isinstance(resource, Mapping) else None
    target = state.target.with_dedicated_dns(dns or None)
    known[url] = dns or None
    return target


def _check_size(content: bytes, target: Target) -> None:
    limit = target.payload_limit
    if limit is not None and len(content) > limit:
        raise InvalidRequestError(
            f"The request has {len(content):,} bytes; {target.describe()} takes {limit:,} at most "
            "(1.5 MB on a shared endpoint, 10 MB on a dedicated or private one). Shorten the conversation."
        )


def _read_answer(state: State, head: Head, decoder: Decoder, recorder: StatsRecorder) -> Steps[None]:
    content_type = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    streamed = content_type == "text/event-stream"
    try:
        if streamed:
            yield from _read_stream(state, decoder, recorder)
        else:
            body: bytes = yield ReadBody()
            yield from _show(state, _feed_body(decoder, body, content_type), recorder)
    except StreamErrorEvent as event:
        status = event.error.status or 500
        raise state.status_error(head, event.error, status=status, partial=_partial(state, decoder)) from None
    except UnreadableData as problem:
        partial = _partial(state, decoder)
        raise unreadable(problem, content_type, state.place, head.headers, partial) from None
    except TransportFailure as failure:
        if not (streamed and decoder.complete):
            raise broken(failure, state.place, _partial(state, decoder)) from None
    if not decoder.complete:
        cut = TransportFailure(
            "broken", "the server closed the stream without a finish reason and without [DONE]"
        )
        raise broken(cut, state.place, _partial(state, decoder))
    yield from _finish(state, decoder, recorder)
    if streamed:
        yield Drain()


class _Intake:
    """Decodes a stream's events, and keeps what is wrong with them until all that came before has been shown."""

    def __init__(self, state: State, decoder: Decoder, recorder: StatsRecorder) -> None:
        self.problem: StreamErrorEvent | UnreadableData | None = None
        self._state = state
        self._decoder = decoder
        self._recorder = recorder
        self._shows = state.call.shows_events
        self._listens = recorder.listening

    def finished(self) -> bool:
        return self._decoder.done or self.problem is not None

    def take(self, batch: list[str], *, last: bool = False) -> list[Event]:
        decoder = self._decoder
        events: list[Event] = []
        try:
            for data in batch:
                events += decoder.feed(data)
                if decoder.done:
                    break
                if decoder.failure is not None:
                    raise decoder.failure
        except (StreamErrorEvent, UnreadableData) as problem:
            if not (last and isinstance(problem, UnreadableData) and _is_half(batch[-1])):
                self.problem = problem
        if events:
            self._state.shown = self._shows
            if self._listens:
                self._recorder.events(events)
        return events


def _is_half(data: str) -> bool:
    """Whether data at a body's end may be the beginning of a chunk, or of the end: the body then has broken off."""
    return data.startswith("{") or "[DONE]".startswith(data.strip())


def _read_stream(state: State, decoder: Decoder, recorder: StatsRecorder) -> Steps[None]:
    intake = _Intake(state, decoder, recorder)
    yield ReadStream(intake)
    if intake.problem is not None:
        raise intake.problem


def _show(state: State, events: list[Event], recorder: StatsRecorder) -> Steps[None]:
    if events:
        state.shown = state.call.shows_events
        recorder.events(events)
        yield events


def _feed_body(decoder: Decoder, source: bytes, content_type: str) -> list[Event]:
    if not source or source.isspace():
        raise UnreadableData("the body is empty")
    try:
        body = loads(source)
    except (ValueError, RecursionError):
        text = source.decode("utf-8-sig", "replace")
        events = _feed_mislabelled(decoder, text)
        if decoder.has_chunks:
            return events
        shown = " ".join(text[:200].split())
        raise UnreadableData(f"not JSON but {content_type or 'of no type'}: {shown}") from None
    return decoder.feed_body(body, source)


def _feed_mislabelled(decoder: Decoder, text: str) -> list[Event]:
    """Read a stream that a proxy or a container declares as something else."""
    events: list[Event] = []
    for data in _wire.event_data(text):
        if decoder.done:
            break
        events += decoder.feed(data)
        if decoder.failure is not None:
            raise decoder.failure
    return events


def _finish(state: State, decoder: Decoder, recorder: StatsRecorder) -> Steps[None]:
    policy = state.call.settings.empty_turn
    if state.stream and decoder.undecided:
        logger.info(
            "The whole answer was held back, because it might have been thinking (%s). For a server that separates "
            "thinking, or a model that does not think, set implicit_thinking=False to see such answers stream.",
            state.place,
        )
    last = decoder.finish(promote=policy == "promote")
    if decoder.correction:
        logger.info("Tool calls of the answer are invalid; asking again (%s).", state.place)
        yield from _show(state, last, recorder)
        yield Drain()
        state.ask_again(decoder)
        raise _Retry
    finish = last[-1]
    assert isinstance(finish, Finish)
    if finish.empty is not None:
        if not state.found_empty:
            logger.warning(
                "The model's turn is empty (%s, finish reason %s) at %s; empty_turn=%r.",
                finish.empty,
                finish.raw_reason,
                state.place,
                policy,
            )
        again = not (state.found_empty or state.shown or finish.reason == "length")
        state.found_empty = True
        if policy == "retry" and again:
            state.stream = False
            state.payload = _unstreamed(state.payload)
            yield Drain()
            raise _Retry
        if policy == "raise":
            yield Drain()
            raise EmptyTurnError(empty_text(finish, state.place), partial=decoder.completion)
    yield from _show(state, last, recorder)


def _unstreamed(payload: Payload) -> Payload:
    body = {key: value for key, value in payload.body.items() if key not in ("stream", "stream_options")}
    return replace(payload, body=body)


def _partial(state: State, decoder: Decoder) -> Completion | None:
    """What has come of an answer that broke off; text that was held back is shown unless the call is retried."""
    state.held_back = decoder.flush()
    return decoder.completion if decoder.has_chunks else None
