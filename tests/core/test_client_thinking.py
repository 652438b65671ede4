"""`on_thinking`: who is told of thinking, when, and what a failure of theirs does."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any

import pytest

from kimi_vertex import APIError, Completion, KimiVertexClient, ThinkingCallback, ThinkingDelta, ToolCall
from kimi_vertex_emulator import Emulator, Raw, Turn

from .support_core import DONE, FINISH, TEXT, THINKING, RawServer, each_form, perform, read_request

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
PIECES = ["First. ", "Second. ", "Third."]
TURN = Turn(thinking=PIECES, text="Done.")


def listener(heard: list[str], kind: str) -> ThinkingCallback:
    async def hear(text: str) -> None:
        await asyncio.sleep(0)
        heard.append(text)

    return heard.append if kind == "function" else hear


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
@pytest.mark.parametrize("place", ["client", "request"])
@each_form
def test_each_piece_is_told_in_order(emulator: Emulator, form: str, place: str, kind: str) -> None:
    """All four forms tell each piece of thinking, to the client's callback or to the request's."""
    heard: list[str] = []
    settings: dict[str, Any] = {"on_thinking": listener(heard, kind)}
    emulator.enqueue(TURN)
    client = KimiVertexClient(base_url=emulator.base_url, **(settings if place == "client" else {}))
    assert perform(client, form, **(settings if place == "request" else {})).text == "Done."
    assert heard == PIECES


@each_form
def test_the_callback_of_the_request_wins(emulator: Emulator, form: str) -> None:
    """A request's own callback replaces the client's."""
    heard: list[str] = []
    emulator.enqueue(TURN)
    client = KimiVertexClient(base_url=emulator.base_url, on_thinking=pytest.fail)
    perform(client, form, on_thinking=heard.append)
    assert heard == PIECES


@each_form
def test_a_callback_that_raises_is_logged_once(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    """What a callback raises is logged, once for the request, and the answer is whole."""

    def fail(text: str) -> None:
        raise LookupError("no screen")

    emulator.enqueue(TURN)
    with caplog.at_level(logging.WARNING, logger="kimi_vertex"):
        assert perform(KimiVertexClient(base_url=emulator.base_url, on_thinking=fail), form).text == "Done."
    assert [record.getMessage().count("no screen") for record in caplog.records] == [1]


@each_form
def test_thinking_is_told_live(form: str) -> None:
    """The callback has the first piece while the answer is under way, also where the whole answer was asked for."""
    heard = threading.Event()
    in_time: list[bool] = []

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(STREAM_HEAD + THINKING)
        in_time.append(heard.wait(5))
        connection.sendall(TEXT + FINISH + DONE)

    with RawServer(handle) as server:
        client = KimiVertexClient("kimi", base_url=server.base_url, on_thinking=lambda _: heard.set())
        assert perform(client, form).text == "Hello"
    assert in_time == [True]


def test_a_piece_is_told_before_its_event(emulator: Emulator) -> None:
    """Where the reader of a stream has a piece, the callback has had it."""
    heard: list[str] = []
    ahead: list[bool] = []
    emulator.enqueue(TURN)
    client = KimiVertexClient(base_url=emulator.base_url, on_thinking=heard.append)
    with client.stream("Hi") as stream:
        thought = ""
        for event in stream:
            if isinstance(event, ThinkingDelta):
                thought += event.text
                ahead.append("".join(heard) == thought)
    assert ahead == [True] * len(PIECES)


@each_form
def test_empty_thinking_is_not_told(emulator: Emulator, form: str) -> None:
    """A model that says that it thought nothing calls no callback."""
    emulator.enqueue(Turn(thinking="", text="Done."))
    client = KimiVertexClient(base_url=emulator.base_url, on_thinking=pytest.fail)
    assert perform(client, form).text == "Done."


@each_form
def test_what_was_told_is_not_told_again(emulator: Emulator, form: str) -> None:
    """An answer that breaks off after thinking has been told is an error with the partial answer, not another try."""
    heard: list[str] = []
    emulator.enqueue(Raw([THINKING]))
    error = perform(KimiVertexClient(base_url=emulator.base_url, on_thinking=heard.append), form).error
    assert isinstance(error, APIError)
    assert error.partial is not None
    assert heard == [error.partial.thinking]
    assert len(emulator.requests) == 1


def test_predict_tells_the_whole_thinking(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that cannot stream tells its thinking in one piece, when the answer is there."""
    heard: list[str] = []
    emulator.enqueue(TURN)
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    endpoint = "projects/my-project/locations/us-central1/endpoints/42"
    client = KimiVertexClient(endpoint=endpoint, api="predict", on_thinking=heard.append)
    perform(client, "sync-whole")
    assert heard == ["".join(PIECES)]


def test_leaving_a_stream_early_frees_the_loop_of_the_callback(emulator: Emulator) -> None:
    """A stream that is left early closes its connection and what a coroutine function needed."""
    heard: list[str] = []
    emulator.enqueue(TURN)
    with (
        KimiVertexClient(
            base_url=emulator.base_url, on_thinking=listener(heard, "coroutine function")
        ) as client,
        client.stream("Hi") as stream,
    ):
        next(stream)
    assert heard == PIECES[:1]


def test_a_notebook_folds_the_thinking() -> None:
    """Jupyter shows the thinking folded, as text and not as markup, then the answer and what it calls."""
    call = ToolCall("functions.f:0", "f", '{"a": 1}')
    shown = Completion(thinking="a <b> c", text="**Yes.**", tool_calls=(call,))._repr_markdown_()
    assert shown == (
        '<details><summary>thinking</summary>\n\na &lt;b&gt; c\n\n</details>\n\n**Yes.**\n\n`f {"a": 1}`'
    )
    assert Completion(text="Yes.")._repr_markdown_() == "Yes."
