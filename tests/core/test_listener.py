"""A callback for thinking, of either kind, called from either kind of code."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from kimi_vertex import ThinkingListener


def test_a_function_gets_each_piece_in_order() -> None:
    """A plain function is called at once."""
    heard: list[str] = []
    with ThinkingListener(heard.append) as listener:
        listener.notify("a")
        listener.notify("b")
    assert heard == ["a", "b"]


def test_a_coroutine_function_has_run_when_notify_returns() -> None:
    """Without a running loop a coroutine function runs to its end, in the caller's context."""
    heard: list[tuple[str, str]] = []
    tag = contextvars.ContextVar[str]("tag")
    tag.set("mine")

    async def hear(text: str) -> None:
        await asyncio.sleep(0)
        heard.append((text, tag.get()))

    with ThinkingListener(hear) as listener:
        listener.notify("a")
        assert heard == [("a", "mine")]
        listener.notify("b")
    assert heard == [("a", "mine"), ("b", "mine")]


async def test_on_a_loop_synchronous_code_makes_tasks_of_it() -> None:
    """A coroutine function that cannot be waited for runs on the caller's own loop, in order."""
    heard: list[str] = []
    loops: set[object] = set()

    async def hear(text: str) -> None:
        loops.add(asyncio.get_running_loop())
        heard.append(text)

    with ThinkingListener(hear) as listener:
        listener.notify("a")
        listener.notify("b")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert heard == ["a", "b"]
    assert loops == {asyncio.get_running_loop()}


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_on_a_loop_both_kinds_are_done_when_awaited(asynchronous: bool) -> None:
    """`anotify` calls a function and awaits a coroutine function."""
    heard: list[str] = []

    async def hear(text: str) -> None:
        await asyncio.sleep(0)
        heard.append(text)

    await ThinkingListener(hear if asynchronous else heard.append).anotify("a")
    assert heard == ["a"]


async def _fails(text: str) -> None:
    raise LookupError(text)


def _fails_at_once(text: str) -> None:
    raise LookupError(text)


@pytest.mark.parametrize("callback", [_fails, _fails_at_once])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_it_raises_is_logged_once(
    callback: object, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An error goes no further than the log, under the name that the user knows, and is not repeated."""
    with ThinkingListener(callback, name="on_thinking") as listener:  # type: ignore[arg-type]
        for _ in range(2):
            if asynchronous:
                asyncio.run(listener.anotify("a"))
            else:
                listener.notify("a")
    assert [record.getMessage() for record in caplog.records] == [
        "on_thinking raised LookupError('a'); the request goes on."
    ]


def test_a_call_may_be_left_on_a_loop_that_it_did_not_begin_on() -> None:
    """Closing works inside a running loop too, where a runner cannot run."""
    heard: list[str] = []

    async def hear(text: str) -> None:
        heard.append(text)

    listener = ThinkingListener(hear)
    listener.notify("a")

    async def leave() -> None:
        listener.close()

    asyncio.run(leave())
    assert heard == ["a"]
