"""What the core's transport does for LlamaIndex users: credentials, retries, long streams."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from google.oauth2.credentials import Credentials
from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from kimi_vertex import AuthenticationError, InternalServerError, RequestStats
from kimi_vertex_emulator import Emulator, Raw, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import Chat, MakeLLM

HI = [ChatMessage("Hi")]
UNAUTHORISED = Raw(
    [b'{"error":{"code":401,"message":"Token expired.","status":"UNAUTHENTICATED"}}'], status=401
)


@pytest.fixture
def google(emulator: Emulator) -> Credentials:
    """A user's login, whose tokens come from the emulator."""
    emulator.require_token = True
    return Credentials(  # type: ignore[no-untyped-call]
        None, refresh_token="r", client_id="c", client_secret="s", token_uri=emulator.token_uri
    )


def tokens_used(emulator: Emulator) -> list[str]:
    """The token of each chat request, in order."""
    return [
        request.headers["authorization"].removeprefix("Bearer ")
        for request in emulator.requests
        if request.path.endswith("/chat/completions")
    ]


def test_google_credentials(emulator: Emulator, make_llm: MakeLLM, google: Credentials, chat: Chat) -> None:
    """Google's credentials get their token at the first call, and keep it for the next."""
    llm = make_llm(credentials=google)
    chat(llm, HI)
    chat(llm, HI)
    assert tokens_used(emulator) == emulator.issued_tokens * 2
    assert len(emulator.issued_tokens) == 1


def test_expired_token_is_renewed(emulator: Emulator, make_llm: MakeLLM, google: Credentials) -> None:
    """A token that has run out is renewed before the call."""
    google.token, google.expiry = "old", datetime(2026, 1, 1)  # noqa: DTZ001 - as google-auth writes it
    make_llm(credentials=google).chat(HI)
    assert tokens_used(emulator) == emulator.issued_tokens
    assert len(emulator.issued_tokens) == 1


def test_refused_token_is_renewed_once(emulator: Emulator, make_llm: MakeLLM, google: Credentials) -> None:
    """A 401 makes one refresh and one more try; a second 401 is an error."""
    llm = make_llm(credentials=google)
    emulator.enqueue(UNAUTHORISED, Turn(text="Hello."))
    assert llm.chat(HI).message.content == "Hello."
    assert len(emulator.issued_tokens) == 2
    emulator.enqueue(UNAUTHORISED, UNAUTHORISED)
    with pytest.raises(AuthenticationError):
        llm.chat(HI)


def test_cold_threads_share_one_token(emulator: Emulator, make_llm: MakeLLM, google: Credentials) -> None:
    """Sixteen threads that start together ask for one token."""
    llm = make_llm(credentials=google)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: llm.chat(HI).message.content, range(16)))
    assert len(answers) == 16
    assert len(emulator.issued_tokens) == 1


def test_overload_is_retried(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """An overloaded service is asked again when it said, in streams as well, by one layer only."""
    busy = Raw([b'{"error":{"code":503,"message":"Busy."}}'], status=503, headers={"retry-after": "0"})
    llm = make_llm(max_retries=2)
    emulator.enqueue(busy, busy, Turn(thinking="t", text="Hello."))
    assert chat(llm, HI)[-1].message.content == "Hello."
    assert len(emulator.requests) == 3
    emulator.enqueue(busy, busy, busy)
    with pytest.raises(Exception, match="Busy"):
        chat(llm, HI)
    assert len(emulator.requests) == 6


def test_retries_have_an_end(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """`max_retry_seconds` ends them, however long the service asks to wait."""
    emulator.enqueue(Raw([b"{}"], status=503, headers={"retry-after": "600"}))
    with pytest.raises(InternalServerError):
        chat(make_llm(max_retries=2, max_retry_seconds=1), HI)
    assert len(emulator.requests) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_of_many_chunks(emulator: Emulator, llm: KimiVertex, asynchronous: bool) -> None:
    """Hundreds of deltas, equal ones among them, all arrive."""
    emulator.enqueue(Turn(thinking=["hm "] * 400, text=["ha "] * 200))

    async def last() -> ChatResponse:
        responses: list[ChatResponse] = [response async for response in await llm.astream_chat(HI)]
        return responses[-1]

    response = asyncio.run(last()) if asynchronous else list(llm.stream_chat(HI))[-1]
    assert response.message.additional_kwargs["reasoning_content"] == "hm " * 400
    assert response.message.content == "ha " * 200


def test_figures_of_a_call(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """`on_request` is given the figures of each call."""
    seen: list[RequestStats] = []
    chat(make_llm(on_request=seen.append), HI)
    (stats,) = seen
    assert stats.attempts == 1
    assert stats.usage is not None
