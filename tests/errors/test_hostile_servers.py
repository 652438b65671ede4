"""A server that misbehaves on purpose, through LangChain and LlamaIndex: one shape of each kind, in every corner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from llama_index.core.llms import ChatMessage

from kimi_vertex import Timeouts
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex
from tests.core.exchange.support_raw_faults import Shape, fault_server
from tests.core.exchange.support_raw_shapes import ERROR_SHAPES, SHAPES, TIME_SHAPES
from tests.core.support_core import expect_sound, is_stream

HI: Final = [ChatMessage("Hi")]
NAMES: Final = (
    *(
        "predictions beside choices, and structured arguments",
        "a sign NUL inside an event",
        "lone surrogates",
    ),
    *(
        "a body longer than its Content-Length",
        "a chunk of a wrong size",
        "a bomb",
        "no bytes at all",
        "UTF-16",
    ),
    *("an error nested 900 deep", "an aborted answer whose reason forges a line", "two choices mixed"),
    *(
        "Retry-After: 20 digits",
        "a redirect to no IDNA name",
        "a message that forges a line",
        "a message of 200 KB",
    ),
    *("endless 1xx, slow", "a body that drips", "an error body that drips", "silence in the body"),
)
AT_ONCE: Final = [shape for shape in (*SHAPES, *ERROR_SHAPES) if shape.name in NAMES]
SLOW: Final = [shape for shape in TIME_SHAPES if shape.name in NAMES]
"""Read after the others, whose work could take their time."""


def _langchain(model: ChatKimiVertex, form: str) -> str:
    if is_stream(form):
        return "".join(chunk.text for chunk in model.stream("Hi"))
    return model.invoke("Hi").text


async def _alangchain(model: ChatKimiVertex, form: str) -> str:
    if is_stream(form):
        return "".join([chunk.text async for chunk in model.astream("Hi")])
    return (await model.ainvoke("Hi")).text


def _llama_index(model: KimiVertex, form: str) -> str:
    if is_stream(form):
        return "".join(response.delta or "" for response in model.stream_chat(HI))
    return model.chat(HI).message.content or ""


async def _allama_index(model: KimiVertex, form: str) -> str:
    if is_stream(form):
        return "".join([response.delta or "" async for response in await model.astream_chat(HI)])
    return (await model.achat(HI)).message.content or ""


SYNC: Final[dict[str, tuple[Any, Callable[[Any, str], str]]]] = {
    "ChatKimiVertex": (ChatKimiVertex, _langchain),
    "KimiVertex": (KimiVertex, _llama_index),
}
ASYNC: Final[dict[str, tuple[Any, Callable[[Any, str], Coroutine[Any, Any, str]]]]] = {
    "ChatKimiVertex": (ChatKimiVertex, _alangchain),
    "KimiVertex": (KimiVertex, _allama_index),
}


def _settings(shape: Shape, base_url: str) -> dict[str, Any]:
    limits = (
        Timeouts(connect=2, first_byte=0.25, idle=0.25)
        if shape in SLOW
        else Timeouts(connect=9, first_byte=30, idle=30)
    )
    return {"base_url": base_url, "timeout": limits, "max_retries": 0, "implicit_thinking": False}


def _judge(shape: Shape, outcome: str | Exception) -> None:
    if isinstance(outcome, Exception):
        expect_sound(outcome)
        assert shape.right != "text", (shape.name, outcome)
    else:
        assert shape.right != "error", (shape.name, outcome)


@pytest.mark.parametrize("name", SYNC)
@pytest.mark.parametrize("form", ["sync-stream", "sync-whole"])
def test_sync(name: str, form: str) -> None:
    """Nothing raw comes out, nothing hangs, and nothing that is cut is taken for whole."""
    make, ask = SYNC[name]

    def run(shape: Shape) -> str | Exception:
        with fault_server(shape, form) as server:
            model = make(**_settings(shape, server.base_url))
            try:
                return ask(model, form)
            except Exception as error:
                return error
            finally:
                model.close()

    with ThreadPoolExecutor(8) as pool:
        for shapes in (AT_ONCE, SLOW):
            for shape, outcome in zip(shapes, list(pool.map(run, shapes)), strict=True):
                _judge(shape, outcome)


@pytest.mark.parametrize("name", ASYNC)
@pytest.mark.parametrize("form", ["async-stream", "async-whole"])
def test_async(name: str, form: str) -> None:
    """The same on an event loop."""
    make, ask = ASYNC[name]

    async def run(shape: Shape) -> str | Exception:
        with fault_server(shape, form) as server:
            model = make(**_settings(shape, server.base_url))
            try:
                return await ask(model, form)
            except Exception as error:
                return error
            finally:
                await model.aclose()

    async def judge() -> None:
        for shapes in (AT_ONCE, SLOW):
            for shape, outcome in zip(shapes, await asyncio.gather(*map(run, shapes)), strict=True):
                _judge(shape, outcome)

    asyncio.run(judge())
