"""What answers come next, and whether script and requests fitted: the part of the emulator that tests talk to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeAlias, TypedDict, Unpack

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._faults import early_reply, struck
from kimi_vertex_emulator._journal import Exchange, Journal
from kimi_vertex_emulator._player import Player
from kimi_vertex_emulator._render import limited
from kimi_vertex_emulator._reply import Reply, raw_reply
from kimi_vertex_emulator._routes import is_chat, json_object, told
from kimi_vertex_emulator.brain import respond
from kimi_vertex_emulator.matching import Brain, Match, Rule, TextMatch, from_brain
from kimi_vertex_emulator.script import Answer, Fault, Raw, Recorded, Turn
from kimi_vertex_emulator.scripts import Script

__all__ = ["Route", "Scripted"]


class Conditions(TypedDict, total=False):
    """Conditions of `Match` beside the text."""

    anywhere: TextMatch
    system: TextMatch
    result: TextMatch
    tools: Collection[str]
    turn: int
    model: str
    path: str
    headers: Mapping[str, TextMatch]
    when: Callable[[ChatRequest], bool]


_MOST_RULES = 8

Route: TypeAlias = Literal["chat", "token", "endpoint"]


class Scripted:
    """Queue, script, brain and journal. See `Emulator` for the arguments."""

    def __init__(
        self,
        script: Script | None,
        brain: Brain | None,
        pace: float,
        journal_limit: int | None,
        player: Player | None,
    ) -> None:
        self.script = script.copy() if script is not None else Script()
        """What is asked when the queue is empty; a copy of the script that was given."""
        self.brain = brain
        self.pace = pace
        self.requests: list[Recorded] = []
        """Every request in the order of arrival, token requests included."""
        self.unexpected: list[Recorded] = []
        """Chat requests that the built-in brain had to answer, and requests for routes that do not exist."""
        self._journal = Journal(journal_limit)
        self._player = player
        self._arrived = 0
        self._queues: dict[str, deque[Answer]] = {"chat": deque(), "token": deque(), "endpoint": deque()}

    def enqueue(self, *answers: Answer, route: Route = "chat") -> None:
        """Scripts the next answers, in order; when none is left the script answers, and then the brain.

        Args:
            answers: Turns, raw answers or faults.
            route: Whose requests they answer: chat calls (default), the token sources (OAuth2, STS,
                metadata server) or `GET endpoints/ID`.

        Raises:
            TypeError: An answer is none of them, or a `Turn` is meant for another route than chat.
        """
        for answer in answers:
            if not isinstance(answer, Raw | Turn | Fault):
                raise TypeError(f"cannot enqueue {type(answer).__name__}; give a Turn, a Raw or a Fault")
            if isinstance(answer, Turn) and route != "chat":
                raise TypeError(f"route {route!r} answers with Raw only; a Turn is an answer of the model")
        self._queues[route].extend(answers)

    def on(
        self,
        text: TextMatch | None = None,
        *,
        anywhere: TextMatch | None = None,
        system: TextMatch | None = None,
        result: TextMatch | None = None,
        tools: Collection[str] | None = None,
        turn: int | None = None,
        model: str | None = None,
        path: str | None = None,
        headers: Mapping[str, TextMatch] | None = None,
        when: Callable[[ChatRequest], bool] | None = None,
    ) -> Rule:
        """Adds a rule to the emulator's script; see `Script.on`.

        Example: `emulator.on("weather", turn=0).answer(Turn(tool_calls=[Call("get_weather")]), "It snows.")`
        """
        return self.script.on(
            text,
            anywhere=anywhere,
            system=system,
            result=result,
            tools=tools,
            turn=turn,
            model=model,
            path=path,
            headers=headers,
            when=when,
        )

    @property
    def pending(self) -> int:
        """How many scripted answers have not been asked for yet."""
        replayed = len(self._player.unused) if self._player is not None else 0
        return sum(map(len, self._queues.values())) + self.script.remaining + replayed

    @property
    def chat_requests(self) -> list[Recorded]:
        """The recorded requests that called the model."""
        return [request for request in self.requests if is_chat(request)]

    def reset(self) -> None:
        """Empties queue, script and journal; a cassette begins anew; settings, sockets and issued tokens stay."""
        for queue in self._queues.values():
            queue.clear()
        self.script = Script()
        self.requests.clear()
        self.unexpected.clear()
        self._journal.clear()
        self._arrived = 0
        if self._player is not None:
            self._player.rewind()

    def verify(self, *, consumed: bool = True, expected: bool = True) -> None:
        """Checks at the end of a test that the script and the requests fitted each other.

        Args:
            consumed: Every scripted answer has been asked for.
            expected: Every chat request had a scripted answer, and every route exists.

        Raises:
            AssertionError: They did not; the text lists what is left and what came.
        """
        faults: list[str] = []
        if consumed:
            left = {route: len(queue) for route, queue in self._queues.items() if queue}
            faults += [
                f"not asked for: {number} answer(s) queued for {route}" for route, number in left.items()
            ]
            faults += [f"not asked for: {words}" for words in self.script.unconsumed]
            if self._player is not None:
                faults += [f"not asked for: recorded {words}" for words in self._player.unused]
        if expected:
            for request in self.unexpected:
                faults += [f"not scripted: {told(request)}", *self._refusals(request)]
        if faults:
            raise self._failure("\n".join(faults))

    def find(
        self,
        text: TextMatch | None = None,
        *,
        status: int | None = None,
        finish_reason: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> list[Exchange]:
        """The exchanges with the model that fulfil all conditions, in the order of arrival.

        Args:
            text: What the user said last.
            status: The response's status.
            finish_reason: The response's finish reason, as it went over the wire.
            conditions: The other conditions of `on`.
        """
        match = Match(text=text, **conditions)
        return [
            exchange
            for exchange in self._journal
            if (chat := _chat_of(exchange.request)) is not None
            and match(chat, exchange.request)
            and status in (None, exchange.status)
            and finish_reason in (None, exchange.finish_reason)
        ]

    def expect(
        self,
        text: TextMatch | None = None,
        *,
        times: int | None = None,
        status: int | None = None,
        finish_reason: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> list[Exchange]:
        """What `find` finds, if it is as much as expected.

        Args:
            text: What the user said last.
            times: How many exchanges; default one or more.
            status: The response's status.
            finish_reason: The response's finish reason, as it went over the wire.
            conditions: The other conditions of `on`.

        Raises:
            AssertionError: There are fewer or more; the text lists everything that came.
        """
        found = self.find(text, status=status, finish_reason=finish_reason, **conditions)
        if len(found) == times or (times is None and found):
            return found
        wanted = str(Match(text=text, **conditions))
        wanted += "" if status is None else f", status={status}"
        wanted += "" if finish_reason is None else f", finish_reason={finish_reason!r}"
        number = "at least 1" if times is None else str(times)
        raise self._failure(f"expected {number} exchange(s) with {wanted}; there were {len(found)}")

    def _refusals(self, request: Recorded) -> list[str]:
        """In words, why no rule of the script answered a request: what the reader wants to know first."""
        chat = _chat_of(request)
        rules = self.script.rules if chat is not None else []
        words = [f"  {rule.refusal(chat, request)}" for rule in rules if chat is not None]
        return [
            *words[:_MOST_RULES],
            *([f"  and {len(words) - _MOST_RULES} more"] if len(words) > _MOST_RULES else []),
        ]

    def _failure(self, words: str) -> AssertionError:
        seen = [f"  {number}. {exchange}" for number, exchange in enumerate(self._journal, start=1)]
        came = "\n".join(seen) or "  none"
        return AssertionError(
            f"kimi-vertex emulator: {words}\nRequests that came, and their answers:\n{came}"
        )

    def _surprise(self, request: Recorded) -> None:
        self.unexpected.append(request)
        self._journal.trim(self.unexpected)

    def _early(self, route: Route, *, streaming: bool = False) -> Reply | None:
        """A scripted reply that needs no answer of the model."""
        queue = self._queues[route]
        answer = queue[0] if queue else None
        if isinstance(answer, Raw):
            queue.popleft()
            return raw_reply(answer)
        if isinstance(answer, Fault) and not answer.strikes_late:
            queue.popleft()
            return early_reply(answer, streaming=streaming, token=route == "token")
        return None

    def _late(self, route: Route, reply: Reply) -> Reply:
        """A reply struck by the late fault that is scripted for it, if one is."""
        queue = self._queues[route]
        fault = queue.popleft() if queue else None
        return struck(fault, reply, streaming=False) if isinstance(fault, Fault) else reply

    def _next(self, chat: ChatRequest, request: Recorded) -> Answer:
        if self._queues["chat"]:
            return self._queues["chat"].popleft()
        found = self.script.take(chat, request)
        if found is None and self.brain is not None:
            found = from_brain(self.brain, chat)
        if found is not None:
            return found
        self._surprise(request)
        if self._player is not None:
            return self._player.missed(request)
        return limited(respond(chat, self.pace), chat)


def _chat_of(request: Recorded) -> ChatRequest | None:
    """What a request asks the model, `None` if it does not, or not readably."""
    body = (json_object(request) or {}) if is_chat(request) else {}
    given = body.get("messages")
    messages = [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
    if not messages:
        return None
    return ChatRequest.from_body({**body, "messages": messages}, model=str(body.get("model") or ""))
