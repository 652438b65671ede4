"""What a user sees of an error: its first 120 characters, through each of the three classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from llama_index.core.llms import ChatMessage

from kimi_vertex import KimiVertexClient, KimiVertexError
from kimi_vertex_emulator import Emulator
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

SEEN: Final = 120
PROJECT: Final = "acme-ml-prod"
REGION: Final = "us-central1"
ENDPOINT_ID: Final = "1234567890123456789"
ENDPOINT: Final = f"projects/{PROJECT}/locations/{REGION}/endpoints/{ENDPOINT_ID}"
MANAGED: Final = "moonshotai/kimi-k2-thinking-maas"


ASK: Final[dict[Any, Callable[[Any, dict[str, Any]], Any]]] = {
    KimiVertexClient: lambda client, options: client.complete("Hi", **options),
    ChatKimiVertex: lambda chat, options: chat.invoke("Hi", **options),
    KimiVertex: lambda llm, options: llm.chat([ChatMessage("Hi")], **options),
}


def _made(make: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    return lambda settings, options: ASK[make](make(**settings), options)


CLASSES: Final = {make.__name__: _made(make) for make in ASK}
each_class = pytest.mark.parametrize("ask", CLASSES.values(), ids=CLASSES)


def first_words(
    ask: Callable[..., Any], settings: dict[str, Any], options: dict[str, Any] | None = None
) -> str:
    """What is seen of the error that a request, or the class before it, ends in."""
    with pytest.raises(KimiVertexError) as caught:
        ask({"pace": None, **settings}, options or {})
    return str(caught.value)[:SEEN]


class Rerouted(httpx.HTTPTransport):
    """Carries requests for Google's hosts to an emulator."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(verify=False)  # an emulator speaks plain http; reading the authorities takes a while
        self._origin = httpx.URL(emulator.origin)
        self.urls: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        origin = self._origin
        request.url = request.url.copy_with(scheme=origin.scheme, host=origin.host, port=origin.port)
        return super().handle_request(request)
