"""Routes and chat requests: from a recorded request to a reply, without a socket.

Order for a chat request: bearer, then a queued raw answer or early fault, the cassette, the rules and the quota, then
the answer of the sources, and last the fault that strikes it.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from kimi_vertex_emulator import _auth
from kimi_vertex_emulator._catalog import list_models
from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._deployments import dialect_of, find, forbidden, models_at, refuse, resource
from kimi_vertex_emulator._faults import (
    INVALID_CREDENTIALS,
    NO_CREDENTIALS,
    breaks_an_answer,
    early_reply,
    exhausted,
    strike,
)
from kimi_vertex_emulator._pieces import estimate
from kimi_vertex_emulator._render import Style, stream_parts, whole_body
from kimi_vertex_emulator._reply import Reply, google_error, json_reply, raw_reply, stream_reply
from kimi_vertex_emulator._requests import ENDPOINT, Recorded, instance, is_chat, json_object
from kimi_vertex_emulator._sources import Sources, improvised
from kimi_vertex_emulator.answers import DIALECTS, Dialect, Fault, Raw, Turn
from kimi_vertex_emulator.quota import Meter
from kimi_vertex_emulator.rules import check, degraded, refuse_by_rules, refuse_place

if TYPE_CHECKING:
    from kimi_vertex_emulator._emulator import Emulator

__all__ = ["Service"]

_METHOD = {
    "method": "google.cloud.aiplatform.v1.PredictionService.ChatCompletions",
    "service": "aiplatform.googleapis.com",
}


class Service:
    """The emulated service.

    Args:
        settings: The emulator, whose settings are read at each request because they may change while it runs.
        sources: Where answers come from.
    """

    def __init__(self, settings: Emulator, sources: Sources) -> None:
        self._settings = settings
        self._sources = sources
        self._meter = Meter()
        self._arrived = 0
        self._numbers = itertools.count(1)
        self._deadlines: dict[str, float] = {}
        self.issued_tokens: list[str] = []

    def answer(self, request: Recorded) -> tuple[Reply, bool]:
        """The reply to a request, and whether it is one that a test may not have expected."""
        self._arrived += 1
        if is_chat(request):
            try:
                return self._chat(request)
            except RecursionError:
                return google_error(400, "INVALID_ARGUMENT", "The request is nested too deeply."), False
        if (request.method, request.path) == ("GET", "/health"):
            return json_reply({"status": "ok"}), False
        match = ENDPOINT.fullmatch(request.path)
        deployments = self._settings.deployments
        if match is not None and match["verb"] is None and request.method == "GET":
            reply = self._sources.early("endpoint") or self._denied(request, False)
            if reply is None and deployments is None:
                reply = self._sources.late("endpoint", self._describe(match))
            if reply is not None:
                return reply, False
        if deployments is not None and (found := resource(request, deployments)):
            return self._denied(request, False) or found, False
        rules = self._settings.rules
        listed = models_at(request, deployments or ()) or rules.models
        if models := list_models(request, listed, rules.retired_models):
            return self._denied(request, False) or models, False
        return self._token(request)

    def reset(self) -> None:
        """Starts the random draws of the requests over."""
        self._arrived = 0

    def _token(self, request: Recorded) -> tuple[Reply, bool]:
        lifetime = self._settings.token_lifetime
        issued = _auth.issue(request, number=len(self.issued_tokens) + 1, lifetime=lifetime)
        if issued is None:
            words = (
                f"The kimi-vertex emulator has no route {request.method} {request.path}. It serves "
                "endpoints/openapi/chat/completions, endpoints/ID and its methods, models, token endpoints, and health."
            )
            return google_error(404, "NOT_FOUND", words), True
        if early := self._sources.early("token"):
            return early, False
        if issued.token is not None:
            self.issued_tokens.append(issued.token)
            self._deadlines[issued.token] = time.monotonic() + lifetime
        return self._sources.late("token", issued.reply), False

    def _chat(self, request: Recorded) -> tuple[Reply, bool]:
        match = ENDPOINT.fullmatch(request.path)
        verb = (match["verb"] if match else None) or "/chat/completions"
        body = json_object(request)
        streaming = bool(body and body.get("stream", verb == ":streamRawPredict"))
        if early := self._denied(request, streaming) or self._sources.early("chat", streaming=streaming):
            return early, False
        if replayed := self._sources.replayed(request):
            return replayed, False
        if verb == ":predict":
            body, streaming = instance(body), False
        dialect = self._dialect_of(request)
        if refused := self._refused(request, body, match, dialect, streaming):
            return refused, False
        assert body is not None, "the rules refuse what is not an object"
        quota, leave = self._settings.quota, self._meter.leave
        try:
            reply, unscripted = self._admitted(request, body, match, dialect, streaming)
        except BaseException:
            leave()
            raise
        if quota is not None and quota.slots is not None:
            reply = replace(reply, delay=self._meter.queue(quota.slots, reply.delay, time.monotonic()))
        return replace(reply, done=leave), unscripted

    def _admitted(
        self,
        request: Recorded,
        body: Mapping[str, Any],
        match: re.Match[str] | None,
        dialect: Dialect,
        streaming: bool,
    ) -> tuple[Reply, bool]:
        verb = (match["verb"] if match else None) or "/chat/completions"
        served = find(self._settings.deployments or (), match["name"]) if match else None
        model = served.model if served else match["endpoint"] if match else ""
        chat = ChatRequest.from_body(body, model=str(body.get("model") or model), stream=streaming)
        answer = self._sources.next(chat, request, self._settings.brain)
        unscripted = answer is None
        if answer is None:
            answer = self._sources.unscripted(chat, request)
        if isinstance(answer, Raw):
            return raw_reply(answer), unscripted
        fault = answer if isinstance(answer, Fault) else None
        if fault is not None and not breaks_an_answer(fault):
            return early_reply(fault, streaming=streaming), False
        turn = answer if isinstance(answer, Turn) else answer.turn or improvised(chat)
        reply = self._send(turn, chat, dialect, wrapped=verb == ":predict")
        return reply if fault is None else strike(fault, reply, streaming=streaming), unscripted

    def _refused(
        self,
        request: Recorded,
        body: Mapping[str, Any] | None,
        match: re.Match[str] | None,
        dialect: Dialect,
        streaming: bool,
    ) -> Reply | None:
        settings, rules = self._settings, self._settings.rules
        if settings.deployments is not None and (late := refuse(request, body, settings.deployments)):
            return late
        if rules.max_payload is not None and len(request.body) > rules.max_payload:
            message = f"Request payload size exceeds the limit: {rules.max_payload} bytes."
            return google_error(400, "INVALID_ARGUMENT", message)
        managed = match is not None and match["endpoint"] == "openapi"
        refused = check(
            body,
            strict=settings.strict,
            managed=managed,
            refuse_forced_tool_choice=settings.refuse_forced_tool_choice,
        )
        if refused or body is None:
            return refused
        model = str(body.get("model") or "")
        if match is not None and (
            refused := refuse_place(rules, model, match["project"], match["location"], managed=managed)
        ):
            return refused
        chat = ChatRequest.from_body(body, model=model)
        return refuse_by_rules(body, chat, rules, dialect) or self._over_quota(chat, streaming)

    def _over_quota(self, chat: ChatRequest, streaming: bool) -> Reply | None:
        quota = self._settings.quota
        if quota is None:
            self._meter.running += 1
            return None
        tokens = estimate(chat.prompt_text) if quota.tokens is not None else 0
        wait = self._meter.admit(quota, tokens, time.monotonic())
        if wait is None:
            return None
        retry_after = str(max(1, math.ceil(wait))) if quota.retry_after else None
        return exhausted(streaming=streaming, retry_after=retry_after)

    def _dialect_of(self, request: Recorded) -> Dialect:
        settings = self._settings
        if settings.deployments is not None and (spelt := dialect_of(request, settings.deployments)):
            return spelt
        for pattern, dialect in settings.dialects.items():
            if fnmatchcase(request.path, pattern):
                return dialect
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

    def _denied(self, request: Recorded, streaming: bool) -> Reply | None:
        settings, token = self._settings, request.bearer
        known_token = settings.valid_tokens is None or token in settings.valid_tokens
        deadline = self._deadlines.get(token or "", math.inf)
        expired = settings.rules.expiring_tokens and deadline <= time.monotonic()
        if (token is None and not settings.require_token) or (
            token is not None and known_token and not expired
        ):
            refusal = settings.refusal
            return None if refusal is None else forbidden(refusal, request, wrapped=streaming)
        words, reason = INVALID_CREDENTIALS, "ACCESS_TOKEN_TYPE_UNSUPPORTED"
        if token is None:
            words, reason = NO_CREDENTIALS, "CREDENTIALS_MISSING"
        elif expired:
            reason = "ACCESS_TOKEN_EXPIRED"
        return google_error(
            401,
            "UNAUTHENTICATED",
            words,
            reason=reason,
            metadata=_METHOD,
            wrapped=streaming,
        )

    def _describe(self, match: re.Match[str]) -> Reply:
        dns = self._settings.dedicated_dns
        return json_reply(
            {
                "name": match["name"],
                "displayName": "Kimi (kimi-vertex emulator)",
                "dedicatedEndpointEnabled": bool(dns),
                "dedicatedEndpointDns": dns,
            }
        )
