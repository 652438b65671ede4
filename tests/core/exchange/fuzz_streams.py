"""Damages the bytes of valid answers at random and sends them through the whole client, without sockets.

Run `python -m tests.core.exchange.fuzz_streams --runs 200000` for a long run; the test suite makes a short one.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import gzip
import json
import logging
import pickle
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import httpx

from kimi_vertex import APIError, Completion, Event, Finish, KimiVertexClient, KimiVertexError, accumulate
from tests.core.answer.support_decoder import chunk
from tests.core.answer.support_quirks import ROWS

__all__ = ["check_error", "one_run"]

CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
TOOLS: Final = [
    {
        "type": "function",
        "function": {"name": "bash", "parameters": {"type": "object", "properties": {"command": {}}}},
    }
]
BYTES: Final = [
    b"\0",
    b"\n",
    b"\r",
    b"\n\n",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\\",
    b'"',
    b"{",
    b"}",
    b"data:",
    b"\x1b[2J",
]
VALUES: Final = [
    "null", "true", "-1", "1e999", "NaN", "-0", "9" * 25, "9" * 5000, '""', "[]", "{}", '"\\ud800"', '"\\u0000"',
    '"' + "x" * 5000 + '"', "[" * 40 + "]" * 40, '{"a":' * 900 + "1" + "}" * 900, "[" * 5000 + "]" * 5000,
]  # fmt: skip
LINES: Final = [
    b"", b": hi", b"event: error", b"id: 1", b"retry: 9" * 9, b"data", b"data:", b"data: [DONE]", b"data: {", b"data: []",
    b'data: {"error": {"code": 503, "message": "no"}}', b'data: {"error": "no"}', b'data: {"choices": null}',
    b"<html>", b"HTTP/1.1 200 OK", b"x" * 70_000,
]  # fmt: skip
HEADERS: Final = [
    ("content-type", "text/html"), ("content-type", ""), ("content-encoding", "gzip"), ("content-encoding", "br"),
    ("retry-after", "9" * 30), ("location", "http://[::1"), ("x-request-id", "a" * 5000), ("content-length", "3"),
]  # fmt: skip
STATUSES: Final = [200] * 12 + [204, 302, 400, 401, 404, 429, 500, 503]


def _insert(body: bytearray, chance: random.Random) -> None:
    at = chance.randint(0, len(body))
    body[at:at] = chance.choice(BYTES) * chance.choice((1, 1, 1, 30))


def _delete(body: bytearray, chance: random.Random) -> None:
    at = chance.randint(0, len(body))
    del body[at : at + chance.choice((1, 2, 8, 50))]


def _flip(body: bytearray, chance: random.Random) -> None:
    if body:
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)


def _repeat(body: bytearray, chance: random.Random) -> None:
    at = chance.randint(0, len(body))
    body[at:at] = body[at : at + chance.choice((1, 9, 200))] * chance.choice((1, 20))


def _move(body: bytearray, chance: random.Random) -> None:
    lines = body.split(b"\n\n")
    chance.shuffle(lines)
    body[:] = b"\n\n".join(lines)


def _cut(body: bytearray, chance: random.Random) -> None:
    del body[chance.randint(0, len(body)) :]


def _behead(body: bytearray, chance: random.Random) -> None:
    del body[: chance.randint(0, len(body))]


def _line(body: bytearray, chance: random.Random) -> None:
    lines = body.split(b"\n")
    lines.insert(chance.randint(0, len(lines)), bytearray(chance.choice(LINES)))
    body[:] = b"\n".join(lines)


def _ends(body: bytearray, chance: random.Random) -> None:
    body[:] = body.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\r", b"\n \n")))


def _encode(body: bytearray, chance: random.Random) -> None:
    text = body.decode("utf-8", "replace")
    body[:] = text.encode(chance.choice(("utf-16", "latin-1", "utf-8-sig", "utf-32")), "replace")


def _value(body: bytearray, chance: random.Random) -> None:
    """Put another value, or key, in the place of one of the body's own."""
    found = list(re.finditer(rb'"(?:[^"\\\n]|\\.)*"|\d+|null', body))
    if found:
        place = chance.choice(found)
        body[place.start() : place.end()] = chance.choice(VALUES).encode()


def _entry(body: bytearray, chance: random.Random) -> None:
    """Add a key to an object."""
    found = [place.end() for place in re.finditer(rb"\{", body)]
    if found:
        key = chance.choice(
            (
                "choices",
                "error",
                "predictions",
                "delta",
                "message",
                "tool_calls",
                "usage",
                "index",
                "function",
                "logprobs",
                "object",
            )
        )
        at = chance.choice(found)
        body[at:at] = f'"{key}":{chance.choice(VALUES)},'.encode()


_DAMAGES: Final[list[Callable[[bytearray, random.Random], None]]] = [
    _insert, _delete, _flip, _repeat, _move, _cut, _behead, _line, _line, _ends, _encode, _value, _value, _value, _entry,
]  # fmt: skip


class _Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, body: bytes, chance: random.Random) -> None:
        step = chance.choice((1 << 20, 4096, 50))
        self._pieces = [body[at : at + step] for at in range(0, len(body), step)]
        self._fails = chance.random() < 0.05

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._fails:
            raise httpx.ReadError("broken")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._fails:
            raise httpx.ReadError("broken")


class _Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers with what it is given."""

    answer: Callable[[], httpx.Response]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self.answer()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return self.answer()


_TRANSPORT: Final = _Transport()
_SETTINGS: Final[dict[str, Any]] = {
    "base_url": "http://127.0.0.1:9/v1",
    "max_retries": 0,
    "pace": None,
    "tool_validation": "off",
}
_CLIENTS: Final[dict[bool | None, KimiVertexClient]] = {}


def _client(implicit: bool | None) -> KimiVertexClient:
    if implicit not in _CLIENTS:
        _CLIENTS[implicit] = KimiVertexClient(
            **_SETTINGS,
            implicit_thinking=implicit,
            http_client=httpx.Client(transport=_TRANSPORT),
            http_async_client=httpx.AsyncClient(transport=_TRANSPORT),
        )
    return _CLIENTS[implicit]


def _valid(chance: random.Random, *, stream: bool) -> bytearray:
    row = chance.choice(ROWS)
    deltas = [copy.deepcopy(dict(delta)) for delta in row.deltas]
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    if stream:
        chunks = [chunk(delta) for delta in deltas] + [chunk({}, row.sent_reason, usage=usage)]
        return bytearray(
            "".join(f"data: {json.dumps(one)}\n\n" for one in chunks).encode() + b"data: [DONE]\n\n"
        )
    message: dict[str, Any] = {"role": "assistant"}
    for delta in deltas:
        for key, value in delta.items():
            old: Any = message.get(key)
            new: Any = value
            is_piece = isinstance(old, str | list) and type(old) is type(new)
            message[key] = old + new if is_piece else new
    body = {
        "id": "r",
        "choices": [{"index": 0, "message": message, "finish_reason": row.sent_reason}],
        "usage": usage,
    }
    return bytearray(json.dumps(body).encode())


def one_run(seed: int) -> None:
    """Damage one answer, ask for it and check what comes."""
    chance = random.Random(seed)
    stream, on_loop = chance.random() < 0.7, chance.random() < 0.2
    body = _valid(chance, stream=stream)
    for _ in range(chance.randint(1, 4)):
        chance.choice(_DAMAGES)(body, chance)
    headers = {"content-type": "text/event-stream" if stream else "application/json"}
    if chance.random() < 0.1:
        name, value = chance.choice(HEADERS)
        headers[name] = value
    sent = bytes(body)
    if chance.random() < 0.05:
        headers["content-encoding"], sent = "gzip", gzip.compress(sent, 1)
    status = chance.choice(STATUSES)
    _TRANSPORT.answer = lambda: httpx.Response(status, headers=headers, stream=_Pieces(sent, chance))
    client = _client(chance.choice((None, True, False)))
    options: dict[str, Any] = {"tools": TOOLS} if chance.random() < 0.7 else {}
    events: list[Event] = []
    completion, error = (
        asyncio.run(_ask_async(client, options, events, stream=stream))
        if on_loop
        else _ask(client, options, events, stream=stream)
    )
    if error is not None:
        check_error(error)
        partial = error.partial if isinstance(error, APIError) else None
        if stream and partial is not None:
            shown = accumulate(events)
            assert (shown.text, shown.thinking) == (partial.text, partial.thinking)
        return
    assert completion is not None
    pickle.dumps(completion)
    repr(completion).encode("utf-8", "surrogatepass")
    for call in completion.tool_calls:
        assert isinstance(json.loads(call.arguments), dict)
        assert call.name
        assert call.id
    if stream:
        assert isinstance(events[-1], Finish)
        assert accumulate(events) == completion


def _ask(
    client: KimiVertexClient, options: dict[str, Any], events: list[Event], *, stream: bool
) -> tuple[Completion | None, Exception | None]:
    try:
        if not stream:
            return client.complete("Hi", **options), None
        answer = client.stream("Hi", **options)
        events.extend(answer)
    except Exception as error:  # it is checked
        return None, error
    return answer.completion, None


async def _ask_async(
    client: KimiVertexClient, options: dict[str, Any], events: list[Event], *, stream: bool
) -> tuple[Completion | None, Exception | None]:
    try:
        if not stream:
            return await client.acomplete("Hi", **options), None
        answer = client.astream("Hi", **options)
        async for event in answer:
            events.append(event)  # noqa: PERF401  # what came before an error counts
    except Exception as error:  # it is checked
        return None, error
    return answer.completion, None


def check_error(error: Exception) -> None:
    """An error of this library, that prints and pickles, is short, and is one line whatever it quotes."""
    assert isinstance(error, KimiVertexError), repr(error)
    for text in (str(error), repr(error)):
        assert len(text) < 2_500
        assert not CONTROL.search(text), text
        text.encode()
    assert "defect" not in str(error), error
    twin = pickle.loads(pickle.dumps(error))
    assert str(twin) == str(error)
    repr(twin.__dict__)


def main() -> None:
    """Make the runs that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first run")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    started, slowest = time.perf_counter(), (0.0, 0)
    for seed in range(options.seed, options.seed + options.runs):
        begun = time.perf_counter()
        try:
            one_run(seed)
        except BaseException:
            print(f"run {seed} failed; repeat it with --seed {seed} --runs 1")  # noqa: T201
            raise
        slowest = max(slowest, (time.perf_counter() - begun, seed))
    seconds = time.perf_counter() - started
    print(f"{options.runs:,} damaged answers, {seconds:.0f} s, slowest {slowest[0]:.3f} s (run {slowest[1]})")  # noqa: T201


if __name__ == "__main__":
    main()
