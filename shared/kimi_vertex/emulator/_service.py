"""Routes and the chat call: from a recorded request to a reply, without a socket.

Order for a chat call: bearer, then a raw script, then the rules, then a scripted turn or the brain.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

from kimi_vertex.emulator import _auth, _rules
from kimi_vertex.emulator._chat import ChatRequest
from kimi_vertex.emulator._render import limited, stream_parts, whole_body
from kimi_vertex.emulator._reply import Reply, google_error, json_reply, raw_reply, stream_reply
from kimi_vertex.emulator.brain import respond
from kimi_vertex.emulator.script import Answer, Raw, Recorded, Turn

__all__ = ["Service"]

Route: TypeAlias = Literal["chat", "token", "endpoint"]

_ENDPOINT = re.compile(
    r"/v1(?:beta1)?/(?P<name>projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/endpoints/(?P<endpoint>[^/:]+))"
    r"(?P<verb>/chat/completions|:rawPredict|:streamRawPredict|:predict)?"
)


class Service:
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
    ) -> None:
        self.strict = strict
        self.require_token = require_token
        self.valid_tokens: Collection[str] | None = valid_tokens
        self.token_lifetime = token_lifetime
        self.refuse_forced_tool_choice = refuse_forced_tool_choice
        self.dedicated_dns = dedicated_dns
        self.pace = pace
        self.requests: list[Recorded] = []
        """Every request in the order of arrival, token requests included."""
        self.issued_tokens: list[str] = []
        """The tokens that the token endpoint, the STS and the metadata server handed out."""
        self._queues: dict[str, deque[Answer]] = {"chat": deque(), "token": deque(), "endpoint": deque()}
        self._numbers = itertools.count(1)

    def enqueue(self, *answers: Answer, route: Route = "chat") -> None:
        """Scripts the next answers, in order; when none is left the built-in brain answers.

        Args:
            answers: Turns or raw answers.
            route: Whose requests they answer: chat calls (default), the token sources (OAuth2, STS,
                metadata server) or `GET endpoints/ID`.

        Raises:
            TypeError: An answer is neither, or a `Turn` is meant for another route than chat.
        """
        for answer in answers:
            if not isinstance(answer, Raw | Turn):
                raise TypeError(f"cannot enqueue {type(answer).__name__}; give a Turn or a Raw")
            if isinstance(answer, Turn) and route != "chat":
                raise TypeError(f"route {route!r} answers with Raw only; a Turn is an answer of the model")
        self._queues[route].extend(answers)

    @property
    def pending(self) -> int:
        """How many scripted answers have not been asked for yet."""
        return sum(map(len, self._queues.values()))

    @property
    def chat_requests(self) -> list[Recorded]:
        """The recorded requests that called the model."""
        return [request for request in self.requests if _is_chat(request)]

    def answer(self, request: Recorded) -> Reply:
        """Records the request and decides the reply."""
        self.requests.append(request)
        if _is_chat(request):
            return self._chat(request)
        match = _ENDPOINT.fullmatch(request.path)
        if match is not None and match["verb"] is None and request.method == "GET":
            return self._scripted("endpoint") or self._denied(request, False) or self._describe(match)
        issued = _auth.issue(request, number=len(self.issued_tokens) + 1, lifetime=self.token_lifetime)
        if issued is None:
            return google_error(
                404,
                "NOT_FOUND",
                f"The kimi-vertex emulator has no route {request.method} {request.path}. It serves "
                "endpoints/openapi/chat/completions, endpoints/ID and its methods, and token endpoints.",
            )
        if scripted := self._scripted("token"):
            return scripted
        if issued.token is not None:
            self.issued_tokens.append(issued.token)
        return issued.reply

    def _scripted(self, route: Route) -> Reply | None:
        queue = self._queues[route]
        if queue and isinstance(queue[0], Raw):
            answer = queue.popleft()
            assert isinstance(answer, Raw), "only the serving thread takes answers out"
            return raw_reply(answer)
        return None

    def _chat(self, request: Recorded) -> Reply:
        match = _ENDPOINT.fullmatch(request.path)
        verb = (match["verb"] if match else None) or "/chat/completions"
        body = _json_object(request)
        streaming = bool(body and body.get("stream", verb == ":streamRawPredict"))
        if denied := self._denied(request, streaming) or self._scripted("chat"):
            return denied
        if verb == ":predict":
            body, streaming = _instance(body), False
        endpoint = match["endpoint"] if match else None
        if refused := _rules.check(
            body,
            strict=self.strict,
            managed=endpoint == "openapi",
            refuse_forced_tool_choice=self.refuse_forced_tool_choice,
        ):
            return refused
        assert body is not None, "the rules refuse what is no object"
        chat = ChatRequest.from_body(body, model=str(body.get("model") or endpoint or ""), stream=streaming)
        turn = self._turn(chat)
        reply_id = f"emulator-{next(self._numbers)}"
        if streaming:
            return stream_reply(stream_parts(turn, chat, reply_id))
        whole = whole_body(turn, chat, reply_id)
        return json_reply({"predictions": whole} if verb == ":predict" else whole)

    def _turn(self, chat: ChatRequest) -> Turn:
        if self._queues["chat"]:
            answer = self._queues["chat"].popleft()
            assert isinstance(answer, Turn), "raw answers were taken before"
            return answer
        return limited(respond(chat, self.pace), chat)

    def _denied(self, request: Recorded, streaming: bool) -> Reply | None:
        token = request.bearer
        known = self.valid_tokens is None or token in self.valid_tokens
        if (token is None and not self.require_token) or (token is not None and known):
            return None
        return google_error(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
            "other valid authentication credential.",
            reason="ACCESS_TOKEN_TYPE_UNSUPPORTED",
            metadata={
                "method": "google.cloud.aiplatform.v1.PredictionService.ChatCompletions",
                "service": "aiplatform.googleapis.com",
            },
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


def _is_chat(request: Recorded) -> bool:
    if request.method != "POST":
        return False
    match = _ENDPOINT.fullmatch(request.path)
    if match is not None:
        return match["verb"] is not None and not (match["endpoint"] == "openapi" and match["verb"][0] == ":")
    # Google's own tree has no other chat route; any other prefix is somebody's base URL.
    return request.path.endswith("/chat/completions") and "/projects/" not in request.path


def _json_object(request: Recorded) -> Mapping[str, Any] | None:
    try:
        body = request.json
    except ValueError:
        return None
    return body if isinstance(body, Mapping) else None


def _instance(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The chat request inside a `:predict` body, `None` if it holds none."""
    instances = body.get("instances") if body else None
    first = instances[0] if isinstance(instances, list) and instances else None
    if isinstance(first, Mapping) and first.get("@requestFormat") == "chatCompletions":
        return first
    return None
