"""What Google, a model server or a gateway answers: the first 120 characters say what happened and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import Emulator, Raw

from .support_errors import CLASSES, ENDPOINT, REGION, Rerouted, each_class, first_words
from .support_page import PAGE, written
from .support_service import DNS, HERE, ROWS, SERVER, SHARED, TOOLS, google, vllm

SOME = ("API key", "role", "quota", "too slow", "too long")
"""Rows of each kind for both frameworks, whose classes pass an error on as it is."""


@pytest.fixture
def google_client(lenient_emulator: Emulator) -> Iterator[httpx.Client]:
    """An HTTP client for which the emulator is every host."""
    with httpx.Client(transport=Rerouted(lenient_emulator)) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "row"),
    [*product(["KimiVertexClient"], ROWS), *product(["ChatKimiVertex", "KimiVertex"], SOME)],
)
def test_statuses(name: str, row: str, lenient_emulator: Emulator, google_client: httpx.Client) -> None:
    """The news comes first, the next step second; the address is last, whatever its length."""
    ask, (settings, status, body, words) = CLASSES[name], ROWS[row]
    lenient_emulator.enqueue(*[Raw([body] if body else [], status=status)] * 4)
    common = {"access_token": "t", "max_retries": 0, "http_client": google_client}
    seen = first_words(ask, {**settings, **common})
    assert [word for word in words if word not in seen] == [], seen


@each_class
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"model": "moonshotai/Kimi-K2.6"},
            "start vLLM with --enable-auto-tool-choice --tool-call-parser kimi_k2",
        ),
        (
            {"model": "moonshotai/Kimi-K3"},
            "start vLLM with --enable-auto-tool-choice --tool-call-parser kimi_k3",
        ),
        ({"model": "kimi-k3.1-pro", "server": "sglang"}, "start SGLang with --tool-call-parser kimi_k3"),
    ],
    ids=["K2", "K3", "SGLang"],
)
def test_the_flags_are_the_models_own(
    ask: Any, settings: Any, words: str, lenient_emulator: Emulator, google_client: httpx.Client
) -> None:
    """A server without a tool parser is to be started with that of the model and the engine that are in use."""
    lenient_emulator.enqueue(*[Raw([vllm(400, "BadRequestError", TOOLS)], status=400)] * 4)
    common = {"access_token": "t", "max_retries": 0, "http_client": google_client}
    assert words in first_words(ask, {**HERE, **settings, **common})


@each_class
def test_a_web_page(ask: Any, lenient_emulator: Emulator, google_client: httpx.Client) -> None:
    """A login page with status 200 is not an answer; the error says where to look."""
    page = Raw([b"<html>Sign in</html>"], headers={"content-type": "text/html"})
    lenient_emulator.enqueue(page)
    seen = first_words(ask, {**SERVER, "access_token": "t", "max_retries": 0, "http_client": google_client})
    assert "web page" in seen
    assert "Check base_url" in seen


@each_class
def test_the_dedicated_host_is_gone_to(ask: Any, lenient_emulator: Emulator) -> None:
    """Where the service names the endpoint's own host, the request goes on there."""
    lenient_emulator.enqueue(Raw([b"{}"], status=403), route="endpoint")
    lenient_emulator.enqueue(Raw([google(400, "FAILED_PRECONDITION", SHARED)], status=400))
    with Rerouted(lenient_emulator) as transport, httpx.Client(transport=transport) as client:
        ask({"endpoint": ENDPOINT, "access_token": "t", "http_client": client}, {})
        assert transport.urls[-1].startswith(f"https://{DNS}/v1/")


@each_class
def test_another_host_is_not_gone_to(ask: Any, lenient_emulator: Emulator) -> None:
    """A host that a body names is gone to only if it is this endpoint's by its name."""
    other = SHARED.replace(DNS, f"99.{REGION}-456789.prediction.vertexai.goog")
    lenient_emulator.enqueue(Raw([b"{}"], status=403), route="endpoint")
    lenient_emulator.enqueue(*[Raw([google(400, "FAILED_PRECONDITION", other)], status=400)] * 3)
    with Rerouted(lenient_emulator) as transport, httpx.Client(transport=transport) as client:
        first_words(ask, {"endpoint": ENDPOINT, "access_token": "t", "http_client": client})
        assert all("us-central1-aiplatform.googleapis.com" in url for url in transport.urls)


@each_class
def test_a_lookup_that_was_refused(ask: Any, lenient_emulator: Emulator, google_client: httpx.Client) -> None:
    """If the endpoint's own host could not be looked up, the error that follows begins with that."""
    lenient_emulator.enqueue(Raw([b"{}"], status=403), route="endpoint")
    lenient_emulator.enqueue(*[Raw([google(404, "NOT_FOUND", "Not found.")], status=404)] * 3)
    seen = first_words(ask, {"endpoint": ENDPOINT, "access_token": "t", "http_client": google_client})
    assert "could not be looked up (HTTP 403)" in seen
    assert "pass endpoint_host=" in seen


def test_the_page_says_the_same() -> None:
    """docs/troubleshooting.md holds what users are told, word for word."""
    assert PAGE.read_text(encoding="utf-8") == written(), "run: make docs-output ARGS=docs/troubleshooting.md"
