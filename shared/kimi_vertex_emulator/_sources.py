"""Where answers come from: the queue, the script, the cassette, the test's own function, and last the brain."""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeAlias

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._faults import breaks_an_answer, early_reply, strike
from kimi_vertex_emulator._player import Player
from kimi_vertex_emulator._render import limited
from kimi_vertex_emulator._reply import Reply, raw_reply
from kimi_vertex_emulator._requests import Recorded
from kimi_vertex_emulator.answers import Answer, Fault, Raw, Turn
from kimi_vertex_emulator.brain import respond
from kimi_vertex_emulator.script import Brain, Script, from_brain

__all__ = ["Route", "Sources"]

Route: TypeAlias = Literal["chat", "token", "endpoint"]


class Sources:
    """What is asked for the next answer, in order.

    Args:
        script: Asked when the queue is empty.
        player: Plays a cassette, if there is one.
    """

    def __init__(self, script: Script, player: Player | None) -> None:
        self.script = script
        self.player = player
        self._queues: dict[Route, deque[Answer]] = {"chat": deque(), "token": deque(), "endpoint": deque()}

    def enqueue(self, answers: tuple[Answer, ...], route: Route) -> None:
        """See `Emulator.enqueue`."""
        for answer in answers:
            if not isinstance(answer, Raw | Turn | Fault):
                raise TypeError(f"cannot enqueue {type(answer).__name__}; give a Turn, a Raw or a Fault")
            if isinstance(answer, Turn) and route != "chat":
                raise TypeError(f"route {route!r} answers with Raw only; a Turn is an answer of the model")
        self._queues[route].extend(answers)

    @property
    def pending(self) -> int:
        """How many answers have not been asked for."""
        replayed = len(self.player.unused) if self.player is not None else 0
        return sum(map(len, self._queues.values())) + self.script.remaining + replayed

    @property
    def unconsumed(self) -> list[str]:
        """In words, what has not been asked for."""
        queued = [
            f"{len(queue)} answer(s) queued for {route}" for route, queue in self._queues.items() if queue
        ]
        recorded = [f"recorded {words}" for words in self.player.unused] if self.player is not None else []
        return [*queued, *self.script.unconsumed, *recorded]

    def reset(self) -> None:
        """Empties queue and script; a cassette starts over."""
        for queue in self._queues.values():
            queue.clear()
        self.script = Script()
        if self.player is not None:
            self.player.rewind()

    def early(self, route: Route, *, streaming: bool = False) -> Reply | None:
        """A queued reply for which the model is not asked."""
        queue = self._queues[route]
        answer = queue[0] if queue else None
        if isinstance(answer, Raw):
            queue.popleft()
            return raw_reply(answer)
        if isinstance(answer, Fault) and not breaks_an_answer(answer):
            queue.popleft()
            return early_reply(answer, streaming=streaming, token=route == "token")
        return None

    def late(self, route: Route, reply: Reply) -> Reply:
        """A reply with the fault that is queued for it, if one is."""
        queue = self._queues[route]
        fault = queue.popleft() if queue else None
        return strike(fault, reply, streaming=False) if isinstance(fault, Fault) else reply

    def replayed(self, request: Recorded) -> Reply | None:
        """What a cassette holds for a request, unless the queue comes first."""
        return None if self.player is None or self._queues["chat"] else self.player.take(request)

    def next(self, chat: ChatRequest, request: Recorded, brain: Brain | None) -> Answer | None:
        """The scripted answer to a request, `None` if nothing is scripted for it."""
        if self._queues["chat"]:
            return self._queues["chat"].popleft()
        found = self.script.take(chat, request)
        return from_brain(brain, chat) if found is None and brain is not None else found

    def unscripted(self, chat: ChatRequest, request: Recorded) -> Answer:
        """The answer where none is scripted: a cassette refuses, the brain answers."""
        if self.player is not None:
            return self.player.missed(request)
        return improvised(chat)


def improvised(chat: ChatRequest) -> Turn:
    """The brain's answer under the request's limits."""
    return limited(respond(chat), chat)
