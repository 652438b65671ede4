"""The emulator as tests see it: a server with settings, a script and a journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal, Unpack

from kimi_vertex_emulator._journal import JOURNAL, Exchange, Journal, journal_page
from kimi_vertex_emulator._reply import Reply
from kimi_vertex_emulator._requests import Recorded, is_chat
from kimi_vertex_emulator._server import Server
from kimi_vertex_emulator._service import Service
from kimi_vertex_emulator._sources import Route, Sources
from kimi_vertex_emulator.answers import CHUNKINGS, DIALECTS, Answer, Chunking, Dialect, known, not_negative
from kimi_vertex_emulator.cassette import Cassette, Player
from kimi_vertex_emulator.deployments import REFUSALS, Deployment, Refusal
from kimi_vertex_emulator.quota import Quota
from kimi_vertex_emulator.rules import Rules
from kimi_vertex_emulator.script import Brain, Conditions, Match, Rule, Script, TextMatch

__all__ = ["Emulator"]

_LOG = logging.getLogger("kimi_vertex_emulator")


class Emulator(Server):
    """Kimi on Vertex AI, emulated on a local socket.

    Example:
        ```python
        with Emulator() as emulator:
            emulator.enqueue(Turn(thinking="A greeting.", text="Hello!"))
            client = KimiVertexClient(base_url=emulator.base_url)
            assert client.complete("Hi").text == "Hello!"
            assert emulator.requests[0].json["messages"][0]["content"] == "Hi"
        ```

    Args:
        strict: Refuse what Kimi's servers refuse (default `True`); `False` accepts it.
        host: Address to bind; default loopback.
        port: Port to bind; default 0, a free one.
        require_token: Answer chat requests without a bearer token with Google's 401; default `False`.
        valid_tokens: The bearer tokens that are accepted; default `None`, any.
        token_lifetime: Seconds after which tokens of the token endpoint are refused; default 3600.
        pace: Seconds between two deltas of turns that do not say it themselves (`Turn.pause`); default 0.
        script: Rules that answer when the queue is empty; default none, see also `on`.
        brain: A function that answers what neither queue nor script does; default the built-in brain.
        dialect: Which server's spelling the answers have, `"random"` draws one for each; default `"vertex"`.
        chunking: How a `str` of a turn is cut into deltas; default `"default"`.
        seed: Where everything random comes from; default 0.
        rules: Rules that hold beyond those of strict mode; default none.
        quota: What is allowed per minute; default no limit.
        deployments: The endpoints that there are, with what they serve and how they are; default `None`, any endpoint.
        refusal: Why Google refuses every request with a 403; default `None`, it does not.
        journal_limit: How many requests and exchanges are kept, the newest; default all.
        replay: A cassette, or the path of one, that answers when the queue does not; what it does not hold goes to
            script and `brain`, else it is refused with a 404. Default: no cassette.

    All settings but `host`, `port`, `journal_limit` and `replay` are attributes that may be changed while it runs.
    """

    def __init__(
        self,
        strict: bool = True,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        require_token: bool = False,
        valid_tokens: Collection[str] | None = None,
        token_lifetime: int = 3600,
        pace: float = 0.0,
        script: Script | None = None,
        brain: Brain | None = None,
        dialect: Dialect | Literal["random"] = "vertex",
        chunking: Chunking = "default",
        seed: int = 0,
        rules: Rules | None = None,
        quota: Quota | None = None,
        deployments: Sequence[Deployment] | None = None,
        refusal: Refusal | None = None,
        journal_limit: int | None = None,
        replay: Cassette | str | Path | None = None,
    ) -> None:
        super().__init__(self._handle, host, port)
        not_negative(pace=pace, token_lifetime=token_lifetime)
        known(dialect, (*DIALECTS, "random"), "dialect")
        known(chunking, CHUNKINGS, "chunking")
        if refusal is not None:
            known(refusal, REFUSALS, "refusal")
        self.strict = strict
        self.require_token = require_token
        self.valid_tokens = valid_tokens
        self.token_lifetime = token_lifetime
        self.pace = pace
        self.brain = brain
        self.dialect: Dialect | Literal["random"] = dialect
        self.chunking: Chunking = chunking
        self.seed = seed
        self.rules = rules or Rules()
        self.quota = quota
        self.deployments = deployments
        self.refusal: Refusal | None = refusal
        self._journal = Journal(journal_limit)
        self.script = Script() if script is None else script.copy()
        """What is asked when the queue is empty; a copy of the script that was given."""
        self._sources = Sources(self, None if replay is None else Player(replay))
        self._service = Service(self, self._sources)

    @property
    def base_url(self) -> str:
        """What stands before `/chat/completions` on the managed endpoint, for clients that take a base URL."""
        return f"{self.origin}/v1/projects/emulator/locations/global/endpoints/openapi"

    @property
    def token_uri(self) -> str:
        """The OAuth2 token endpoint, for the `token_uri` of a credentials file."""
        return f"{self.origin}/token"

    @property
    def issued_tokens(self) -> list[str]:
        """The tokens that the token endpoint, the STS and the metadata server handed out."""
        return list(self._service.deadlines)

    @property
    def exchanges(self) -> list[Exchange]:
        """Every request with its response, in the order of arrival; what is still being sent is `running`."""
        return list(self._journal)

    @property
    def requests(self) -> list[Recorded]:
        """Every request in the order of arrival, token requests included."""
        return [exchange.request for exchange in self._journal]

    @property
    def unexpected(self) -> list[Recorded]:
        """Chat requests that the built-in brain had to answer, and requests for routes that do not exist."""
        return [exchange.request for exchange in self._journal if exchange.unexpected]

    @property
    def chat_requests(self) -> list[Recorded]:
        """The recorded requests that asked the model."""
        return [request for request in self.requests if is_chat(request)]

    @property
    def pending(self) -> int:
        """How many scripted answers have not been asked for yet."""
        return self._sources.pending

    def enqueue(self, *answers: Answer, route: Route = "chat") -> None:
        """Scripts the next answers, in order; when none is left the script answers, and then the brain.

        Args:
            answers: Turns, raw answers or faults.
            route: Whose requests they answer: chat requests (default), the token sources (OAuth2, STS,
                metadata server) or `GET endpoints/ID`.

        Raises:
            TypeError: An answer is something else, or a `Turn` is meant for another route than chat.
        """
        self._sources.enqueue(answers, route)

    def on(self, text: TextMatch | None = None, **conditions: Unpack[Conditions]) -> Rule:
        """Adds a rule to the emulator's script; see `Script.on`.

        Example: `emulator.on("weather", turn=0).answer(Turn(tool_calls=[Call("get_weather")]), "It snows.")`
        """
        return self.script.on(text, **conditions)

    def watch(self, watcher: Callable[[Exchange], None]) -> None:
        """Calls a function with each exchange when it has ended, in the emulator's thread."""
        self._journal.watchers.append(watcher)

    def reset(self) -> None:
        """Empties queue, script and journal; a cassette starts over; settings, sockets and issued tokens stay."""
        self.script = Script()
        self._sources.reset()
        self._service.reset()
        self._journal.clear()

    def verify(self, *, consumed: bool = True, expected: bool = True) -> None:
        """Checks at the end of a test that the script and the requests fitted each other.

        Args:
            consumed: Every scripted answer has been asked for.
            expected: Every chat request had a scripted answer, and every route exists.

        Raises:
            AssertionError: They did not; the text lists what is left and what came.
        """
        faults = [f"not asked for: {words}" for words in self._sources.unconsumed] if consumed else []
        for request in self.unexpected if expected else ():
            faults += self._journal.why_unscripted(request, self.script)
        if faults:
            raise self._journal.failure("\n".join(faults))

    def find(
        self,
        text: TextMatch | None = None,
        *,
        status: int | None = None,
        finish_reason: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> list[Exchange]:
        """The exchanges with the model that fulfill all conditions, in the order of arrival.

        Args:
            text: What the user said last.
            status: The response's status.
            finish_reason: The response's finish reason, as it went over the wire.
            conditions: The other conditions of `on`.
        """
        return self._journal.find(Match(text, **conditions), status, finish_reason)

    def expect(
        self,
        text: TextMatch | None = None,
        *,
        times: int | None = None,
        status: int | None = None,
        finish_reason: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> list[Exchange]:
        """What `find` finds with the same conditions, if it is found `times` times; by default once or more.

        Raises:
            AssertionError: There are fewer or more; the text lists everything that came.
        """
        found = self.find(text, status=status, finish_reason=finish_reason, **conditions)
        if len(found) == times or (times is None and found):
            return found
        answered = {"status": status, "finish_reason": finish_reason}
        wanted = [f"{name}={value!r}" for name, value in answered.items() if value is not None]
        words = ", ".join([str(Match(text, **conditions)), *wanted])
        number = "at least 1" if times is None else str(times)
        raise self._journal.failure(f"expected {number} exchange(s) with {words}; there were {len(found)}")

    def _handle(self, request: Recorded) -> Reply:
        if request.path == JOURNAL:
            return journal_page(self._journal, request)
        exchange = self._journal.open(request)
        try:
            reply = self._service.answer(request)
        except Exception:
            self._journal.fail(exchange)
            raise
        status = "no head" if reply.status is None else reply.status
        _LOG.info(
            "kimi-vertex emulator (not the real service): %s %s -> %s", request.method, request.path, status
        )
        return self._journal.note(exchange, reply)
