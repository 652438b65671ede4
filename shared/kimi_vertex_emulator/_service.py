"""Routes and the chat call: from a recorded request to a reply, without a socket.

Order for a chat call: bearer, then a scripted raw answer or early fault, quota and the rules, then an answer from
the queue, the script, the user's brain or the built-in one, and last whatever fault strikes it.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from kimi_vertex_emulator import _auth, _rules
from kimi_vertex_emulator._catalog import list_models
from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._faults import early_reply, exhausted, struck
from kimi_vertex_emulator._history_rules import degraded, refuse_by_rules, refuse_place
from kimi_vertex_emulator._pieces import estimate
from kimi_vertex_emulator._player import Player
from kimi_vertex_emulator._render import Manner, completion_tokens, limited, stream_parts, whole_body
from kimi_vertex_emulator._reply import Reply, google_error, json_reply, raw_reply, stream_reply
from kimi_vertex_emulator._routes import ENDPOINT, instance, is_chat, json_object
from kimi_vertex_emulator._scripted import Scripted
from kimi_vertex_emulator.brain import respond
from kimi_vertex_emulator.conditions import Faults, Latency, Meter, Quota
from kimi_vertex_emulator.matching import Brain
from kimi_vertex_emulator.rules import Rules
from kimi_vertex_emulator.script import (
    CHUNKINGS,
    DIALECTS,
    Chunking,
    Dialect,
    Fault,
    Raw,
    Recorded,
    Turn,
    known,
)
from kimi_vertex_emulator.scripts import Script

__all__ = ["Service"]

_METHOD = {
    "method": "google.cloud.aiplatform.v1.PredictionService.ChatCompletions",
    "service": "aiplatform.googleapis.com",
}


class Service(Scripted):
    """The emulated service: settings, script, journal and rules. See `Emulator` for the arguments."""

    def __init__(
        self,
        *,
        strict: bool,
        require_token: bool,
        valid_tokens: Collection[str] | None,
        token_lifetime: int,
        refuse_forced_tool_choice: bool,
        dedicated_dns: str,
        pace: float,
        script: Script | None = None,
        brain: Brain | None = None,
        dialect: Dialect | Literal["random"] = "vertex",
        dialects: Mapping[str, Dialect] | None = None,
        chunking: Chunking = "default",
        seed: int = 0,
        rules: Rules | None = None,
        faults: Faults | None = None,
        quota: Quota | None = None,
        latency: Latency | None = None,
        journal_limit: int | None = None,
        player: Player | None = None,
    ) -> None:
        super().__init__(script, brain, pace, journal_limit, player)
        known(dialect, (*DIALECTS, "random"), "dialect")
        known(chunking, CHUNKINGS, "chunking")
        for name in (dialects or {}).values():
            known(name, DIALECTS, "dialect")
        self.strict = strict
        self.require_token = require_token
        self.valid_tokens: Collection[str] | None = valid_tokens
        self.token_lifetime = token_lifetime
        self.refuse_forced_tool_choice = refuse_forced_tool_choice
        self.dedicated_dns = dedicated_dns
        self.dialect: Dialect | Literal["random"] = dialect
        self.dialects: dict[str, Dialect] = dict(dialects or {})
        self.chunking: Chunking = chunking
        self.seed = seed
        self.rules = rules or Rules()
        self.faults = faults
        self.quota = quota
        self.latency = latency
        self.issued_tokens: list[str] = []
        """The tokens that the token endpoint, the STS and the metadata server handed out."""
        self._deadlines: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._draws = {"chat": itertools.count(1), "token": itertools.count(1)}
        self._meter = Meter()

    def answer(self, request: Recorded) -> Reply:
        """Records the request and decides the reply."""
        self._arrived += 1
        self.requests.append(request)
        self._journal.trim(self.requests)
        if is_chat(request):
            try:
                return self._chat(request)
            except RecursionError:
                return google_error(400, "INVALID_ARGUMENT", "The request is nested too deeply.")
        if (request.method, request.path) == ("GET", "/health"):
            return json_reply({"status": "ok"})
        match = ENDPOINT.fullmatch(request.path)
        if match is not None and match["verb"] is None and request.method == "GET":
            scripted = self._early("endpoint")
            return scripted or self._denied(request, False) or self._late("endpoint", self._describe(match))
        models = list_models(request, self.rules.models, self.rules.retired_models)
        if models is not None:
            return self._denied(request, False) or models
        return self._token(request)

    def _token(self, request: Recorded) -> Reply:
        issued = _auth.issue(request, number=len(self.issued_tokens) + 1, lifetime=self.token_lifetime)
        if issued is None:
            self._surprise(request)
            return google_error(
                404,
                "NOT_FOUND",
                f"The kimi-vertex emulator has no route {request.method} {request.path}. It serves "
                "endpoints/openapi/chat/completions, endpoints/ID and its methods, models, token endpoints, and health.",
            )
        if scripted := self._early("token"):
            return scripted
        fault = self._drawn("token")
        if fault is not None and not fault.strikes_late:
            return early_reply(fault, streaming=False, token=True)
        if issued.token is not None:
            self.issued_tokens.append(issued.token)
            self._deadlines[issued.token] = time.monotonic() + self.token_lifetime
        reply = self._late("token", issued.reply)
        return reply if fault is None else struck(fault, reply, streaming=False)

    def _drawn(self, route: Literal["chat", "token"]) -> Fault | None:
        number = next(self._draws[route])
        return self.faults.draw(route, number) if self.faults is not None else None

    def _chat(self, request: Recorded) -> Reply:
        match = ENDPOINT.fullmatch(request.path)
        verb = (match["verb"] if match else None) or "/chat/completions"
        body = json_object(request)
        streaming = bool(body and body.get("stream", verb == ":streamRawPredict"))
        if denied := self._denied(request, streaming) or self._early("chat", streaming=streaming):
            return denied
        if self._player is not None and not self._queues["chat"] and (replayed := self._player.take(request)):
            return replayed
        fault = self._drawn("chat")
        if fault is not None and not fault.strikes_late:
            return early_reply(fault, streaming=streaming)
        if verb == ":predict":
            body, streaming = instance(body), False
        dialect = self._dialect_of(request)
        if refused := self._refused(request, body, match, dialect, streaming):
            return refused
        assert body is not None, "the rules refuse what is no object"
        chat = ChatRequest.from_body(
            body, model=str(body.get("model") or (match["endpoint"] if match else "")), stream=streaming
        )
        answer = self._next(chat, request)
        if isinstance(answer, Raw):
            return raw_reply(answer)
        if isinstance(answer, Fault):
            if not answer.strikes_late:
                return early_reply(answer, streaming=streaming)
            fault, answer = answer, answer.turn or limited(respond(chat, self.pace), chat)
        reply = self._send(answer, chat, dialect, wrapped=verb == ":predict")
        return reply if fault is None else struck(fault, reply, streaming=streaming)

    def _refused(
        self,
        request: Recorded,
        body: Mapping[str, Any] | None,
        match: re.Match[str] | None,
        dialect: Dialect,
        streaming: bool,
    ) -> Reply | None:
        rules = self.rules
        if rules.max_payload is not None and len(request.body) > rules.max_payload:
            message = f"Request payload size exceeds the limit: {rules.max_payload} bytes."
            return google_error(400, "INVALID_ARGUMENT", message)
        managed = match is not None and match["endpoint"] == "openapi"
        refused = _rules.check(
            body,
            strict=self.strict,
            managed=managed,
            refuse_forced_tool_choice=self.refuse_forced_tool_choice,
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
        if self.quota is None:
            return None
        tokens = estimate(chat.prompt_text) if self.quota.tokens is not None else 0
        wait = self._meter.admit(self.quota, tokens, time.monotonic())
        if wait is None:
            return None
        retry_after = str(max(1, math.ceil(wait))) if self.quota.retry_after else None
        return exhausted(streaming=streaming, retry_after=retry_after)

    def _dialect_of(self, request: Recorded) -> Dialect:
        for pattern, dialect in self.dialects.items():
            if fnmatchcase(request.path, pattern):
                return dialect
        if self.dialect == "random":
            return random.Random(f"{self.seed}/dialect/{self._arrived}").choice(DIALECTS)
        return self.dialect

    def _send(self, turn: Turn, chat: ChatRequest, dialect: Dialect, *, wrapped: bool) -> Reply:
        if reason := degraded(chat, self.rules):
            thinking = turn.thinking or f"I lose the thread: {reason}."
            turn = replace(turn, thinking=thinking, text=None, tool_calls=(), finish_reason="stop")
        number = next(self._numbers)
        draw, latency = random.Random(f"{self.seed}/answer/{number}"), self.latency or Latency()
        reply_id = f"emulator-{number}"
        start = latency.start(draw)
        manner = Manner(dialect, self.chunking, draw)
        if not chat.stream:
            whole = whole_body(turn, chat, reply_id, manner)
            reply = json_reply({"predictions": whole} if wrapped else whole)
            return replace(reply, delay=start + latency.duration(completion_tokens(turn), draw))
        if latency.tokens_per_second:
            manner = replace(manner, wait=lambda text: latency.duration(len(text) / 4, draw))
        return replace(stream_reply(stream_parts(turn, chat, reply_id, manner)), delay=start)

    def _denied(self, request: Recorded, streaming: bool) -> Reply | None:
        token = request.bearer
        known_token = self.valid_tokens is None or token in self.valid_tokens
        expired = (
            self.rules.expiring_tokens and self._deadlines.get(token or "", math.inf) <= time.monotonic()
        )
        if (token is None and not self.require_token) or (token is not None and known_token and not expired):
            return None
        return google_error(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
            "other valid authentication credential.",
            reason="ACCESS_TOKEN_EXPIRED" if expired else "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            metadata=_METHOD,
            wrapped=streaming,
        )

    def _describe(self, match: re.Match[str]) -> Reply:
        return json_reply(
            {
                "name": match["name"],
                "displayName": "Kimi (kimi-vertex emulator)",
                "dedicatedEndpointEnabled": bool(self.dedicated_dns),
                "dedicatedEndpointDns": self.dedicated_dns,
            }
        )
