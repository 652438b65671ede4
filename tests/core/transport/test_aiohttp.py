"""An `http_async_client` over aiohttp, the recipe of docs/performance.md for very many streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from kimi_vertex import APIConnectionError, KimiVertexClient, StreamInterruptedError, TextDelta
from kimi_vertex_emulator import Emulator, Raw, Turn

from ..support_core import GOOD_STREAM, TEXT, THINKING


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[KimiVertexClient]:
    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )

    async with httpx.AsyncClient(transport=AiohttpTransport(client=session)) as over_aiohttp:
        yield KimiVertexClient(base_url=emulator.base_url, http_async_client=over_aiohttp, max_retries=0)


async def test_answers_arrive_whole_and_streamed(emulator: Emulator, client: KimiVertexClient) -> None:
    """Thinking and text are those of the turn, in both forms."""
    turn = Turn(thinking=["One. ", "Two."], text=["Hel", "lo \u2028"])
    emulator.enqueue(turn, turn)
    whole = await client.acomplete("Hi")
    async with client.astream("Hi") as stream:
        events = [event async for event in stream]
    assert (whole.thinking, whole.text) == ("One. Two.", "Hello \u2028")
    assert (stream.completion.thinking, stream.completion.text) == (whole.thinking, whole.text)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hel", "lo \u2028"]


async def test_a_cut_stream_is_interrupted(emulator: Emulator, client: KimiVertexClient) -> None:
    """A connection that goes away in the answer is the same error, with what had come."""
    emulator.enqueue(Raw([THINKING, TEXT, "cut"]))
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in client.astream("Hi"):
            pass
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello"


async def test_nobody_at_the_address(client: KimiVertexClient, emulator: Emulator) -> None:
    """A server that is gone is a connection error."""
    emulator.stop()
    with pytest.raises(APIConnectionError):
        await client.acomplete("Hi")


async def test_a_stream_that_is_left_frees_its_connection(
    emulator: Emulator, client: KimiVertexClient
) -> None:
    """Leaving early closes the connection at once, and the next call works."""
    emulator.enqueue(Raw([*GOOD_STREAM[:2], 5.0]))
    async with client.astream("Hi") as stream:
        await anext(stream)
    async with asyncio.timeout(2):
        while emulator.open_connections:  # aiohttp closes it in the loop's next turns
            await asyncio.sleep(0.01)
    assert (await client.acomplete("Hi")).text
