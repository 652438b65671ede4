"""The connection pools of many calls at a time: how many there are, and who gives back what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from kimi_vertex import Finish, KimiVertexClient
from kimi_vertex._transport.clients import Clients, _Pools
from kimi_vertex_emulator import Emulator

from ..support_core import ENDLESS, wait_until


@pytest.fixture
def client(emulator: Emulator) -> KimiVertexClient:
    return KimiVertexClient(base_url=emulator.base_url)


MANY = 60


async def test_many_streams_have_several_pools(emulator: Emulator, client: KimiVertexClient) -> None:
    """No pool has more than ten streams, and when they are over, all pools but five are closed."""
    streams = [client.astream("Hi") for _ in range(MANY)]
    for stream in streams:
        await anext(stream)
    [(pools, _)] = client._clients._by_loop.values()
    assert list(pools._running.values()) == [10] * (MANY // 10)
    for stream in streams:
        await stream.aclose()
    assert list(pools._running.values()) == [0] * 5
    assert (await client.acomplete("Hi")).text
    await client.aclose()
    wait_until(lambda: emulator.open_connections == 0)


def test_blocking_streams_have_a_pool_each(emulator: Emulator, client: KimiVertexClient) -> None:
    """So that each knows its connection; `close` leaves them their pools, and opens a new one for what comes after."""
    streams = [client.stream("Hi") for _ in range(12)]
    for stream in streams:
        next(stream)
    pools = client._clients._pools
    assert pools is not None
    assert list(pools._running.values()) == [1] * 12
    client.close()
    assert client.complete("Hi").text
    assert list(pools._running.values()) == [*[1] * 12, 0]
    assert all(isinstance(list(stream)[-1], Finish) for stream in streams)
    assert list(pools._running.values()) == [0]
    client.close()
    wait_until(lambda: emulator.open_connections == 0)


def test_the_first_pool_with_room_is_taken() -> None:
    """Pools fill up one by one, so that the last ones run empty; of the empty ones, the last are given up."""
    pools = _Pools(lambda: httpx.Client(trust_env=False))
    lent = [pools.borrow() for _ in range(71)]
    clients = list(dict.fromkeys(lent))
    assert [lent.count(client) for client in clients] == [10] * 7 + [1]
    assert pools.give_back(clients[0]) is None
    assert pools.borrow() is clients[0]
    given_up = [pools.give_back(client) for client in lent]
    assert [client for client in given_up if client is not None] == [clients[5], clients[6], clients[7]]
    assert pools.clients == clients[:5]
    for client in clients:
        client.close()


def test_a_call_may_end_while_a_pool_is_made() -> None:
    """The garbage collector ends forgotten streams at any moment, also in the middle of lending a client."""
    clients = Clients(loopback=True)
    lent = [clients.borrow() for _ in range(2)]
    assert clients._pools is not None

    def make() -> httpx.Client:
        clients.give_back(lent[0])
        return httpx.Client(trust_env=False)

    clients._pools._make = make
    assert clients.borrow() is not lent[0]
    assert list(clients._pools._running.values()) == [0, 1, 1]
    for client in clients._pools.clients:
        client.close()


class _SlowToClose(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        await asyncio.sleep(0.5)
        await self._stream.aclose()


class _SlowTransport(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        stream = _SlowToClose(response.stream)
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)


class _SlowClients(Clients):
    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "transport": _SlowTransport()}


async def test_a_call_that_is_cancelled_twice_gives_its_client_back(
    emulator: Emulator, client: KimiVertexClient
) -> None:
    """A second cancellation, while the connection is being closed, costs the pool no place."""
    emulator.enqueue(ENDLESS)
    clients = client._shared._clients = _SlowClients(loopback=True)
    begun = asyncio.Event()

    async def read() -> None:
        async with client.astream("Hi") as stream:
            async for _ in stream:
                begun.set()
                await asyncio.sleep(60)

    task = asyncio.create_task(read())
    await begun.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await task
    [(pools, _)] = clients._by_loop.values()
    assert list(pools._running.values()) == [0]
    await client.aclose()
