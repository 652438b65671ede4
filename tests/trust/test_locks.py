"""Locks in a forked child: threads of the parent that are not there cannot hold them."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from kimi_vertex import KimiVertexClient
from kimi_vertex._auth.imports import IMPORTING
from kimi_vertex_emulator import Emulator

SHARED = {"kimi_vertex._transport.shared"}
RENEWED = {
    "kimi_vertex._transport.shared",
    "kimi_vertex._exchange.line.Held",
    "kimi_vertex._transport.clients.Clients",
    "kimi_vertex._auth.tokens.TokenSource",
    "kimi_vertex._auth.tokens._SingleFlight",
}
REPLACED = {"kimi_vertex._transport.limits.Guard", "kimi_vertex._transport.clients._NoCookies"}
"""Of objects that `Clients` has others for in the child: the old ones may be there, and are not used."""
FOR_ONE_REFRESH = {"kimi_vertex._auth.google._Request"}
"""google-auth's own, in a transport that lives while a token is fetched."""
LOCKS = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Condition,
    threading.Event,
    threading.Semaphore,
)
PACKAGES = ("kimi_vertex", "langchain_kimi_vertex", "llama_index_kimi_vertex")


def ours() -> Iterator[tuple[str, Any]]:
    """Every lock in a module of ours, or in an object of a class of ours, by its place.

    A fork waits for `IMPORTING`, so that no other thread can hold it in the child.
    """
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in PACKAGES:
            yield from (
                (f"{name}.{key}", value) for key, value in vars(module).items() if isinstance(value, LOCKS)
            )
    for item in gc.get_objects():
        kind = type(item)
        if str(kind.__module__).partition(".")[0] in PACKAGES:
            names = {slot for base in kind.__mro__ for slot in getattr(base, "__slots__", ())}
            for name in sorted(names | set(getattr(item, "__dict__", ()))):
                value = getattr(item, name, None)
                if isinstance(value, LOCKS):
                    yield f"{kind.__module__}.{kind.__name__}.{name}", value


def locks() -> list[tuple[str, Any]]:
    return [(place, lock) for place, lock in ours() if lock is not IMPORTING]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_each_is_new_in_a_child(emulator: Emulator) -> None:
    """All that another thread holds at the fork are free in the child, which makes a request with them."""
    # What other tests have left behind is not a client's: nothing renews it.
    others = {id(lock): lock for place, lock in locks() if place.rpartition(".")[0] not in SHARED}
    credentials = Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri
    )
    client = KimiVertexClient(base_url=emulator.base_url, credentials=credentials)
    client.complete("Hi")
    gc.collect()
    found = locks()
    names = {place.rpartition(".")[0] for place, _ in found}
    assert names - FOR_ONE_REFRESH == RENEWED | REPLACED, (
        "a new lock: renew it in a forked child, and name it here"
    )
    held, done = threading.Event(), threading.Event()

    found = [(place, lock) for place, lock in found if id(lock) not in others]

    def hold() -> None:
        for _, lock in found:
            lock.acquire()
        held.set()
        done.wait(30)
        for _, lock in found:
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is the point
        child = os.fork()
    if child == 0:
        code = 1
        try:
            gc.collect()
            free = all(
                lock.acquire(timeout=5) and (lock.release() or True)
                for place, lock in locks()
                if place.rpartition(".")[0] in RENEWED and id(lock) not in others
            )
            code = 0 if free and client.complete("Hi").text else 2
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    done.set()
    holder.join()
    client.close()
    assert os.waitstatus_to_exitcode(status) == 0
