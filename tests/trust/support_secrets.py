"""Secrets of every kind, planted as users give them, and every place where one could come to light."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from google.oauth2.credentials import Credentials
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler as LlamaIndexHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import ChatMessage
from llama_index_instrumentation import get_dispatcher
from pydantic import Field

import kimi_vertex
import langchain_kimi_vertex
import llama_index_kimi_vertex
from kimi_vertex import ConfigurationError, KimiVertexClient, KimiVertexError
from kimi_vertex_emulator import Emulator, Raw
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

OURS = tuple(
    str(Path(package.__file__ or "").parent)
    for package in (kimi_vertex, langchain_kimi_vertex, llama_index_kimi_vertex)
)

ACCESS = "ya29.canary-access-token-0123456789"
MINTED = "ya29.canary-minted-token-0123456789"
REFRESH = "1//canary-refresh-token-0123456789"
CLIENT = "GOCSPX-canary-client-secret"
API_KEY = "AIzaCanary-api-key-0123456789-0123456789"
EXPRESS = "AQ.canary-express-key-0123456789"
ASSERTION = "eyJjYW5hcnk.canary-iap-assertion.c2lnbmVk"
COOKIE = "session=canary-cookie-0123456789"
TENANT = "canary-header-of-an-innocent-name"


@dataclass(frozen=True, slots=True)
class Plant:
    """Secrets in the settings of a model."""

    settings: Mapping[str, Any]
    secrets: tuple[str, ...]
    portable: bool = False
    """Whether a pickle may hold them."""


def plants(emulator: Emulator, account: Mapping[str, str]) -> dict[str, Plant]:
    """Each kind, for a model whose token service is the emulator."""
    login = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": CLIENT,
        "refresh_token": REFRESH,
        "token_uri": emulator.token_uri,
    }
    user = Credentials(  # type: ignore[no-untyped-call]
        ACCESS,
        refresh_token=REFRESH,
        client_id="c",
        client_secret=CLIENT,
        token_uri=emulator.token_uri,
    )
    key = account["private_key"].splitlines()
    headers = {
        "x-goog-api-key": API_KEY,
        "authorization": f"Bearer {EXPRESS}",
        "x-goog-iap-jwt-assertion": ASSERTION,
        "cookie": COOKIE,
    }
    return {
        "token": Plant({"access_token": ACCESS}, (ACCESS,)),
        "login": Plant({"credentials": user}, (ACCESS, MINTED, REFRESH, CLIENT)),
        "login as a mapping": Plant({"credentials": login}, (MINTED, REFRESH, CLIENT)),
        "key of a service account": Plant({"credentials": dict(account)}, (MINTED, *key[1:-1])),
        "headers": Plant({"extra_headers": headers}, (API_KEY, EXPRESS, ASSERTION, COOKIE)),
        "header": Plant({"extra_headers": {"x-tenant": TENANT}}, (TENANT,), portable=True),
    }


SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
GOOD = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
HALF = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
ECHO = " ".join((ACCESS, MINTED, f"Bearer {EXPRESS}", API_KEY, ASSERTION, COOKIE))
EVENT = b"data: %s\n\n"


def _refusal(words: str) -> bytes:
    return json.dumps({"error": {"message": words, "status": "OTHER", "details": [{words: words}]}}).encode()


ENDS: dict[str, Callable[[str], Raw]] = {
    "answer": lambda words: Raw([GOOD], headers=SSE),
    "401": lambda words: Raw([_refusal(words)], status=401, headers={**JSON, "x-request-id": words}),
    "a page": lambda words: Raw([f"<p>{words}".encode()], status=502, headers={"content-type": "text/html"}),
    "302": lambda words: Raw([b""], status=302, headers={"location": f"http://a/{words}?x={words}"}),
    "a page for an answer": lambda words: Raw(
        [f"<p>{words}".encode()], headers={"content-type": "text/html"}
    ),
    "an error in the stream": lambda words: Raw([HALF, EVENT % _refusal(words)], headers=SSE),
    "a broken stream": lambda words: Raw([HALF], headers=SSE),
    "not JSON": lambda words: Raw([HALF, EVENT % f"{{{words}".encode()], headers=SSE),
}
"""How requests end, by what the server says; it may repeat what it was sent."""


@dataclass(slots=True)
class Finds:
    """The texts of all places, by the place."""

    texts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, *values: object) -> None:
        self.texts += [(place, value if isinstance(value, str) else repr(value)) for value in values]

    def error(self, place: str, error: BaseException | None) -> None:
        """An error as it is printed, pickled and reported, with those that led to it and the variables of our frames."""
        seen: set[int] = set()
        todo = [error]
        while todo:
            error = todo.pop()
            if error is None or id(error) in seen:
                continue
            seen.add(id(error))
            self.add(f"{place}: error", str(error), repr(error), vars(error), error.args)
            if isinstance(error, KimiVertexError):
                self.add(f"{place}: pickled error", _pickled(error))
            self._frames(f"{place}: variables", error.__traceback__)
            todo += [error.__cause__, error.__context__]

    def _frames(self, place: str, trace: TracebackType | None) -> None:
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_filename.startswith(OURS):
                for name, value in trace.tb_frame.f_locals.items():
                    where = f"{place} {Path(code.co_filename).name}:{code.co_name} {name}"
                    self.add(where, *_shown(value))
            trace = trace.tb_next

    def of(self, secrets: tuple[str, ...]) -> list[str]:
        """The places where one of the secrets stands."""
        return sorted({place for place, text in self.texts if any(secret in text for secret in secrets)})


def _shown(value: Any, depth: int = 0) -> Iterator[str]:
    """What rich and Sentry print of a variable: the items of containers and the fields of dataclasses, too."""
    try:
        yield repr(value)
    except Exception as error:
        yield repr(error)
    if depth > 3:
        return
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _shown(item, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _shown(item, depth + 1)


def _pickled(value: object) -> str:
    try:
        return pickle.dumps(value).decode("latin-1")
    except Exception as error:
        return f"{error}"


class _Log(logging.Handler):
    def __init__(self, finds: Finds) -> None:
        super().__init__(logging.DEBUG)
        self._finds = finds

    def emit(self, record: logging.LogRecord) -> None:
        self._finds.add(f"log of {record.name}", record.getMessage(), record.args)
        if record.exc_info:
            self._finds.error(f"log of {record.name}", record.exc_info[1])


@contextmanager
def log(finds: Finds) -> Iterator[None]:
    """Everything that is logged, by whomever, at DEBUG."""
    root, handler = logging.getLogger(), _Log(finds)
    before = {name: logging.getLogger(name).level for name in ("", "httpx", "httpcore", "google", "urllib3")}
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


class _Tracer(BaseCallbackHandler):
    """Keeps all that LangChain tells of a run."""

    def __init__(self, finds: Finds) -> None:
        self._finds = finds

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            finds = object.__getattribute__(self, "_finds")
            return lambda *args, **told: finds.add(f"LangChain {name}", *_shown(args), *_shown(told))
        return object.__getattribute__(self, name)


class _Manager(LlamaIndexHandler):
    """Keeps all that LlamaIndex' callback manager tells."""

    def __init__(self, finds: Finds) -> None:
        super().__init__([], [])
        self._finds = finds

    def on_event_start(self, event_type: Any, payload: Any = None, *args: Any, **told: Any) -> str:
        self._finds.add("LlamaIndex event start", *_shown(payload), *_shown(told))
        return ""

    def on_event_end(self, event_type: Any, payload: Any = None, *args: Any, **told: Any) -> None:
        self._finds.add("LlamaIndex event end", *_shown(payload), *_shown(told))

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


class _Events(BaseEventHandler):
    finds: Any = Field(default=None)

    def handle(self, event: Any, **told: Any) -> None:
        self.finds.add(f"LlamaIndex {type(event).__name__}", event, event.model_dump(), *_shown(vars(event)))


def look_at(finds: Finds, plant: Plant, url: str) -> None:
    """What the objects show of themselves."""
    client = KimiVertexClient(base_url=url, **plant.settings)
    chat = ChatKimiVertex(base_url=url, **plant.settings)
    llm = KimiVertex(base_url=url, **plant.settings)
    for name, model in (("client", client), ("LangChain", chat), ("LlamaIndex", llm)):
        model_client = model if isinstance(model, KimiVertexClient) else getattr(model, "client", None)
        finds.add(f"{name}: repr", model, str(model), copy.copy(model), copy.deepcopy(model))
        if model_client is not None:
            finds.add(f"{name}: attributes", *_shown(vars(model_client)), *_shown(vars(model_client._shared)))
        if not plant.portable:
            finds.add(f"{name}: pickle", _pickled(model))
    finds.add("LangChain: dumps", dumps(chat), dumps(chat.bind(stop=["x"])), chat.to_json())
    finds.add("LangChain: model_dump", chat.model_dump(), chat.model_dump_json())
    finds.add(
        "LangChain: params", chat._identifying_params, chat._get_invocation_params(), chat._get_ls_params()
    )
    finds.add("LangChain: cache key", chat._get_llm_string())
    if headers := plant.settings.get("extra_headers"):
        bound = ChatKimiVertex(base_url=url).bind(extra_headers=headers)
        finds.add("LangChain: bound", dumps(bound), bound, bound.kwargs)
    finds.add(
        "LlamaIndex: dumps",
        llm.to_dict(),
        llm.to_json(),
        llm.model_dump(),
        llm.model_dump_json(),
        llm.to_payload(),
    )
    for kind in (KimiVertexClient, ChatKimiVertex, KimiVertex):
        for wrong in ({"max_retries": -1}, {"nonsense": 1}, {"base_url": "http://[::1]x"}, {"timeout": "x"}):
            try:
                kind(**{"base_url": url, **plant.settings, **wrong})
            except ConfigurationError as error:
                finds.error(f"{kind.__name__} with {wrong}", error)
    for name, value in plant.settings.items():
        for bad in (
            f"{value}\n",
            {**value, "x-bad": "a\nb"} if isinstance(value, dict) else f"{value} {value}",
        ):
            for kind in (KimiVertexClient, ChatKimiVertex, KimiVertex):
                try:
                    kind(**{"base_url": url, name: bad})  # type: ignore[arg-type]
                except (ConfigurationError, TypeError) as error:
                    finds.error(f"{kind.__name__} with a bad {name}", error)


def request(finds: Finds, plant: Plant, url: str, messages: Any = "Hi") -> None:
    """One request in each of the eight forms, and what becomes of it."""
    settings = {"base_url": url, "max_retries": 0, **plant.settings}
    said = [("user", messages)] if isinstance(messages, str) else messages
    chats = [ChatMessage(messages)] if isinstance(messages, str) else messages
    traced: Any = {"callbacks": [_Tracer(finds)]}

    def client(form: str) -> Any:
        with KimiVertexClient(**settings) as one:
            return one.complete(messages) if form == "whole" else list(one.stream(messages))

    async def aclient(form: str) -> Any:
        async with KimiVertexClient(**settings) as one:
            return (
                await one.acomplete(messages) if form == "whole" else [e async for e in one.astream(messages)]
            )

    def chat(form: str) -> Any:
        model = ChatKimiVertex(**settings)
        return model.invoke(said, traced) if form == "whole" else list(model.stream(said, traced))

    async def achat(form: str) -> Any:
        model = ChatKimiVertex(**settings)
        try:
            if form == "whole":
                return await model.ainvoke(said, traced)
            return [chunk async for chunk in model.astream(said, traced)]
        finally:
            await model.aclose()

    def llm(form: str) -> Any:
        model = KimiVertex(callback_manager=CallbackManager([_Manager(finds)]), **settings)
        return model.chat(chats) if form == "whole" else list(model.stream_chat(chats))

    async def allm(form: str) -> Any:
        model = KimiVertex(callback_manager=CallbackManager([_Manager(finds)]), **settings)
        try:
            if form == "whole":
                return await model.achat(chats)
            return [response async for response in await model.astream_chat(chats)]
        finally:
            await model.aclose()

    dispatcher = get_dispatcher()
    before: Any = dispatcher.event_handlers
    dispatcher.event_handlers = cast("Any", [_Events(finds=finds)])
    try:
        for form in ("whole", "stream"):
            for way in (client, chat, llm):
                _try(finds, f"{way.__name__} {form}", partial(way, form))
            for away in (aclient, achat, allm):
                _try(finds, f"{away.__name__} {form}", partial(_run, away, form))
    finally:
        dispatcher.event_handlers = before


def _run(way: Callable[[str], Any], form: str) -> Any:
    return asyncio.run(way(form))


def _try(finds: Finds, place: str, work: Callable[[], Any]) -> None:
    try:
        finds.add(f"{place}: result", work())
    except Exception as error:
        finds.error(place, error)
