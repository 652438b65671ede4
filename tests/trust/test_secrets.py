"""What `SECURITY.md` promises of secrets: each kind is planted, then looked for in every place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from pydantic import ValidationError

from kimi_vertex import KimiVertexClient, KimiVertexError
from kimi_vertex.fields import ClientFields
from kimi_vertex_emulator import Emulator, Raw
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

from .support_secrets import (
    ACCESS,
    API_KEY,
    ECHO,
    ENDS,
    JSON,
    MINTED,
    Finds,
    Plant,
    log,
    look_at,
    plants,
    request,
)

KINDS = ("token", "login", "login as a mapping", "key of a service account", "headers", "header")
REFUSED = [kind for kind in KINDS if kind != "login as a mapping"]  # whose token service is always Google's
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def plant(kind: str, emulator: Emulator, account: Mapping[str, str]) -> Plant:
    made = plants(emulator, account)
    assert tuple(made) == KINDS
    return made[kind]


@each_kind
def test_objects(plant: Plant, emulator: Emulator) -> None:
    """Neither what objects print, dump and pickle holds a secret, nor the errors of settings that are wrong."""
    finds = Finds()
    look_at(finds, plant, emulator.base_url)
    assert finds.of(plant.secrets) == []


@pytest.mark.parametrize(
    ("kind", "end"),
    [*((kind, "401") for kind in REFUSED), *(("login", end) for end in ENDS if end != "401")],
)
def test_requests(plant: Plant, end: str, emulator: Emulator) -> None:
    """Nor does what is logged, traced and raised, however a request ends, nor the variables of our frames."""
    assert run(plant, end, "sorry", emulator).of(plant.secrets) == []


@pytest.mark.parametrize(
    ("kind", "end"),
    [*(("headers", end) for end in ENDS), ("login", "401"), ("token", "a page for an answer")],
)
def test_echoes(plant: Plant, end: str, emulator: Emulator) -> None:
    """The same where the server repeats what it was sent; only variables and httpcore's log hold its very words."""
    found = run(plant, end, ECHO, emulator).of(plant.secrets)
    assert [place for place in found if "variables" not in place and "httpcore" not in place] == []


@pytest.mark.parametrize("kind", ["login"])
def test_a_token_service_that_repeats(plant: Plant, emulator: Emulator) -> None:
    """Nor do the errors of a token service that repeats what it was sent."""
    finds, words = Finds(), " ".join(plant.secrets)
    for _ in range(40):
        refusal = json.dumps({"error": "invalid_grant", "error_description": f"client_secret={words}"})
        emulator.enqueue(Raw([refusal.encode()], status=400, headers=JSON), route="token")
        emulator.enqueue(Raw([b"{}"], status=401, headers=JSON))
    with log(finds):
        request(finds, plant, emulator.base_url)
    assert any(asked.path == "/token" for asked in emulator.requests)
    assert finds.of(plant.secrets) == []


@pytest.mark.parametrize("kind", ["login", "headers"])
def test_without_a_server(plant: Plant, emulator: Emulator) -> None:
    """Nor the errors where nothing can be reached, or the conversation cannot be sent."""
    finds = Finds()
    with log(finds):
        request(finds, plant, emulator.base_url, messages=[])
        request(finds, plant, "http://127.0.0.1:9/v1")
    assert finds.of(plant.secrets) == []


@pytest.mark.parametrize("kind", ["token"])
def test_a_token_in_the_environment(
    plant: Plant, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token in `KIMI_VERTEX_ACCESS_TOKEN` shows as little as one that was passed, and is in no pickle."""
    for value in (ACCESS, f"{ACCESS}\nx", f"{ACCESS} x"):
        monkeypatch.setenv("KIMI_VERTEX_ACCESS_TOKEN", value)
        finds = Finds()
        look_at(finds, Plant({}, plant.secrets), "https://127.0.0.1:9")
        with log(finds):
            request(finds, Plant({}, plant.secrets), "https://127.0.0.1:9")
        assert finds.of(plant.secrets) == []


@pytest.mark.parametrize("make", [ChatKimiVertex, KimiVertex])
def test_what_pydantic_refuses(make: type[ClientFields]) -> None:
    """Where pydantic makes a model from a dict, its error prints none of the settings beside the wrong one."""
    with pytest.raises(ValidationError, match="temperature must be a valid number") as caught:
        make.model_validate({"temperature": "hot", "access_token": "hidden"})  # pydantic shows 50 characters
    assert "hidden" not in str(caught.value)


def test_headers_of_one_request(emulator: Emulator) -> None:
    """Headers that are passed with a request show as little where it fails as those of the settings."""
    finds, headers = Finds(), {"x-goog-api-key": API_KEY}
    for refused in ({}, {"temperature": 9}):
        emulator.enqueue(*[Raw([b"{}"], status=400)] * 4)
        client = KimiVertexClient(base_url=emulator.base_url)
        chat = ChatKimiVertex(base_url=emulator.base_url)
        options: Any = {"extra_headers": headers, **refused}
        for way in (client.complete, client.stream, chat.invoke, chat.bind(**options).invoke):
            with pytest.raises(KimiVertexError) as caught:
                list(cast("Any", way)("Hi", **options))
            finds.error("request", caught.value)
        client.close()
        chat.close()
    assert finds.of((API_KEY,)) == []


def run(plant: Plant, end: str, words: str, emulator: Emulator) -> Finds:
    finds = Finds()
    answer = json.dumps({"access_token": MINTED, "expires_in": 3600}).encode()
    for _ in range(40):
        emulator.enqueue(Raw([answer], headers=JSON), route="token")
        emulator.enqueue(ENDS[end](words))
    with log(finds):
        request(finds, plant, emulator.base_url)
    assert len(emulator.chat_requests) >= 12
    return finds
