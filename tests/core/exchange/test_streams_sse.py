"""Cutting a byte stream into events: the same ones wherever the network cuts it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_vertex._transport.encodings import UnreadableBody
from kimi_vertex._transport.sse import LONGEST_EVENT, EventReader


def read(*chunks: bytes, limit: int = LONGEST_EVENT) -> list[str]:
    reader = EventReader(limit)
    return [event for chunk in chunks for event in reader.feed(chunk)] + reader.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data:a\n\ndata:  b\n\n", ["a", " b"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b": ping\n\n:\n\ndata: a\n\n: bye\n\n", ["a"]),
        (b"event: x\nid: 1\nretry: 5\n\nid: 2\n\ndata: a\nid: 3\n\n", ["a"]),
        (b"\n\n\n\ndata: a\n\n\n\n", ["a"]),
        (b"data: a", ["a"]),
        (b"data: a\n", ["a"]),
        (b"data: a\n\ndata", ["a"]),
        (
            "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
            ["a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"],
        ),
        ("data: \U0001f9d1\u200d\U0001f680\n\n".encode(), ["\U0001f9d1\u200d\U0001f680"]),
        (b"data: \xff\xc3\n\n", ["\ufffd\ufffd"]),
        (b"", []),
    ],
)
def test_events_at_every_cut(stream: bytes, events: list[str]) -> None:
    """The events are right for the whole stream, for every cut in two, and byte by byte."""
    assert read(stream) == events
    assert all(read(stream[:cut], stream[cut:]) == events for cut in range(len(stream)))
    assert read(*[stream[i : i + 1] for i in range(len(stream))]) == events


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"data: a", b"data:", b"\r", b"\n", b"\r\n", b": c", b"x", b"\xc3\xa9", b"id: 1"])
    ),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_any_cut_gives_the_same_events(pieces: list[bytes], cuts: list[int]) -> None:
    """However a stream is cut, its events are those of the whole."""
    stream = b"".join(pieces)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert read(*[stream[a:b] for a, b in itertools.pairwise(edges)]) == read(stream)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"data: a\n\n",
                b"data: \n\n",
                b"data:  b\n\n",
                b"data: \xc3\xa9\xe2\x80\xa8\n\n",
                b"data: a\ndata: b\n\n",
                b"data:c\n\n",
                b"data: \xff\n\n",
                b"data: \r\n\n",
                b": ping\n\n",
                b"id: 1\n\n",
                b"\n",
                b"data: d",
            ]
        ),
        max_size=8,
    )
)
def test_whole_events_are_what_httpx_sse_reads(pieces: list[bytes]) -> None:
    """Chunks that are whole events, which are not given to httpx-sse, hold what it finds in the stream as a whole."""
    first = b"data: first\n\n"
    assert read(first, b"".join(pieces)) == read(first, *pieces) == read(first + b"".join(pieces))


@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 200, b"data: xxxxxxxxxxxxxxxxxx\n" * 20, b"x" * 200],
    ids=["one line", "many lines", "no field"],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_is_bounded(stream: bytes, size: int) -> None:
    """A line, or an event of many lines, that goes on for ever is given up at the limit."""
    with pytest.raises(UnreadableBody, match="longer than 100 bytes"):
        read(*[stream[at : at + size] for at in range(0, len(stream), size)], limit=100)


def test_the_bound_is_for_an_event_not_for_the_stream() -> None:
    """A long stream of short events is read to its end, however it is cut."""
    stream = b": comment\n\ndata: abc\n\n" * 100
    chunks = [stream[at : at + 13] for at in range(0, len(stream), 13)]
    assert read(*chunks, limit=100) == ["abc"] * 100
