"""The emulator as a running server that keeps a journal: settings in, replies out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

from kimi_vertex_emulator._journal import JOURNAL, Exchange, journal_page
from kimi_vertex_emulator._player import Player
from kimi_vertex_emulator._reply import Reply
from kimi_vertex_emulator._server import Server
from kimi_vertex_emulator._service import Service
from kimi_vertex_emulator.cassette import Cassette, Matching
from kimi_vertex_emulator.conditions import Faults, Latency, LatencyProfile, Quota
from kimi_vertex_emulator.matching import Brain
from kimi_vertex_emulator.rules import Rules
from kimi_vertex_emulator.script import Chunking, Dialect, Recorded
from kimi_vertex_emulator.scripts import Script

__all__ = ["Emulator"]

_LOG = logging.getLogger("kimi_vertex_emulator")


class Emulator(Service, Server):
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
        require_token: Answer chat calls without a bearer token with Google's 401; default `False`.
        valid_tokens: The bearer tokens that are accepted, besides none; default `None`, any.
        token_lifetime: Seconds that tokens of the token endpoint claim to live; default 3600.
        refuse_forced_tool_choice: Answer a forced `tool_choice` with the 400 that Moonshot's own
            servers send while the model thinks; default `False`.
        dedicated_dns: What `GET endpoints/ID` names as the endpoint's own DNS name; default `""`.
        pace: Seconds between two deltas of the built-in brain's answers; default 0. `"recorded"` replays
            a cassette with the pauses that were recorded.
        script: Rules that answer when the queue is empty; default none, see also `on`.
        brain: A function that answers what neither queue nor script does; default the built-in brain.
        dialect: Which server's spelling the answers have, `"random"` draws one for each; default `"vertex"`.
        dialects: Dialects of single routes: patterns of paths (`*` is a wildcard), the first that fits counts.
        chunking: How a `str` of a turn is cut into deltas; default `"default"`.
        seed: Where everything random comes from; default 0.
        rules: Rules that hold beyond those of strict mode; default none.
        faults: Faults at a rate; default none. Single ones are scripted with `Fault`.
        quota: What is allowed per minute; default no limit.
        latency: How long answers take; default no time.
        journal_limit: How many requests and exchanges are kept, the newest; default all.
        replay: A cassette, or the path of one, that answers when queue, script and `brain` do not;
            what it does not hold is refused with a 404. Default: nothing is replayed.
        match: How a request is found in the cassette, see `Cassette`; default `"exact"`.

    All settings but `host`, `port` and those of journal and cassette are attributes that may be changed while it runs.
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
        refuse_forced_tool_choice: bool = False,
        dedicated_dns: str = "",
        pace: float | Literal["recorded"] = 0.0,
        script: Script | None = None,
        brain: Brain | None = None,
        dialect: Dialect | Literal["random"] = "vertex",
        dialects: Mapping[str, Dialect] | None = None,
        chunking: Chunking = "default",
        seed: int = 0,
        rules: Rules | None = None,
        faults: Faults | None = None,
        quota: Quota | None = None,
        latency: Latency | LatencyProfile | None = None,
        journal_limit: int | None = None,
        replay: Cassette | str | Path | None = None,
        match: Matching = "exact",
    ) -> None:
        super().__init__(
            strict=strict,
            require_token=require_token,
            valid_tokens=valid_tokens,
            token_lifetime=token_lifetime,
            refuse_forced_tool_choice=refuse_forced_tool_choice,
            dedicated_dns=dedicated_dns,
            pace=0.0 if pace == "recorded" else pace,
            script=script,
            brain=brain,
            dialect=dialect,
            dialects=dialects,
            chunking=chunking,
            seed=seed,
            rules=rules,
            faults=faults,
            quota=quota,
            latency=Latency.of(latency) if isinstance(latency, str) else latency,
            journal_limit=journal_limit,
            player=None if replay is None else Player(replay, match, timed=pace == "recorded"),
        )
        Server.__init__(self, host, port)

    @property
    def base_url(self) -> str:
        """What stands before `/chat/completions` on the managed endpoint, for clients that take a base URL."""
        return f"{self.origin}/v1/projects/emulator/locations/global/endpoints/openapi"

    @property
    def token_uri(self) -> str:
        """The OAuth2 token endpoint, for the `token_uri` of a credentials file."""
        return f"{self.origin}/token"

    @property
    def exchanges(self) -> list[Exchange]:
        """Every request with its response, in the order of arrival; what is still being sent is `running`."""
        return list(self._journal)

    def watch(self, watcher: Callable[[Exchange], None]) -> None:
        """Calls a function with each exchange when it has ended, in the emulator's thread."""
        self._journal.watchers.append(watcher)

    def _handle(self, request: Recorded) -> Reply:
        if request.path == JOURNAL:
            return journal_page(self._journal, request)
        exchange, began = self._journal.open(request)
        try:
            reply = self.answer(request)
        except Exception:
            self._journal.fail(exchange, began)
            raise
        status = "no head" if reply.status is None else reply.status
        _LOG.info(
            "kimi-vertex emulator (not the real service): %s %s -> %s", request.method, request.path, status
        )
        return self._journal.note(exchange, began, reply)
