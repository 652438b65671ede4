"""Where answers come from: the queue, the cassette, the script, the test's own function, and last the brain."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._faults import breaks_an_answer, early_reply, strike
from kimi_vertex_emulator._render import limited
from kimi_vertex_emulator._reply import Reply, raw_reply
from kimi_vertex_emulator._requests import Recorded
from kimi_vertex_emulator.answers import Answer, Fault, Raw, Turn
from kimi_vertex_emulator.brain import respond
from kimi_vertex_emulator.cassette import Player
from kimi_vertex_emulator.script import from_brain

if TYPE_CHECKING:
    from kimi_vertex_emulator._emulator import Emulator

__all__ = ["Route", "Sources"]

Route: TypeAlias = Literal["chat", "token", "endpoint"]
_ROUTES: Final[tuple[Route, ...]] = get_args(Route)


class Sources:
    """What is asked for the next answer: a queue for each route, what plays a cassette, and the emulator's settings."""

    def __init__(self, settings: Emulator, player: Player | None) -> None:
        self._settings = settings
        self._player = player
        self._queues: dict[Route, deque[Answer]] = {route: deque() for route in _ROUTES}

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
        return sum(map(len, self._queues.values())) + self._settings.script.remaining + len(self._unplayed)

    @property
    def unconsumed(self) -> list[str]:
        """In words, what has not been asked for."""
        queued = [
            f"{len(queue)} answer(s) queued for {route}" for route, queue in self._queues.items() if queue
        ]
        recorded = [f"recorded {words}" for words in self._unplayed]
        return [*queued, *self._settings.script.unconsumed, *recorded]

    @property
    def _unplayed(self) -> list[str]:
        return [] if self._player is None else self._player.unused

    def reset(self) -> None:
        """Empties the queue; a cassette starts over."""
        for queue in self._queues.values():
            queue.clear()
        if self._player is not None:
            self._player.rewind()

    def early(self, *, streaming: bool) -> Reply | None:
        """What is queued for a chat request, if the model is not asked for it."""
        queue = self._queues["chat"]
        match queue[0] if queue else None:
            case Raw() as raw:
                queue.popleft()
                return raw_reply(raw)
            case Fault() as fault if not breaks_an_answer(fault):
                queue.popleft()
                return early_reply(fault, streaming=streaming)
        return None

    def instead(self, route: Route, reply: Callable[[], Reply]) -> Reply:
        """What is queued for a request that does not call the model, or what a fault makes of its reply."""
        answer = self._queues[route].popleft() if self._queues[route] else None
        if isinstance(answer, Raw):
            return raw_reply(answer)
        if isinstance(answer, Fault):
            return strike(answer, reply, streaming=False, token=route == "token")
        return reply()

    def replayed(self, request: Recorded) -> Reply | None:
        """What a cassette holds for a request, unless the queue comes first."""
        return None if self._player is None or self._queues["chat"] else self._player.take(request)

    def scripted(self, chat: ChatRequest, request: Recorded) -> Answer | None:
        """The scripted answer to a request, `None` if nothing is scripted for it."""
        if self._queues["chat"]:
            return self._queues["chat"].popleft()
        found, brain = self._settings.script.take(chat, request), self._settings.brain
        return from_brain(brain, chat) if found is None and brain is not None else found

    def unscripted(self, chat: ChatRequest, request: Recorded) -> Answer:
        """The answer where none is scripted: a cassette refuses, the brain answers."""
        return improvised(chat) if self._player is None else self._player.missed(request)


def improvised(chat: ChatRequest) -> Turn:
    """The brain's answer under the request's limits."""
    return limited(respond(chat), chat)
