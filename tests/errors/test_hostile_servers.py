"""A server that misbehaves on purpose, through LangChain and LlamaIndex: one shape of each kind.

Each is streamed and whole, in both frameworks; the blocking forms and those of event loops take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import cycle
from typing import Any, Final

from llama_index.core.llms import ChatMessage

from kimi_vertex import Timeouts
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex
from tests.core.exchange.support_raw_faults import Shape, fault_server
from tests.core.exchange.support_raw_shapes import ERROR_SHAPES, SHAPES, TIME_SHAPES
from tests.core.support_core import FORMS, each_row, expect_sound, is_stream

HI: Final = [ChatMessage("Hi")]
NAMES: Final = (
    "predictions beside choices, and structured arguments",
    "lone surrogates",
    "two choices mixed",
    "a body longer than its Content-Length",
    "no bytes at all",
    "a bomb",
    "UTF-16",
    "an error nested 900 deep",
    "an aborted answer whose reason forges a line",
    "Retry-After: 20 digits",
    "a redirect to no IDNA name",
    "a message that forges a line",
    "a message of 200 KB",
    "endless 1xx, slow",
    "an error body that drips",
    "silence in the body",
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


ASK: Final[
    dict[str, tuple[Any, Callable[[Any, str], str], Callable[[Any, str], Coroutine[Any, Any, str]]]]
] = {
    "ChatKimiVertex": (ChatKimiVertex, _langchain, _alangchain),
    "KimiVertex": (KimiVertex, _llama_index, _allama_index),
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


def _asked(name: str, form: str, settings: dict[str, Any]) -> str | Exception:
    make, ask, ask_on_loop = ASK[name]
    model = make(**settings)

    async def on_loop() -> str:
        try:
            return await ask_on_loop(model, form)
        finally:
            await model.aclose()

    try:
        return asyncio.run(on_loop()) if form.startswith("async") else ask(model, form)
    except Exception as error:
        return error
    finally:
        model.close()


def test_each_corner() -> None:
    """Nothing raw comes out, nothing hangs, and nothing that is cut is taken for whole."""

    def check(row: tuple[Shape, str, str]) -> None:
        shape, name, form = row
        with fault_server(shape, form) as server:
            outcome = _asked(name, form, _settings(shape, server.base_url))
        _judge(shape, outcome)

    def rows(shapes: list[Shape]) -> list[tuple[Shape, str, str]]:
        turns = zip(shapes, cycle([FORMS[:2], FORMS[2:]]))
        return [(shape, name, form) for shape, forms in turns for name in ASK for form in forms]

    each_row(rows(AT_ONCE), check)
    each_row(rows(SLOW), check, at_once=16)
