"""Order and ids of a conversation on the wire: native, unique, consistent, whatever the framework calls them."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from kimi_vertex._request.order import NOT_EXECUTED, Entry, Order, order
from kimi_vertex._request.reading import read_messages
from kimi_vertex.errors import InvalidRequestError
from kimi_vertex.messages import Message, MessageLike, ToolCall

USER = Message("user", "u")


def calls(*ids: str, name: str = "f") -> Message:
    """An assistant turn that calls `name` once for each id."""
    return Message("assistant", tool_calls=[ToolCall(identity, name, "{}") for identity in ids])


def result(identity: str | None, content: str = "r") -> Message:
    return Message("tool", content, tool_call_id=identity)


def ordered(*messages: MessageLike) -> Order:
    return order(read_messages(messages))


def wire_ids(*messages: MessageLike) -> list[list[str]]:
    """The ids of each turn's calls, and of each run of results, in the order of the wire."""
    runs: list[list[str]] = []
    before = None
    for _, message, sent in ordered(*messages).entries:
        if message.role == "assistant":
            runs.append([call.id for call in sent])
        elif message.role == "tool":
            if before != "tool":
                runs.append([])
            runs[-1] += [call.id for call in sent]
        before = message.role
    return runs


# The conversation, and the ids on the wire: of each turn's calls, then of its results.
IDS: list[tuple[str, Sequence[Message], list[list[str]]]] = [
    ("native", [calls("functions.f:0"), result("functions.f:0")], [["functions.f:0"], ["functions.f:0"]]),
    ("native, beginning later", [calls("functions.f:7"), result("functions.f:7")], [["functions.f:7"], ["functions.f:7"]]),
    ("foreign", [calls("call_a"), result("call_a")], [["functions.f:0"], ["functions.f:0"]]),
    ("bare name and number", [calls("f:0"), result("f:0")], [["functions.f:0"], ["functions.f:0"]]),
    ("another tool's name", [calls("functions.g:0"), result("functions.g:0")], [["functions.f:0"], ["functions.f:0"]]),
    ("sanitised", [calls("functions_f_0"), result("functions_f_0")], [["functions.f:0"], ["functions.f:0"]]),
    ("digits of another script", [calls("functions.f:\u0663"), result("functions.f:\u0663")], [["functions.f:0"], ["functions.f:0"]]),
    ("endless number", [calls("functions.f:" + "9" * 5000)], [["functions.f:0"], ["functions.f:0"]]),
    ("missing", [calls("", ""), result(None), result("")], [["functions.f:0", "functions.f:1"], ["functions.f:0", "functions.f:1"]]),
    (
        "twice in one turn, as in Google's example",
        [calls("f", "f"), result("f"), result("f")],
        [["functions.f:0", "functions.f:1"], ["functions.f:0", "functions.f:1"]],
    ),
    (
        "native twice in one turn",
        [calls("functions.f:0", "functions.f:0"), result("functions.f:0"), result("functions.f:0")],
        [["functions.f:0", "functions.f:1"], ["functions.f:0", "functions.f:1"]],
    ),
    (
        "used again in the next turn",
        [calls("functions.f:0"), result("functions.f:0"), calls("functions.f:0"), result("functions.f:0")],
        [["functions.f:0"], ["functions.f:0"], ["functions.f:1"], ["functions.f:1"]],
    ),
    (
        "used again after a call without result",
        [calls("c"), USER, calls("c"), result("c")],
        [["functions.f:0"], ["functions.f:0"], ["functions.f:1"], ["functions.f:1"]],
    ),
    (
        "model switched to Kimi",
        [calls("call_a"), result("call_a"), calls("functions.f:1"), result("functions.f:1")],
        [["functions.f:0"], ["functions.f:0"], ["functions.f:1"], ["functions.f:1"]],
    ),
    (
        "model switched from Kimi",
        [calls("functions.f:0"), result("functions.f:0"), calls("toolu_a"), result("toolu_a")],
        [["functions.f:0"], ["functions.f:0"], ["functions.f:1"], ["functions.f:1"]],
    ),
    (
        "a native id that is used later keeps its number",
        [calls("call_a"), result("call_a"), calls("functions.f:0"), result("functions.f:0")],
        [["functions.f:1"], ["functions.f:1"], ["functions.f:0"], ["functions.f:0"]],
    ),
    ("order of calls", [calls("a", "b"), result("b"), result("a")], [["functions.f:0", "functions.f:1"], ["functions.f:0", "functions.f:1"]]),
    ("a result is missing", [calls("a", "b"), result("b"), USER], [["functions.f:0", "functions.f:1"], ["functions.f:0", "functions.f:1"]]),
    ("two results of a call", [calls("a"), result("a"), result("a")], [["functions.f:0"], ["functions.f:0", "functions.f:0"]]),
    ("a result of an earlier turn", [calls("a"), calls("b"), result("b"), result("a")], [["functions.f:0"], ["functions.f:0"], ["functions.f:1"], ["functions.f:1"]]),
    ("a result with the id of the wire", [calls("a"), result("functions.f:0")], [["functions.f:0"], ["functions.f:0"]]),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "expected"), [case[1:] for case in IDS], ids=[case[0] for case in IDS])
def test_ids(messages: Sequence[Message], expected: list[list[str]]) -> None:
    """Calls go out under native, unique ids; results under their call's, in the order of the calls."""
    assert wire_ids(USER, *messages) == expected


def test_order_within_a_turn() -> None:
    """A result stands before a user's message that came between the call and it; other order is the caller's."""
    sent = ordered(
        Message("system", "s"), USER, calls("a", "b"), result("b"), USER, result("a"), USER, Message("assistant", "x")
    )  # fmt: skip
    assert [position for position, _, _ in sent.entries] == [0, 1, 2, 5, 3, 4, 6, 7]


OPEN = [
    ("at the end", [calls("a", "b")], ["a not", "b not"]),
    ("one of two", [calls("a", "b"), result("b"), USER], ["a not", "b r"]),
    ("before a user", [calls("a"), USER, USER], ["a not"]),
    ("before the next turn", [calls("a"), calls("b"), result("b")], ["a not", "b r"]),
    ("a late result", [calls("a"), USER, Message("assistant", "x"), result("a")], ["a r"]),
]


@pytest.mark.parametrize(("messages", "results"), [case[1:] for case in OPEN], ids=[case[0] for case in OPEN])
def test_call_without_result(messages: Sequence[Message], results: list[str]) -> None:
    """A call that has no result anywhere gets one in its place; the assistant's turns are followed by theirs."""
    entries = ordered(USER, *messages).entries
    names = {"functions.f:0": "a", "functions.f:1": "b"}
    found = [
        f"{names[sent[0].id]} {'not' if message.content == NOT_EXECUTED else message.content}"
        for _, message, sent in entries
        if message.role == "tool"
    ]
    assert found == results
    for before, (_, message, _) in pairwise(entries):
        assert message.role != "tool" or before[1].role in ("assistant", "tool")


def test_result_is_named_after_its_tool() -> None:
    """A result carries the name of the tool that was called, whatever it was called itself."""
    sent = ordered(USER, calls("a", name="search"), Message("tool", "r", tool_call_id="a", name="other"))
    _, _, (call,) = sent.entries[-1]
    assert (call.id, call.name) == ("functions.search:0", "search")


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([USER, result("a")], "Message 1 is the result of the tool call 'a'"),
        ([USER, result(None)], "Message 1 is a tool's result without an id"),
        ([USER, calls("a"), result("b")], "Message 2 is the result of the tool call 'b'"),
        ([USER, calls("a"), result("a"), result(None)], "Message 3 is a tool's result without an id"),
        ([USER, result("a"), calls("a")], "Message 1 is the result of the tool call 'a'"),
    ],
    ids=["no call", "no call, no id", "another id", "all answered", "before its call"],
)
def test_orphan(messages: Sequence[Message], said: str) -> None:
    """A result without a call before it is refused, with its position."""
    with pytest.raises(InvalidRequestError, match=said):
        ordered(*messages)


@pytest.mark.parametrize(
    ("messages", "ids", "count"),
    [
        ([USER], frozenset[str](), 0),
        ([USER, calls("call_a", ""), calls("functions.f:2")], frozenset({"call_a", "functions.f:0", "functions.f:1", "functions.f:2"}), 3),
        ([USER, calls("functions.f:7")], frozenset({"functions.f:7"}), 8),
    ],
    ids=["no calls", "foreign", "trimmed"],
)  # fmt: skip
def test_what_new_calls_must_avoid(messages: Sequence[Message], ids: frozenset[str], count: int) -> None:
    """New calls avoid the caller's ids and those of the wire, and count on from the highest number."""
    history = ordered(*messages).history
    assert (history.ids, history.calls) == (ids, count)


def test_earlier_part_stays() -> None:
    """What has been sent once is sent alike in the next turn, so that the server's prefix cache holds."""
    conversation: list[Message] = []
    before: list[Entry] = []
    for turn in range(20):
        history = ordered(*conversation).history if conversation else None
        number = history.calls if history else 0
        # Every other answer comes from another model.
        identity = f"functions.f:{number}" if turn % 2 else f"call_{turn}"
        conversation += [USER, calls(identity), result(identity)]
        sent = ordered(*conversation).entries
        assert sent[: len(before)] == before
        before = sent


ARGUMENTS = [
    ("object", '{"a": 1}', '{"a": 1}'),
    ("nothing", "", "{}"),
    ("null", "null", "{}"),
    ("encoded twice", '"{\\"a\\": 1}"', '{"a": 1}'),
    ("raw line break", '{"a": "1\n2"}', '{"a": "1\\n2"}'),
    ("cut off", '{"a": ', '{"invalid_arguments": "{\\"a\\": "}'),
    ("a list", "[1]", '{"invalid_arguments": "[1]"}'),
    ("no JSON number", '{"a": NaN}', '{"invalid_arguments": "{\\"a\\": NaN}"}'),
    ("nested beyond reading", "[" * 100_000, '{"invalid_arguments": "' + "[" * 100_000 + '"}'),
]


@pytest.mark.parametrize(
    ("given", "sent"), [case[1:] for case in ARGUMENTS], ids=[case[0] for case in ARGUMENTS]
)
def test_arguments(given: str, sent: str) -> None:
    """Arguments go out as JSON text of an object; what cannot be one travels inside one."""
    message = Message("assistant", tool_calls=[ToolCall("a", "f", given)])
    assert ordered(USER, message).entries[-1][2][0].arguments == sent


def test_linear() -> None:
    """Ten times the turns take about ten times as long, in the worst case of one id for all calls."""

    def seconds(turns: int) -> float:
        messages = [message for _ in range(turns) for message in (USER, calls("c"), calls("c"), result("c"))]
        gc.collect()  # what other tests have left is not searched while the clock runs
        started = time.thread_time()
        order(messages)
        return time.thread_time() - started

    seconds(200)
    assert any(seconds(2000) / seconds(200) < 10 * 2 for _ in range(5))
