"""One call from start to finish as a generator: it asks for I/O, is sent the outcome, and yields events.

Everything that is decided about a call is decided here, once for sync and async. No socket, no clock, no thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from . import _wire
from ._commands import (
    Authorize,
    Drain,
    Flow,
    Head,
    Identity,
    ReadBody,
    ReadEvents,
    Request,
    Send,
    Sleep,
    Steps,
    TransportFailure,
)
from ._decoder import Decoder, StreamErrorEvent, UnreadableData
from ._endpoint import Target
from ._failures import refuses_forced_choice, request_id, status_error
from ._options import Settings, Timeouts
from ._payload import Payload, without_forced_choice
from ._stats import CallStats, StatsRecorder
from .completion import Completion
from .errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    CredentialsError,
    EmptyTurnError,
    InvalidRequestError,
    StreamInterruptedError,
)
from .events import Event, Finish

__all__ = ["Call", "Traits", "run"]

logger = logging.getLogger("kimi_vertex")

_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 8.0


@dataclass(slots=True)
class Traits:
    """What a client has learned about its server, shared by all of its calls."""

    refuses_forced_choice: bool = False
    dedicated_dns: dict[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """All that a flow needs to know."""

    target: Target
    settings: Settings
    traits: Traits
    payload: Payload
    stream: bool
    shows_events: bool
    """Whether the caller sees events as they come, so that what was shown cannot be taken back."""
    headers: Mapping[str, str]
    timeouts: Timeouts
    clock: Callable[[], float]
    today: Callable[[], datetime]
    random: Callable[[], float]
    on_call: Callable[[CallStats], None] | None = None
    decoder: Decoder | None = None
    """The decoder of the current attempt."""

    @property
    def completion(self) -> Completion:
        """The answer as far as it has arrived."""
        return self.decoder.completion if self.decoder is not None else Completion()


class _Retry(Exception):
    """Start the call anew, at once."""


def run(call: Call) -> Flow:
    """The flow of one call.

    Raises:
        KimiVertexError: As documented at `KimiVertexClient`.
    """
    recorder = StatsRecorder(call.clock, call.on_call)
    state = _State(call)
    try:
        while True:
            recorder.attempt()
            try:
                completion = yield from _attempt(state, recorder)
            except _Retry:
                continue
            except (APIConnectionError, APIStatusError, APIResponseError, StreamInterruptedError) as error:
                yield from _before_retry(state, error)
            except CredentialsError as error:
                yield from _before_retry(state, error)
            else:
                recorder.done(completion, None)
                return completion
    except Exception as error:
        recorder.done(getattr(error, "partial", None), error)
        raise


class _State:
    """What changes from attempt to attempt."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.started = call.clock()
        self.retries = 0
        self.stream = call.stream
        self.target = call.target
        self.payload = call.payload
        self.rejected: str | None = None
        self.token: str | None = None
        self.refreshed = False
        self.retried_empty = False
        self.shown = False
        if (
            self.payload.forced_choice
            and call.traits.refuses_forced_choice
            and call.settings.tool_choice_fallback
        ):
            self.payload = without_forced_choice(self.payload)


def _attempt(state: _State, recorder: StatsRecorder) -> Flow:
    call = state.call
    identity: Identity = yield Authorize(state.rejected, project=state.target.needs_project)
    state.rejected = None
    state.token = identity.headers.get("authorization") if identity.can_refresh else None
    if state.target.needs_project and identity.project:
        state.target = state.target.with_project(identity.project)
    if state.target.needs_discovery:
        state.target = yield from _discover(state, identity)
    content = state.payload.encoded()
    _check_size(content, state.target)
    url = state.target.url(
        stream=state.stream, universe_domain=identity.universe_domain, model=state.payload.model
    )
    accept = "text/event-stream" if state.stream else "application/json"
    headers = {**call.headers, **identity.headers, "content-type": "application/json", "accept": accept}
    head = yield from _send(state, Request("POST", url, headers, content, call.timeouts))
    if head.status != 200:
        body: str = yield from _read_error_body()
        error = status_error(
            head.status,
            _wire.error_from_body(body),
            headers=head.headers,
            target=state.target,
            model=state.payload.model,
            now=call.today(),
        )
        raise error
    payload = state.payload
    decoder = Decoder(
        tools=payload.tools, history=payload.history, implicit_thinking=payload.implicit_thinking
    )
    call.decoder = decoder
    yield from _read_answer(state, head, decoder, recorder)
    return decoder.completion


def _send(state: _State, request: Request) -> Steps[Head]:
    try:
        head: Head = yield Send(request)
    except TransportFailure as failure:
        raise _unreached(failure, state) from None
    return head


def _read_error_body() -> Steps[str]:
    """The body of an error status; a body that breaks off does not hide the status."""
    try:
        body: str = yield ReadBody()
    except TransportFailure:
        return ""
    return body


def _discover(state: _State, identity: Identity) -> Steps[Target]:
    """Ask once for the endpoint's own host name.

    Where the account may not read the endpoint, the shared host is tried: the answer then says what is wrong.
    """
    url = state.target.discovery_url(identity.universe_domain)
    known = state.call.traits.dedicated_dns
    if url not in known:
        headers = {**state.call.headers, **identity.headers}
        head = yield from _send(state, Request("GET", url, headers, None, state.call.timeouts))
        body: str = yield from _read_error_body()
        if head.status in (401, 429) or head.status >= 500:
            raise status_error(
                head.status,
                _wire.error_from_body(body),
                headers=head.headers,
                target=state.target,
                model=state.payload.model,
                now=state.call.today(),
            )
        try:
            resource = json.loads(body) if head.status == 200 else {}
        except ValueError:
            resource = {}
        dns = resource.get("dedicatedEndpointDns") if isinstance(resource, dict) else None
        if head.status != 200:
            logger.info(
                "Could not look up the endpoint's host name (HTTP %s); trying the shared one.", head.status
            )
            return state.target.with_dedicated_dns(None)
        known[url] = dns or None
    return state.target.with_dedicated_dns(known[url])


def _check_size(content: bytes, target: Target) -> None:
    limit = target.payload_limit
    if limit is not None and len(content) > limit:
        raise InvalidRequestError(
            f"The request has {len(content):,} bytes; {target.describe()} takes {limit:,} at most "
            "(1.5 MB on a shared endpoint, 10 MB on a dedicated or private one). Shorten the conversation."
        )


def _read_answer(state: _State, head: Head, decoder: Decoder, recorder: StatsRecorder) -> Steps[None]:
    content_type = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    streamed = content_type == "text/event-stream"
    try:
        if streamed:
            yield from _read_stream(state, decoder, recorder)
        else:
            body: str = yield ReadBody()
            yield from _show(state, _feed_body(decoder, body, content_type), recorder)
    except StreamErrorEvent as event:
        raise _failed(state, decoder, event.error, head) from None
    except UnreadableData as problem:
        raise _unreadable(state, decoder, problem, content_type, head) from None
    except TransportFailure as failure:
        if not (streamed and decoder.complete):
            raise _broken(state, decoder, failure) from None
    if streamed and not decoder.complete:
        text = "the server closed the stream without a finish reason and without [DONE]"
        raise _broken(state, decoder, TransportFailure("broken", text))
    yield from _finish(state, decoder, recorder)
    if streamed:
        yield Drain()


def _read_stream(state: _State, decoder: Decoder, recorder: StatsRecorder) -> Steps[None]:
    shows = state.call.shows_events
    while not decoder.done:
        batch: list[str] | None = yield ReadEvents()
        if batch is None:
            break
        for data in batch:
            events = decoder.feed(data)
            if events:
                state.shown = shows
                if recorder.listening:
                    recorder.events(events)
                yield events


def _show(state: _State, events: list[Event], recorder: StatsRecorder) -> Steps[None]:
    if events:
        state.shown = state.call.shows_events
        recorder.events(events)
        yield events


def _feed_body(decoder: Decoder, text: str, content_type: str) -> list[Event]:
    if not text.strip():
        raise UnreadableData("the body is empty")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        shown = " ".join(text[:200].split())
        raise UnreadableData(f"not JSON but {content_type or 'of no type'}: {shown}") from None
    return decoder.feed_body(body)


def _finish(state: _State, decoder: Decoder, recorder: StatsRecorder) -> Steps[None]:
    policy = state.call.settings.empty_turn
    last = decoder.finish(promote=policy == "promote")
    finish = last[-1]
    assert isinstance(finish, Finish)
    if finish.empty is not None:
        logger.warning(
            "The model's turn is empty (%s, finish reason %s) at %s; empty_turn=%r.",
            finish.empty,
            finish.raw_reason,
            state.target.describe(state.payload.model),
            policy,
        )
        if policy == "retry" and not (state.retried_empty or state.shown or finish.reason == "length"):
            state.retried_empty = True
            state.stream = False
            state.payload = _unstreamed(state.payload)
            yield Drain()
            raise _Retry
        if policy == "raise":
            raise EmptyTurnError(_empty_text(finish, state), partial=decoder.completion)
    yield from _show(state, last, recorder)


def _unstreamed(payload: Payload) -> Payload:
    body = {key: value for key, value in payload.body.items() if key not in ("stream", "stream_options")}
    return replace(payload, body=body)


def _empty_text(finish: Finish, state: _State) -> str:
    what = {
        "thinking_only": "The model thought, but gave neither an answer nor a tool call",
        "missing_tool_calls": "The server announced tool calls and sent none",
        "nothing": "The model's turn is empty",
    }[finish.empty or "nothing"]
    why = " because max_tokens was used up by thinking; raise it" if finish.reason == "length" else ""
    return f"{what}{why} ({state.target.describe(state.payload.model)})."


def _before_retry(state: _State, error: APIError | CredentialsError) -> Steps[None]:
    """Make the next attempt possible, or raise `error`."""
    call, settings = state.call, state.call.settings
    if state.shown:
        raise error
    if isinstance(error, AuthenticationError) and not state.refreshed and state.token is not None:
        state.refreshed = True
        state.rejected = state.token
        return
    if (
        isinstance(error, APIStatusError)
        and state.payload.forced_choice
        and settings.tool_choice_fallback
        and refuses_forced_choice(error)
    ):
        if not call.traits.refuses_forced_choice:
            call.traits.refuses_forced_choice = True
            logger.warning(
                "The server refuses a forced tool_choice while the model thinks; from now on it is sent as "
                "'auto' with an instruction to call the tool (%s).",
                state.target.describe(state.payload.model),
            )
        state.payload = without_forced_choice(state.payload)
        return
    if not error.is_retryable or state.retries >= settings.max_retries:
        raise error
    asked = error.retry_after if isinstance(error, APIStatusError) else None
    ceiling = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0**state.retries)
    delay = ceiling * call.random() if asked is None else asked
    if call.clock() - state.started + delay > settings.max_retry_seconds:
        raise error
    state.retries += 1
    logger.info("Attempt %d failed (%s); trying again in %.2f s.", state.retries, type(error).__name__, delay)
    yield Sleep(delay)


def _partial(decoder: Decoder) -> Completion | None:
    decoder.flush()
    return decoder.completion if decoder.has_chunks else None


def _failed(state: _State, decoder: Decoder, error: _wire.WireError, head: Head) -> APIError:
    """An error event, or an error body with status 200."""
    return status_error(
        error.status or 500,
        error,
        headers=head.headers,
        target=state.target,
        model=state.payload.model,
        now=state.call.today(),
        partial=_partial(decoder),
    )


def _unreadable(
    state: _State, decoder: Decoder, problem: UnreadableData, content_type: str, head: Head
) -> APIError:
    partial = _partial(decoder)
    place = state.target.describe(state.payload.model)
    error = APIResponseError(
        f"The answer cannot be read ({place}, status 200, {content_type or 'no content type'}): {problem}.",
        partial=partial,
        request_id=request_id(head.headers),
    )
    error.is_retryable = partial is None and content_type != "text/html"
    return error


def _broken(state: _State, decoder: Decoder, failure: TransportFailure) -> APIError:
    partial = _partial(decoder)
    place = state.target.describe(state.payload.model)
    if failure.kind == "timeout":
        return APITimeoutError(f"The answer stalled ({place}): {failure}.", partial=partial)
    if partial is None:
        return APIConnectionError(f"The connection broke before the answer began ({place}): {failure}.")
    return StreamInterruptedError(f"The answer broke off ({place}): {failure}.", partial=partial)


def _unreached(failure: TransportFailure, state: _State) -> APIError:
    """The error for a failure before the head of the response."""
    place = state.target.describe(state.payload.model)
    if failure.kind == "connect_timeout":
        return APITimeoutError(f"Could not connect in time ({place}): {failure}.")
    if failure.kind == "timeout":
        return APITimeoutError(f"The service did not begin to answer in time ({place}): {failure}.")
    if failure.kind == "connect":
        return APIConnectionError(f"Could not connect ({place}): {failure}.")
    return APIConnectionError(f"The connection broke before the answer began ({place}): {failure}.")
