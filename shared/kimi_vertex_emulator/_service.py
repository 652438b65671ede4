"""Routes and chat requests: from a recorded request to a reply, without a socket.

Order for a chat request: bearer, then a queued raw answer or early fault, the cassette, the rules and the quota, then
the answer of the sources, and last the fault that strikes it.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from kimi_vertex_emulator import _auth
from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._faults import INVALID_CREDENTIALS, NO_CREDENTIALS, early_reply, strike
from kimi_vertex_emulator._pieces import Style, estimate
from kimi_vertex_emulator._render import stream_parts, whole_body
from kimi_vertex_emulator._reply import Reply, error_info, google_error, json_reply, raw_reply, stream_reply
from kimi_vertex_emulator._requests import ENDPOINT, Recorded, instance, is_chat, json_object
from kimi_vertex_emulator._sources import Sources, improvised
from kimi_vertex_emulator.answers import DIALECTS, Dialect, Fault, Raw, Turn
from kimi_vertex_emulator.deployments import find, forbidden, list_models, refuse, resource
from kimi_vertex_emulator.quota import Meter
from kimi_vertex_emulator.rules import degraded, refusals, unreadable

if TYPE_CHECKING:
    from kimi_vertex_emulator._emulator import Emulator

__all__ = ["Service"]

_METHOD = {
    "method": "google.cloud.aiplatform.v1.PredictionService.ChatCompletions",
    "service": "aiplatform.googleapis.com",
}


class Service:
    """The emulated service. It reads the emulator's settings at each request because they may change while it runs."""

    def __init__(self, settings: Emulator, sources: Sources) -> None:
        self._settings = settings
        self._sources = sources
        self._meter = Meter()
        self._slots = (0, asyncio.Semaphore(0))
        self._arrived = 0
        self._numbers = itertools.count(1)
        self.deadlines: dict[str, float] = {}
        """When each token that was issued is refused, on the monotonic clock."""

    def answer(self, request: Recorded) -> Reply:
        """The reply to a request."""
        self._arrived += 1
        if is_chat(request):
            try:
                return self._chat(request)
            except RecursionError:
                return google_error(400, "The request is nested too deeply.")
        if (request.method, request.path) == ("GET", "/health"):
            return json_reply({"status": "ok"})
        deployments, models = self._settings.deployments, self._settings.rules.models
        found = resource(request, deployments) or list_models(request, deployments, models)
        if found is None:
            return self._token(request)
        reply = self._denied(request, streaming=False) or found
        match = ENDPOINT.fullmatch(request.path)
        described = match is not None and not match["verb"]
        return self._sources.instead("endpoint", lambda: reply) if described else reply

    def reset(self) -> None:
        """Starts the random draws of the requests over."""
        self._arrived = 0

    def _token(self, request: Recorded) -> Reply:
        lifetime = self._settings.token_lifetime
        issued = _auth.issue(request, number=len(self.deadlines) + 1, lifetime=lifetime)
        if issued is None:
            words = (
                f"The kimi-vertex emulator has no route {request.method} {request.path}. It serves "
                "endpoints/openapi/chat/completions, endpoints/ID and its methods, models, token endpoints, and health."
            )
            return replace(google_error(404, words), unexpected=True)
        reply, token = issued

        def handed_out() -> Reply:
            if token is not None:
                self.deadlines[token] = time.monotonic() + lifetime
            return reply

        return self._sources.instead("token", handed_out)

    def _chat(self, request: Recorded) -> Reply:
        settings, rules = self._settings, self._settings.rules
        place = ENDPOINT.fullmatch(request.path)
        verb = place["verb"] if place else None
        body = json_object(request)
        streaming = bool(body and body.get("stream", verb == ":streamRawPredict"))
        if early := self._denied(request, streaming=streaming) or self._sources.early(streaming=streaming):
            return early
        if replayed := self._sources.replayed(request):
            return replayed
        if verb == ":predict":
            body, streaming = instance(body), False
        endpoint = find(settings.deployments or (), place)
        if settings.deployments is not None and (refused := refuse(body or {}, place, endpoint)):
            return refused
        if rules.max_payload is not None and len(request.body) > rules.max_payload:
            message = f"Request payload size exceeds the limit: {rules.max_payload} bytes."
            return google_error(400, message)
        if refused := unreadable(body):
            return refused
        assert body is not None, "what is not an object is unreadable"
        model = endpoint.model if endpoint else place["endpoint"] if place else ""
        chat = ChatRequest.from_body(body, model=str(body.get("model") or model), stream=streaming)
        dialect = endpoint.dialect if endpoint else self._dialect()
        refused = next(refusals(body, chat, rules, dialect, place, strict=settings.strict), None)
        if refused := refused or self._over_quota(chat):
            return refused
        try:
            reply = self._admitted(request, chat, dialect, wrapped=verb == ":predict")
        except BaseException:
            self._meter.leave()
            raise
        quota = self._settings.quota
        if quota is not None and quota.slots is not None:
            if quota.slots != self._slots[0] or self._meter.running == 1:  # a new start has another loop
                self._slots = quota.slots, asyncio.Semaphore(quota.slots)
            reply = replace(reply, slot=self._slots[1])
        return replace(reply, done=self._meter.leave)

    def _admitted(self, request: Recorded, chat: ChatRequest, dialect: Dialect, *, wrapped: bool) -> Reply:
        scripted = self._sources.scripted(chat, request)
        answer = scripted or self._sources.unscripted(chat, request)
        if isinstance(answer, Raw):
            reply = raw_reply(answer)
        elif isinstance(answer, Turn):
            reply = self._send(answer, chat, dialect, wrapped=wrapped)
        else:
            turn = answer.turn or improvised(chat)
            reply = strike(
                answer, lambda: self._send(turn, chat, dialect, wrapped=wrapped), streaming=chat.stream
            )
        return replace(reply, unexpected=scripted is None)

    def _over_quota(self, chat: ChatRequest) -> Reply | None:
        quota = self._settings.quota
        if quota is None:
            self._meter.running += 1
            return None
        tokens = estimate(chat.prompt_text) if quota.tokens is not None else 0
        wait = self._meter.admit(quota, tokens, time.monotonic())
        if wait is None:
            return None
        retry_after = str(max(1, math.ceil(wait))) if quota.retry_after else None
        return early_reply(Fault("429", retry_after=retry_after), streaming=chat.stream)

    def _dialect(self) -> Dialect:
        settings = self._settings
        if settings.dialect == "random":
            return random.Random(f"{settings.seed}/dialect/{self._arrived}").choice(DIALECTS)
        return settings.dialect

    def _send(self, turn: Turn, chat: ChatRequest, dialect: Dialect, *, wrapped: bool) -> Reply:
        if reason := degraded(chat, self._settings.rules):
            thinking = turn.thinking or f"I lose the thread: {reason}."
            turn = replace(turn, thinking=thinking, text=None, tool_calls=(), finish_reason="stop")
        if not turn.pause:
            turn = replace(turn, pause=self._settings.pace)
        number = next(self._numbers)
        reply_id = f"emulator-{number}"
        draw = random.Random(f"{self._settings.seed}/answer/{number}")
        style = Style(dialect, self._settings.chunking, draw)
        if chat.stream:
            return replace(stream_reply(stream_parts(turn, chat, reply_id, style)), delay=turn.delay)
        whole = whole_body(turn, chat, reply_id, style)
        return replace(json_reply({"predictions": whole} if wrapped else whole), delay=turn.delay)

    def _denied(self, request: Recorded, *, streaming: bool) -> Reply | None:
        settings, token = self._settings, request.bearer
        expired = self.deadlines.get(token or "", math.inf) <= time.monotonic()
        words, reason = INVALID_CREDENTIALS, ""
        if token is None and settings.require_token:
            words, reason = NO_CREDENTIALS, "CREDENTIALS_MISSING"
        elif expired:
            reason = "ACCESS_TOKEN_EXPIRED"
        elif token is not None and settings.valid_tokens is not None and token not in settings.valid_tokens:
            reason = "ACCESS_TOKEN_TYPE_UNSUPPORTED"
        if reason:
            return google_error(401, words, details=[error_info(reason, _METHOD)], wrapped=streaming)
        refusal = settings.refusal
        return None if refusal is None else forbidden(refusal, request, wrapped=streaming)
