"""One model object over its life: settings, secrets, copies, pickles, threads, loops, errors, closing."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import logging
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import httpx
import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.extractors import TitleExtractor
from llama_index.core.llms.function_calling import FunctionCallingLLM

import kimi_vertex
from kimi_vertex import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    RateLimitError,
    StreamInterruptedError,
    Timeouts,
)
from kimi_vertex_emulator import Emulator, Raw, Turn
from llama_index_kimi_vertex import KimiVertex

from .conftest import Chat, MakeLLM, Recorder

HI = [ChatMessage("Hi")]
SECRET = "ya29.secret-token"


def test_class() -> None:
    """`KimiVertex` is a function-calling LLM with a stable name, defined where pickles look for it."""
    names = [cls.__name__ for cls in KimiVertex.__mro__]
    assert BaseLLM.__name__ in names
    assert issubclass(KimiVertex, FunctionCallingLLM)
    assert KimiVertex.class_name() == "KimiVertex"
    assert KimiVertex.__module__ == "llama_index_kimi_vertex.base"


def test_arguments_are_the_fields() -> None:
    """What help, editors and type checkers know as arguments are the fields, each with its type."""
    arguments = inspect.signature(KimiVertex).parameters
    assert arguments.keys() == KimiVertex.model_fields.keys()
    assert arguments["temperature"].annotation == (float | None)


@pytest.mark.parametrize(
    "settings",
    [
        {"location": "not a location"},
        {"project": "Not A Project"},
        {"endpoint": "projects/p/locations/"},
        {"base_url": "ftp://example.com"},
        {"max_retries": -1},
        {"additional_kwargs": {"temprature": 1}},
        {"additional_kwargs": {"extra_headers": {"x-key": "secret"}}},
    ],
    ids=lambda settings: str(next(iter(settings.values()))),
)
def test_bad_settings_raise_at_construction(settings: dict[str, Any]) -> None:
    """A bad setting is one clear error at once."""
    with pytest.raises(ConfigurationError):
        KimiVertex(**cast("Any", {"project": "my-project", "access_token": "t", **settings}))


def test_model_by_its_place(make_llm: MakeLLM) -> None:
    """The model may be given without its name, or as `model_name`, as in other integrations, but not twice."""
    make: Any = KimiVertex
    assert (
        make(model_name="moonshotai/Kimi-K2.5", base_url="http://127.0.0.1:1/v1").model
        == "moonshotai/Kimi-K2.5"
    )
    assert make("moonshotai/Kimi-K2.5", base_url="http://127.0.0.1:1/v1").model == "moonshotai/Kimi-K2.5"
    with pytest.raises(ConfigurationError, match="twice"):
        make("a/b", model="a/b", base_url="http://127.0.0.1:1/v1")


def test_misspelt_setting() -> None:
    """A setting that does not exist is refused instead of ignored."""
    with pytest.raises(ConfigurationError, match=r"no setting 'temprature'. Did you mean 'temperature'"):
        KimiVertex(project="my-project", temprature=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "messages",
    [
        [
            ChatMessage(
                blocks=[
                    TextBlock(text="What?"),
                    ImageBlock(image=b"\x89PNG\r\n\x1a\n", image_mimetype="image/png"),
                ]
            )
        ],
        [
            ChatMessage("Hi"),
            ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "nobody"}),
        ],
        [ChatMessage.model_construct(role="oracle", blocks=[TextBlock(text="x")], additional_kwargs={})],
        [],
    ],
    ids=["image", "orphan result", "role", "nothing"],
)
def test_bad_input_raises_before_anything_is_sent(
    emulator: Emulator, llm: KimiVertex, messages: list[ChatMessage]
) -> None:
    """Input that the model cannot be given raises, sync and async, streaming and not, and sends nothing."""

    async def collect() -> None:
        async for _ in await llm.astream_chat(messages):
            pass

    for call in (
        lambda: llm.chat(messages),
        lambda: list(llm.stream_chat(messages)),
        lambda: asyncio.run(llm.achat(messages)),
        lambda: asyncio.run(collect()),
    ):
        with pytest.raises(InvalidRequestError):
            call()
    assert emulator.requests == []


def test_images_reach_a_model_that_reads_them(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """For a model with vision an image goes out as a data URL."""
    block = ImageBlock(image=b"\x89PNG\r\n\x1a\n", image_mimetype="image/png")
    chat(make_llm(model="moonshotai/kimi-k2.5"), [ChatMessage(blocks=[TextBlock(text="What?"), block])])
    parts = emulator.requests[-1].json["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_no_secret_anywhere(make_llm: MakeLLM, recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """A static token and private headers are in no dict, JSON, repr, payload, event or log record."""
    with caplog.at_level(logging.DEBUG):
        llm = make_llm(access_token=SECRET, extra_headers={"x-key": "private-header"})
        list(llm.stream_complete("Hi"))
        seen = [
            json.dumps(llm.to_dict()),
            llm.to_json(),
            repr(llm),
            str(llm),
            repr(llm.client),
            str(llm.to_payload()),
            caplog.text,
            *(str(event.model_dump()) for event in recorder.events),
        ]
    assert recorder.events
    for text in seen:
        assert SECRET not in text
        assert "private-header" not in text


def test_api_key_is_the_access_token(emulator: Emulator, make_llm: MakeLLM) -> None:
    """`api_key` is another name for `access_token`."""
    make_llm(api_key=SECRET).chat(HI)
    assert emulator.requests[-1].bearer == SECRET


def test_dict_round_trip(make_llm: MakeLLM) -> None:
    """`to_dict` and `from_dict`, also over JSON, give an equal model."""
    llm = make_llm(
        temperature=0.4, stop=["END"], timeout=Timeouts(idle=9), extra_body={"a": 1}, max_tokens=50
    )
    llm.chat(HI)
    again = KimiVertex.from_dict(json.loads(json.dumps(llm.to_dict())))
    assert again.to_dict() == llm.to_dict()
    assert again.timeout == Timeouts(idle=9)
    assert again.chat(HI).message == llm.chat(HI).message


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "copy", "model_copy"])
def test_copies_of_a_used_model(emulator: Emulator, make_llm: MakeLLM, how: str) -> None:
    """A model that has been used, sync and async, can be copied, and the copy works."""
    llm = make_llm(temperature=0.4, access_token=None if how == "pickle" else SECRET)
    llm.chat(HI)
    asyncio.run(llm.achat(HI))
    copies: dict[str, Callable[[KimiVertex], KimiVertex]] = {
        "pickle": lambda model: pickle.loads(pickle.dumps(model)),
        "deepcopy": copy.deepcopy,
        "copy": copy.copy,
        "model_copy": lambda model: model.model_copy(update={"temperature": 0.5}),
    }
    twin = copies[how](llm)
    assert twin.chat(HI).message.content
    assert emulator.requests[-1].bearer == (None if how == "pickle" else SECRET)
    assert emulator.requests[-1].json["temperature"] == (0.5 if how == "model_copy" else 0.4)
    assert llm.temperature == 0.4


@pytest.mark.parametrize("secret", [{"access_token": SECRET}, {"credentials": {"private_key": SECRET}}])
def test_no_secret_is_pickled(make_llm: MakeLLM, secret: dict[str, Any]) -> None:
    """A model that holds a token or a key is not pickled, and the error says what to do; its copies share them."""
    llm = make_llm(**secret)
    with pytest.raises(ConfigurationError, match=r"credentials=PATH, or build the model in the worker"):
        pickle.dumps(llm)
    for twin in (copy.copy(llm), copy.deepcopy(llm)):
        assert twin.credentials == llm.credentials
        assert twin.access_token == llm.access_token


def test_refusal_is_said_where_the_framework_hides_it(
    make_llm: MakeLLM, caplog: pytest.LogCaptureFixture
) -> None:
    """A component drops an LLM that refuses to be pickled; the log says why, and the key stays out of the pickle."""
    written = pickle.dumps(TitleExtractor(llm=make_llm(access_token=SECRET)))
    assert SECRET.encode() not in written
    assert "build the model in the worker" in caplog.text


def test_credentials_path_is_pickled(make_llm: MakeLLM) -> None:
    """The path of a credentials file travels: it is not a secret, and the file is read where the model is used."""
    llm = make_llm(credentials="/key.json")
    assert pickle.loads(pickle.dumps(llm)).credentials == "/key.json"


def test_copies_share_nothing_that_changes(make_llm: MakeLLM) -> None:
    """Changing a deep copy's settings leaves the original."""
    llm = make_llm(extra_body={"a": {"b": 1}})
    twin = copy.deepcopy(llm)
    assert twin.extra_body is not None
    twin.extra_body["a"]["b"] = 2
    twin.temperature = 0.9
    assert llm.extra_body == {"a": {"b": 1}}
    assert llm.temperature is None


def test_what_cannot_travel_stays_behind(make_llm: MakeLLM, caplog: pytest.LogCaptureFixture) -> None:
    """A pickle leaves out own HTTP clients and local callbacks; the rest arrives."""
    with httpx.Client() as client:
        llm = make_llm(http_client=client, on_thinking=lambda text: None, on_wait=print)
        assert llm.chat(HI).message.content
        twin = pickle.loads(pickle.dumps(llm))
        assert copy.deepcopy(llm).http_client is client
    assert twin.http_client is None
    assert (twin.on_thinking, twin.on_wait) == (None, print)
    assert len([record for record in caplog.records if "leaves out on_thinking" in record.message]) == 1
    assert twin.chat(HI).message.content


def test_several_event_loops(make_llm: MakeLLM) -> None:
    """One model serves one event loop after another."""
    llm = make_llm()
    answers = [asyncio.run(llm.achat(HI)).message.content for _ in range(3)]
    assert len(set(answers)) == 1


def test_threads(emulator: Emulator, llm: KimiVertex) -> None:
    """One model serves many threads at once, streaming or not, without mixing answers."""

    def ask(number: int) -> bool:
        question = [ChatMessage(f"Say number {number} back.")]
        if number % 2:
            content = llm.chat(question).message.content
        else:
            content = list(llm.stream_chat(question))[-1].message.content
        return f"number {number} back" in (content or "")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(24)))
    assert len(emulator.requests) == 24


async def test_many_at_once(llm: KimiVertex) -> None:
    """One event loop runs fifty calls at once."""
    answers = await asyncio.gather(*(llm.achat([ChatMessage(f"Say number {n} back.")]) for n in range(50)))
    assert [f"number {n} back" in (a.message.content or "") for n, a in enumerate(answers)] == [True] * 50


def test_errors_keep_their_type(emulator: Emulator, llm: KimiVertex, chat: Chat) -> None:
    """The service's errors arrive as the core's types, with their status."""
    body = b'[{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED"}}]'
    emulator.enqueue(Raw([body], status=429), Raw([body.replace(b"429", b"404")], status=404))
    with pytest.raises(RateLimitError) as caught:
        chat(llm, HI)
    assert caught.value.status_code == 429
    with pytest.raises(NotFoundError):
        chat(llm, HI)


PIECE = (
    b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"I greet."},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"Hello fr"},"finish_reason":null}]}\n\n'
)


@pytest.mark.parametrize(
    "parts",
    [
        [PIECE],
        [PIECE, "cut"],
        [PIECE, "reset"],
        [PIECE, b'data: {"error":{"code":503,"message":"Overloaded.","status":"UNAVAILABLE"}}\n\n'],
        [PIECE, b'data: [{"error":{"code":503,"message":"Overloaded.","status":"UNAVAILABLE"}}]\n\n'],
    ],
    ids=["clean close", "cut", "reset", "error object", "error list"],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_broken_streams_raise_with_what_came(
    emulator: Emulator, llm: KimiVertex, parts: list[Any], asynchronous: bool
) -> None:
    """A stream that breaks off gives its pieces, then raises with the partial answer; it never ends quietly."""
    emulator.enqueue(Raw(parts))
    got: list[str | None] = []

    async def collect() -> None:
        async for response in await llm.astream_chat(HI):
            got.append(response.delta)  # noqa: PERF401 - what came before the error counts

    def collect_sync() -> None:
        for response in llm.stream_chat(HI):
            got.append(response.delta)  # noqa: PERF401 - likewise

    with pytest.raises(kimi_vertex.APIError) as caught:
        asyncio.run(collect()) if asynchronous else collect_sync()
    assert got == ["", "Hello fr"]
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello fr"
    if len(parts) == 1:
        assert isinstance(caught.value, StreamInterruptedError)


LONG = Turn(thinking=["hm "] * 200, text="never", pause=0.02)


def closes(emulator: Emulator) -> bool:
    """Whether the client's connections are gone long before the answer would have ended."""
    deadline = time.monotonic() + 1.5
    while emulator.open_connections and time.monotonic() < deadline:
        time.sleep(0.02)
    return emulator.open_connections == 0


@pytest.fixture(params=["no handler", "a handler"])
def maybe_handled(request: pytest.FixtureRequest) -> None:
    """With a handler, LlamaIndex's own generator is around ours, and does not close it."""
    if request.param == "a handler":
        request.getfixturevalue("recorder")


@pytest.mark.usefixtures("maybe_handled")
@pytest.mark.parametrize("how", ["close", "break"])
def test_closing_a_sync_stream_frees_the_connection(emulator: Emulator, llm: KimiVertex, how: str) -> None:
    """A stream that is closed or left alone stops the answer, without a garbage collection."""
    emulator.enqueue(LONG)
    stream = llm.stream_chat(HI)
    for _ in stream:
        break
    assert emulator.open_connections == 1
    if how == "close":
        stream.close()
    del stream
    assert closes(emulator)


@pytest.mark.usefixtures("maybe_handled")
@pytest.mark.parametrize("how", ["aclose", "cancel"])
async def test_leaving_an_async_stream_frees_the_connection(
    emulator: Emulator, llm: KimiVertex, how: str
) -> None:
    """A stream that is closed or whose task is cancelled stops the answer."""
    emulator.enqueue(LONG)
    started = asyncio.Event()

    async def consume() -> None:
        stream = await llm.astream_chat(HI)
        async for _ in stream:
            started.set()
            if how == "aclose":
                await stream.aclose()
                return

    task = asyncio.create_task(consume())
    await started.wait()
    if how == "cancel":
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(closes, emulator)


def test_text_separators(emulator: Emulator, llm: KimiVertex, chat: Chat) -> None:
    """U+2028, U+2029, U+0085 and an emoji come through intact."""
    text = "a\u2028b\u2029c\u0085d\U0001f680e"
    emulator.enqueue(Turn(thinking=text, text=text))
    message = chat(llm, HI)[-1].message
    assert message.content == text
    assert message.additional_kwargs["reasoning_content"] == text


def test_settings_llm(make_llm: MakeLLM) -> None:
    """`Settings.llm = KimiVertex(...)` is the default model of every engine."""
    before = Settings._llm
    try:
        Settings.llm = llm = make_llm()
        assert Settings.llm is llm
    finally:
        Settings._llm = before


def test_empty_turn_is_visible(emulator: Emulator, llm: KimiVertex, chat: Chat) -> None:
    """A model that thinks and stops is flagged, and its thinking is not shown as the answer."""
    emulator.enqueue(Turn(thinking="So the answer is 4.", text=""))
    last = chat(llm, HI)[-1]
    assert last.message.content == ""
    assert last.additional_kwargs["empty_turn"] == "thinking_only"


def test_empty_turn_promoted(emulator: Emulator, make_llm: MakeLLM, chat: Chat) -> None:
    """With `empty_turn="promote"` the stranded answer becomes the answer, still flagged."""
    emulator.enqueue(Turn(thinking="So the answer is 4.", text=""))
    last = chat(make_llm(empty_turn="promote"), HI)[-1]
    assert last.message.content == "So the answer is 4."
    assert last.additional_kwargs["empty_turn"] == "thinking_only"


def test_close_leaves_the_model_usable(make_llm: MakeLLM) -> None:
    """`close` and `aclose` free connections; the next call opens new ones."""
    llm = make_llm()
    llm.chat(HI)
    llm.close()
    assert llm.chat(HI).message.content

    async def both() -> None:
        await llm.achat(HI)
        await llm.aclose()
        await llm.achat(HI)

    asyncio.run(both())
