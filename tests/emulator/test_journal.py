"""The journal: what was asked and what was answered, for tests, over HTTP and in the terminal."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import Call, Emulator, Exchange, Fault, Raw, Turn

from .support_http import PLAIN

TURN = Turn(thinking=["Snow", "y."], text=["It ", "snows."], tool_calls=[Call("look", {"a": 1})])


@pytest.mark.parametrize("stream", [False, True])
def test_an_exchange_holds_the_answer(kimi: Any, stream: bool) -> None:
    """Request and response are one value, whole or streamed."""
    kimi.emulator.enqueue(TURN)
    answer = kimi.post("Will it snow?", stream=stream)
    (exchange,) = kimi.emulator.exchanges
    assert exchange.request is kimi.emulator.requests[0]
    assert (exchange.status, exchange.ending, exchange.streamed) == (200, "complete", stream)
    assert exchange.body == answer.content
    assert (exchange.thinking, exchange.text, exchange.finish_reason) == ("Snowy.", "It snows.", "tool_calls")
    (call,) = exchange.tool_calls
    assert (call.name, call.arguments_text) == ("look", '{"a": 1}')
    assert exchange.messages == [{"role": "user", "content": "Will it snow?"}]


def test_events_have_offsets(kimi: Any) -> None:
    """A pause of the stream is a distance between two events."""
    kimi.emulator.enqueue(Turn(text=["a", "b"], pause=0.05))
    kimi.events("x")
    (exchange,) = kimi.emulator.exchanges
    offsets = [at for at, _ in exchange.events]
    assert offsets == sorted(offsets)
    assert offsets[-1] - offsets[0] >= 0.05
    assert exchange.duration >= offsets[-1]
    assert exchange.events[-1][1] == "[DONE]"


@pytest.mark.parametrize(
    ("answer", "ending"), [(Fault("reset-mid"), "reset"), (Fault("cut-mid"), "cut"), (Fault("close"), "cut")]
)
def test_a_broken_answer_says_how(kimi: Any, answer: Fault, ending: str) -> None:
    """What a fault did to the connection stands in the exchange."""
    kimi.emulator.enqueue(answer)
    with pytest.raises(httpx.HTTPError):
        kimi.post("x", stream=True)
    assert kimi.emulator.exchanges[0].ending == ending


def test_a_client_that_leaves_is_noted(kimi: Any) -> None:
    """An answer that the client did not wait for ends as `left`."""
    kimi.emulator.enqueue(Raw([b"data: {}\n\n", 5.0]))
    seen: list[Exchange] = []
    kimi.emulator.watch(seen.append)
    body = {"model": "m/k", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with kimi.http.stream("POST", kimi.url, json=body) as response:
        next(response.iter_bytes())
    kimi.emulator.stop()
    assert [exchange.ending for exchange in seen] == ["left"]


def test_find_and_expect_ask_the_journal(kimi: Any) -> None:
    """Exchanges are found by what was asked and by what was answered."""
    kimi.emulator.on("snow").always(Turn(text="cut", finish_reason="length"))
    for words in ("will it snow?", "hello", "snow again"):
        kimi.text(words)
    assert [e.messages[0]["content"] for e in kimi.emulator.find("snow")] == ["will it snow?", "snow again"]
    assert len(kimi.emulator.find(finish_reason="stop", status=200)) == 1
    assert kimi.emulator.find(status=429) == []
    assert len(kimi.emulator.expect("snow", times=2, turn=0)) == 2
    assert len(kimi.emulator.expect("hello")) == 1


def test_a_missed_expectation_is_readable(kimi: Any) -> None:
    """The text names what was wanted, how often it came, and everything that came with its answer."""
    kimi.emulator.enqueue(Turn(thinking="Hm.", text="Hello!"))
    kimi.text("good morning")
    with pytest.raises(AssertionError) as caught:
        kimi.emulator.expect("rain", times=1, status=200)
    words = str(caught.value)
    assert "expected 1 exchange(s) with text='rain', status=200; there were 0" in words
    assert "user: 'good morning') -> 200: 3 thinking, 6 text, stop" in words


def test_the_journal_can_be_bounded() -> None:
    """With a limit only the newest are kept, requests too."""
    with Emulator(journal_limit=2) as emulator, httpx.Client(verify=PLAIN) as http:
        for number in range(4):
            body = {"model": "m/k", "messages": [{"role": "user", "content": str(number)}]}
            http.post(f"{emulator.base_url}/chat/completions", json=body)
        assert [e.messages[0]["content"] for e in emulator.exchanges] == ["2", "3"]
        assert [r.json["messages"][0]["content"] for r in emulator.requests] == ["2", "3"]
        assert len(emulator.unexpected) == 2
    with pytest.raises(ValueError, match="must be 1 or more"):
        Emulator(journal_limit=0)


def test_the_journal_is_served_and_is_not_in_itself(kimi: Any) -> None:
    """`GET /_emulator/journal` gives JSON, newest on request, without the caller's credentials."""
    kimi.http.headers["authorization"] = "Bearer very-secret"
    kimi.text("one")
    kimi.events("two")
    address = f"{kimi.emulator.origin}/_emulator/journal"
    page = kimi.http.get(address)
    first, second = page.json()["exchanges"]
    assert first["request"]["body"]["messages"][0]["content"] == "one"
    assert "chat.completion" in first["response"]["body"]
    assert second["response"]["events"][-1]["data"] == "[DONE]"
    assert "very-secret" not in page.text
    assert [e["summary"] for e in kimi.http.get(f"{address}?last=1").json()["exchanges"]] == [
        second["summary"]
    ]
    assert kimi.http.get(f"{address}?last=0").json()["exchanges"] == []
    assert kimi.http.get(f"{address}?last=x").status_code == 400
    assert len(kimi.emulator.exchanges) == len(kimi.emulator.requests) == 2


def test_reset_empties_the_journal(kimi: Any) -> None:
    """After `reset` nothing has happened."""
    kimi.text("x")
    kimi.emulator.reset()
    assert kimi.emulator.exchanges == []


def test_a_failing_watcher_breaks_no_answer(kimi: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What a watcher raises is logged."""
    kimi.emulator.watch(lambda exchange: 1 / 0)
    kimi.emulator.enqueue(Turn(text="y"))
    assert kimi.text("x") == "y"
    assert "a watcher failed" in caplog.text


def test_a_line_tells_an_exchange_and_steers_no_terminal(kimi: Any) -> None:
    """One line of printable text: messages, sizes, calls, finish, duration."""
    kimi.emulator.enqueue(TURN)
    kimi.events("x\x1b[2J")
    told = kimi.emulator.exchanges[0].line()
    assert (
        "POST .../chat/completions (1 message; user: 'x\\x1b[2J') -> 200 stream: 6 thinking, 9 text, look(8), "
        in told
    )
    assert told.isprintable()
    assert told.endswith(" s")


def test_a_failure_of_the_brain_is_an_exchange(kimi: Any) -> None:
    """What the test's own function raises is a 500 in the journal, not an answer under way."""
    kimi.emulator.brain = lambda chat: 1 / 0
    assert kimi.post("x").status_code == 500
    (exchange,) = kimi.emulator.exchanges
    assert (exchange.status, exchange.ending) == (500, "complete")
