"""What the drivers tell of a request on its way out."""

from __future__ import annotations

import httpx
import pytest

from kimi_vertex import KimiVertexClient, Timeouts
from kimi_vertex._exchange.commands import Authorize, Drain, Flow, Request, Send
from kimi_vertex._secrets import Hidden
from kimi_vertex._transport.drivers import AsyncDriver, SyncDriver
from kimi_vertex_emulator import Emulator

from ..support_core import SIDES


@pytest.mark.parametrize("side", SIDES)
async def test_it_is_told_when_a_request_is_written(emulator: Emulator, side: str) -> None:
    """`Send.sent` is called before the head comes, and hooks of the user's still find the whole body."""
    news: list[str] = []

    def hook(request: httpx.Request) -> None:
        news.append(request.content.decode())

    async def ahook(request: httpx.Request) -> None:
        hook(request)

    with httpx.Client(event_hooks={"request": [hook]}) as own:
        async with httpx.AsyncClient(event_hooks={"request": [ahook]}) as aown:
            client = KimiVertexClient(base_url=emulator.base_url, http_client=own, http_async_client=aown)

            def flow() -> Flow:
                yield Authorize()
                request = Request("POST", f"{emulator.base_url}/chat/completions", Hidden({}), b"{}")
                yield Send(request, lambda: news.append("sent"))
                news.append("head")
                yield Drain()

            if side == "sync":
                list(SyncDriver(client._clients, None, Timeouts()).run(flow()))
            else:
                [_ async for _ in AsyncDriver(client._clients, None, Timeouts()).run(flow())]
    assert news == ["{}", "sent", "head"]
