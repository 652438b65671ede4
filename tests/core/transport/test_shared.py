"""What clients of one process share: connections, tokens and facts; with whom, and until when."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import pickle
import weakref
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.oauth2 import service_account

from kimi_vertex import KimiVertexClient
from kimi_vertex._transport import shared as registry
from kimi_vertex_emulator import Emulator, Raw

from ..support_core import nothing_left


def token_requests(emulator: Emulator) -> int:
    return sum(request.path == "/token" for request in emulator.requests)


def credentials_of(kind: str, account: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two values that mean the same credentials, in one of the forms that users have."""
    path = folder / "key.json"
    path.write_text(json.dumps(account))
    if kind == "object":
        given = service_account.Credentials.from_service_account_info(account)  # type: ignore[no-untyped-call]
        return given, given
    return {"path": (path, str(path)), "mapping": (account, dict(account))}[kind]


@pytest.mark.parametrize("kind", ["path", "mapping", "object"])
def test_one_target_costs_one_token_and_one_connection(
    emulator: Emulator, account: dict[str, str], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of one target with the same credentials, whatever model they ask for, make one token request."""
    one, two = credentials_of(kind, account, tmp_path, monkeypatch)
    clients = [
        KimiVertexClient(base_url=emulator.base_url, credentials=one),
        KimiVertexClient("moonshotai/other-maas", base_url=emulator.base_url, credentials=two, max_retries=0),
    ]
    for client in clients:
        assert client.complete("Hi").text
    assert token_requests(emulator) == 1
    # One to the service, and google-auth's own to the token service.
    assert emulator.connections_opened == 2
    assert clients[0].facts is clients[1].facts


def test_default_credentials_are_shared_as_the_environment_has_them(
    emulator: Emulator, account: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Application default credentials are one identity until the environment names others."""
    target = {"model": "moonshotai/kimi-k2-thinking-maas", "project": "my-proj"}
    first, second = KimiVertexClient(**target), KimiVertexClient(**target)  # type: ignore[arg-type]
    assert first._shared is second._shared
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "other.json"))
    assert KimiVertexClient(**target)._shared is not first._shared  # type: ignore[arg-type]


def test_different_credentials_share_nothing(emulator: Emulator, account: dict[str, str]) -> None:
    """Two credentials objects are two identities, even with the same content; so are two tokens, and none."""
    make = service_account.Credentials.from_service_account_info
    choices: list[dict[str, Any]] = [
        {"credentials": make(account)},  # type: ignore[no-untyped-call]
        {"credentials": make(account)},  # type: ignore[no-untyped-call]
        {"access_token": "a"},
        {"access_token": "b"},
        {},
    ]
    clients = [KimiVertexClient(base_url=emulator.base_url, **settings) for settings in choices]
    for client in clients:
        client.complete("Hi")
    assert token_requests(emulator) == 2
    assert len({id(client.facts) for client in clients}) == len(clients)
    chats = [request.bearer for request in emulator.requests if request.path != "/token"]
    assert len(set(chats)) == len(clients)


def test_targets_share_the_token_only(emulator: Emulator, account: dict[str, str]) -> None:
    """The same credentials get one token for all targets; what is learned of one is not true of another."""
    one = KimiVertexClient(base_url=emulator.base_url, credentials=account)
    two = KimiVertexClient(base_url=f"{emulator.origin}/v1", model="m", credentials=account)
    for client in (one, two):
        client.complete("Hi")
    assert token_requests(emulator) == 1
    assert one.facts is not two.facts


def test_own_http_clients_are_not_shared(emulator: Emulator) -> None:
    """A client with an HTTP client of the user's keeps it, and what is learned through it, to itself."""
    with httpx.Client() as own:
        mine = KimiVertexClient(base_url=emulator.base_url, http_client=own)
        other = KimiVertexClient(base_url=emulator.base_url)
        assert mine._clients.borrow() is own
        assert other._clients.borrow() is not own
        assert mine.facts is not other.facts
        assert copy.copy(mine)._clients.borrow() is own
    other.close()


def test_the_last_user_closes(emulator: Emulator) -> None:
    """`close` leaves the connections open as long as another client uses them."""
    with nothing_left(emulator):
        one, two = KimiVertexClient(base_url=emulator.base_url), KimiVertexClient(base_url=emulator.base_url)
        one.complete("Hi")
        two.complete("Hi")
        one.close()
        two.complete("Hi")
        assert emulator.connections_opened == 1
        two.close()


async def test_the_last_user_closes_async(emulator: Emulator) -> None:
    """The same with `aclose`."""
    one, two = KimiVertexClient(base_url=emulator.base_url), KimiVertexClient(base_url=emulator.base_url)
    await asyncio.gather(one.acomplete("Hi"), two.acomplete("Hi"))
    opened = emulator.connections_opened
    await one.aclose()
    await two.acomplete("Hi")
    assert emulator.connections_opened == opened
    await two.aclose()


def test_who_closes_twice_or_never_used_it_closes_for_nobody_else(emulator: Emulator) -> None:
    """Closing again, or without a request, does not count for another client."""
    used, idle = KimiVertexClient(base_url=emulator.base_url), KimiVertexClient(base_url=emulator.base_url)
    used.complete("Hi")
    for _ in range(2):
        idle.close()
    used.complete("Hi")
    assert emulator.connections_opened == 1
    used.close()


def test_nothing_outlives_the_clients(emulator: Emulator) -> None:
    """Forgotten clients leave neither connections nor entries in the registry behind."""
    with nothing_left(emulator):
        clients = [
            KimiVertexClient(base_url=emulator.base_url, access_token=f"token-{number}")
            for number in range(20)
        ]
        assert all(client.complete("Hi").text for client in clients)
        held = [weakref.ref(client._shared) for client in clients]
        clients.clear()
        gc.collect()
        assert [each() for each in held] == [None] * 20
        assert not any("token-" in repr(key) for key in [*registry._SHARED, *registry._TOKENS])


def test_an_unpickled_client_shares(emulator: Emulator) -> None:
    """In the process where it arrives, a pickled client shares with those that are there."""
    client = KimiVertexClient(base_url=emulator.base_url)
    twin = pickle.loads(pickle.dumps(client))
    assert twin.facts is client.facts


@pytest.mark.parametrize("choice", ["required", "add"])
def test_a_refused_choice_is_learned_for_all(emulator: Emulator, choice: str) -> None:
    """What one client is refused, no other client of the target asks for again; the fact says how it was learned."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    words = b'{"error": {"message": "tool_choice is incompatible with thinking enabled"}}'
    emulator.enqueue(Raw([words], status=400))
    clients = [KimiVertexClient(base_url=emulator.base_url) for _ in range(2)]
    for client in clients:
        client.complete("Hi", tools=[tool], tool_choice=choice)
    assert [request.json["tool_choice"] == "auto" for request in emulator.requests] == [False, True, True]
    (fact,) = [fact for name, fact in clients[1].facts.items() if name.startswith("refuses_forced_choice")]
    assert fact.value is True
    assert fact.how.count("HTTP 400") == 1
    assert fact.until is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_fork_while_the_registry_is_locked(emulator: Emulator) -> None:
    """A child can make clients although a thread of its parent held the registry's lock."""
    with registry._LOCK:
        child = os.fork()
        if child == 0:
            try:
                code = 0 if KimiVertexClient(base_url=emulator.base_url).complete("Hi").text else 1
            except BaseException:
                code = 2
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
