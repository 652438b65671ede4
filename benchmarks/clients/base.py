"""What every measured client can be asked to do. Whoever cannot do something raises `NotImplementedError`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from benchmarks.scenarios import Scenario

__all__ = ["PROMPT", "Case", "Client", "Sink", "over_aiohttp"]

PROMPT = "Why does a stream cost more than its bytes?"

Sink: TypeAlias = Callable[[str], object]
"""Takes a piece of text at the moment at which the user of a client gets it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A stream to read, and the way in which to read it."""

    scenario: Scenario
    variant: str = ""


def over_aiohttp() -> Any:
    """An `httpx.AsyncClient` whose requests aiohttp makes.

    Raises:
        ImportError: httpx-aiohttp is not installed.
    """
    aiohttp, transport = importlib.import_module("aiohttp"), importlib.import_module("httpx_aiohttp")

    def session() -> Any:
        connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))

    return httpx.AsyncClient(transport=transport.AiohttpTransport(client=session))


class Client:
    """A way to talk to the server. One object serves a whole process, as in an application."""

    def __init__(self, origin: str) -> None:
        """Remember where the server is; nothing is connected yet."""
        self.origin = origin

    def url(self, scenario: Scenario) -> str:
        """The base URL with which the server plays this scenario.

        It ends as that of the managed service, so that all clients send thinking in one field: the same bytes.
        """
        return f"{self.origin}/{scenario.name}/endpoints/openapi"

    def stream(self, case: Case, think: Sink, say: Sink) -> None:
        """Read a stream to its end, every piece into one of the two sinks."""
        raise NotImplementedError

    async def astream(self, case: Case, think: Sink, say: Sink) -> None:
        """The asynchronous twin of `stream`."""
        raise NotImplementedError

    def whole(self, case: Case) -> int:
        """Get an answer without streaming; return the number of characters seen."""
        raise NotImplementedError

    def prepare(self, messages: list[dict[str, Any]]) -> Any:
        """Turn a conversation into what the client's users hold. Not measured."""
        return messages

    def send(self, prepared: Any, case: Case) -> None:
        """Ask for a short answer to a prepared conversation."""
        raise NotImplementedError
