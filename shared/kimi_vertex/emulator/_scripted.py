"""What answers come next, and whether script and requests fitted: the part of the emulator that tests talk to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeAlias

from kimi_vertex.emulator._chat import ChatRequest
from kimi_vertex.emulator._faults import early_reply, struck
from kimi_vertex.emulator._render import limited
from kimi_vertex.emulator._reply import Reply, raw_reply
from kimi_vertex.emulator._routes import is_chat, told
from kimi_vertex.emulator.brain import respond
from kimi_vertex.emulator.matching import Brain, Rule, TextMatch, from_brain
from kimi_vertex.emulator.script import Answer, Fault, Raw, Recorded, Turn
from kimi_vertex.emulator.scripts import Script

__all__ = ["Route", "Scripted"]

Route: TypeAlias = Literal["chat", "token", "endpoint"]


class Scripted:
    """Queue, script, brain and journal. See `Emulator` for the arguments."""

    def __init__(self, script: Script | None, brain: Brain | None, pace: float) -> None:
        self.script = script.copy() if script is not None else Script()
        """What is asked when the queue is empty; a copy of the script that was given."""
        self.brain = brain
        self.pace = pace
        self.requests: list[Recorded] = []
        """Every request in the order of arrival, token requests included."""
        self.unexpected: list[Recorded] = []
        """Chat requests that the built-in brain had to answer, and requests for routes that do not exist."""
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
        return sum(map(len, self._queues.values())) + self.script.remaining

    @property
    def chat_requests(self) -> list[Recorded]:
        """The recorded requests that called the model."""
        return [request for request in self.requests if is_chat(request)]

    def reset(self) -> None:
        """Empties queue, script and journal; settings, sockets and issued tokens stay."""
        for queue in self._queues.values():
            queue.clear()
        self.script = Script()
        self.requests.clear()
        self.unexpected.clear()

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
        if expected:
            faults += [f"not scripted: {told(request)}" for request in self.unexpected]
        if faults:
            seen = [f"  {number}. {told(request)}" for number, request in enumerate(self.requests, start=1)]
            came = "\n".join(seen) or "  none"
            raise AssertionError(
                "kimi-vertex emulator: " + "\n".join(faults) + f"\nRequests that came:\n{came}"
            )

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
        self.unexpected.append(request)
        return limited(respond(chat, self.pace), chat)
