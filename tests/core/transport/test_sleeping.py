"""A request that waits for its turn is woken by another thread, and a loop that is gone wakes nobody."""

from __future__ import annotations

import asyncio
import threading

import pytest

from kimi_vertex._exchange.commands import Sleep
from kimi_vertex._exchange.line import Line, Waiter
from kimi_vertex._transport.sleeping import asleep, sleep

from ..support_core import SIDES, wait_until

LONG = 600.0


def sleeping(side: str, command: Sleep) -> threading.Thread:
    """A thread that sleeps, by itself or on its own loop."""
    act = (lambda: sleep(command)) if side == "sync" else (lambda: asyncio.run(asleep(command)))
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("side", SIDES)
def test_a_sleeper_is_woken(side: str) -> None:
    """The first one of the line wakes long before its time, and not the second one."""
    line = Line()
    waiters = [line.join(0.0), line.join(0.0)]
    threads = [sleeping(side, Sleep(LONG, waiter)) for waiter in waiters]
    wait_until(lambda: all(waiter.wake is not None for waiter in waiters))
    line.ring(1)
    threads[0].join(20)
    assert [thread.is_alive() for thread in threads] == [False, True]
    line.ring(2)
    threads[1].join(20)
    assert not threads[1].is_alive()


@pytest.mark.parametrize("side", SIDES)
def test_what_rings_before_the_sleep_is_heard(side: str) -> None:
    """Between the look and the sleep nothing is missed."""
    waiter = Waiter(0.0)
    waiter.rung = True
    thread = sleeping(side, Sleep(LONG, waiter))
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("side", SIDES)
def test_a_sleep_has_an_end(side: str) -> None:
    """Where nobody wakes it, it ends by itself, and can be woken no more."""
    waiter = Waiter(0.0)
    thread = sleeping(side, Sleep(0.01, waiter))
    thread.join(20)
    assert (thread.is_alive(), waiter.wake) == (False, None)


def test_a_closed_loop_is_left_alone() -> None:
    """A sleeper whose loop was closed under it does not break the one that wakes it."""
    line, loop = Line(), asyncio.new_event_loop()
    waiter = line.join(0.0)
    task = loop.create_task(asleep(Sleep(LONG, waiter)))
    loop.run_until_complete(asyncio.sleep(0))
    wake = waiter.wake
    assert wake is not None
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    wake()
