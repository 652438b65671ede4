"""Whatever is given as a setting, an option or credentials: it works, or is refused by an error of this library."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from google.auth import credentials as google_credentials
from google.auth import exceptions as google_exceptions

from kimi_vertex import (
    CLIENT_SETTINGS,
    ConfigurationError,
    CredentialsError,
    KimiVertexClient,
    RequestOptions,
    Timeouts,
)
from kimi_vertex_emulator import Emulator
from tests.core.support_core import expect_sound

from .support_errors import ASK, MANAGED, each_class, first_words


class Odd:
    """An object that cannot be compared, and whose words hold what a terminal obeys."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    def __repr__(self) -> str:
        return "odd\nvalue\x1b[2J"


class Mute:
    """An object that cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("printed")


def _deep() -> dict[str, Any]:
    nest: dict[str, Any] = {}
    for _ in range(3_000):
        nest = {"a": nest}
    return nest


ODD: Final[dict[str, Any]] = {
    "NaN": math.nan,
    "infinite": -math.inf,
    "a number of 5,000 digits": 10**5000,
    "a number beyond floats": 10**400,
    "bytes": b"x",
    "a lone surrogate": "a\ud800b",
    "a line break": "a\nb\x1b[2J",
    "a long text": "x" * 100_000,
    "a path": Path("/x\0y"),
    "a function": lambda: 1,
    "a class": Odd,
    "an odd object": Odd(),
    "a mute object": Mute(),
    "a nest": _deep(),
    "a set": {1},
    "a decimal": decimal.Decimal("NaN"),
    "a date": dt.timedelta(seconds=5),
    "keys that are no text": {5: b"x", None: "\ud800"},
    "a list": [Odd()],
}
each_value = pytest.mark.parametrize("value", ODD.values(), ids=ODD)
each_made = pytest.mark.parametrize("make", ASK)


@pytest.fixture(scope="module")
def nowhere() -> Iterator[str]:
    """A port of this machine where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def attempt(ask: Callable[..., Any], *given: Any) -> None:
    try:
        ask(*given)
    except Exception as error:
        expect_sound(error)


@each_class
@each_value
def test_settings(ask: Any, value: Any, nowhere: str) -> None:
    """A setting of any kind and value raises nothing of Python's, pydantic's or httpx's."""
    for name in CLIENT_SETTINGS:
        attempt(ask, {"base_url": nowhere, "max_retries": 0, "max_retry_seconds": 0, name: value}, {})


@each_made
@each_value
def test_places(make: Any, value: Any) -> None:
    """The same holds for what names a place at Google's."""
    for name in ("endpoint", "endpoint_host", "project", "location", "model"):
        attempt(lambda settings: make(**settings), {"model": MANAGED, "access_token": "t", name: value})


@each_made
@each_value
def test_options(make: Any, value: Any, nowhere: str) -> None:
    """The same holds for the options of a request."""
    model = make(base_url=nowhere, max_retries=0)
    for name in RequestOptions.__annotations__:
        attempt(ASK[make], model, {name: value})


def test_a_value_is_shown_in_brief(nowhere: str) -> None:
    """An error quotes the beginning of a long value, so that the advice behind it is still there."""
    with pytest.raises(ConfigurationError) as caught:
        KimiVertexClient(base_url=nowhere, reasoning_effort="x" * 5_000)  # type: ignore[arg-type]
    assert "it must be one of" in str(caught.value)[:120]


class _Credentials(google_credentials.Credentials):
    """Credentials that fail where they are told to."""

    def __init__(self, place: str, error: Exception) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fails = {place: error}

    def _maybe(self, place: str) -> None:
        if place in self._fails:
            raise self._fails[place]

    def refresh(self, request: Any) -> None:
        self._maybe("refresh")
        self.token = "t"

    def apply(self, headers: dict[str, str], token: str | None = None) -> None:
        self._maybe("apply")
        headers["authorization"] = "Bearer t"

    @property
    def token_state(self) -> Any:
        self._maybe("token_state")
        return super().token_state

    @property
    def universe_domain(self) -> str:
        self._maybe("universe_domain")
        return "googleapis.com"

    @property
    def project_id(self) -> str:
        self._maybe("project_id")
        return "p"

    @property
    def account(self) -> str:
        self._maybe("account")
        return "ada@example.com"


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("printed")


FAILURES: Final = [
    ValueError("a\nb\x1b[2J \ud800"),
    ValueError("x" * 100_000),
    _MuteError("x"),
    KeyError("x"),
    RecursionError(),
    StopIteration(5),
    google_exceptions.RefreshError(_MuteError(), {"a": 1}),  # type: ignore[no-untyped-call]
    google_exceptions.TransportError(b"\xff"),  # type: ignore[no-untyped-call]
    google_exceptions.DefaultCredentialsError("x", _MuteError()),  # type: ignore[no-untyped-call]
    ExceptionGroup("x", [ValueError("y")]),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "place", ["refresh", "apply", "token_state", "universe_domain", "project_id", "account"]
)
def test_credentials_that_fail(place: str, error: Exception, nowhere: str) -> None:
    """What a credentials object raises, wherever it does, is a `CredentialsError`."""
    credentials = _Credentials(place, error)
    client = KimiVertexClient(base_url=nowhere, credentials=credentials, max_retries=0)
    runs: list[Callable[[], object]] = [
        lambda: client.complete("Hi"),
        lambda: asyncio.run(client.acomplete("Hi")),
    ]
    for run in runs:
        with pytest.raises(CredentialsError) as caught:
            run()
        expect_sound(caught.value)


@each_class
def test_an_httpx_timeout_is_a_timeout(ask: Any, emulator: Emulator) -> None:
    """`httpx.Timeout` is taken for what it means, as a setting and as an option."""
    timeout = httpx.Timeout(7, read=1e-9)
    server = {"base_url": emulator.base_url, "max_retries": 0}
    assert "did not begin to answer in time" in first_words(ask, {**server, "timeout": timeout})
    assert "did not begin to answer in time" in first_words(ask, server, {"timeout": timeout})
    assert Timeouts.of(httpx.Timeout(7, read=9, connect=None)) == Timeouts(None, 9, 9)


@pytest.mark.parametrize("timeout", [(3, 5), dt.timedelta(seconds=3), "3s"])
@each_class
def test_other_timeouts_are_told_how(ask: Any, timeout: Any, nowhere: str) -> None:
    """What other libraries take for a timeout is refused with what is taken here."""
    seen = first_words(ask, {"base_url": nowhere}, {"timeout": timeout})
    assert "number of seconds" in seen
    assert "Timeouts" in seen


@each_class
def test_timeout_and_retries_by_variable(ask: Any, nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`KIMI_VERTEX_TIMEOUT` and `KIMI_VERTEX_MAX_RETRIES` stand in for settings that are not given."""
    stats: list[Any] = []
    monkeypatch.setenv("KIMI_VERTEX_MAX_RETRIES", "0")
    monkeypatch.setenv("KIMI_VERTEX_TIMEOUT", "x")
    assert "KIMI_VERTEX_TIMEOUT='x'" in first_words(ask, {"base_url": nowhere})
    monkeypatch.setenv("KIMI_VERTEX_TIMEOUT", "5")
    assert "Could not connect" in first_words(ask, {"base_url": nowhere, "on_request": stats.append})
    assert [stat.attempts for stat in stats] == [1]
    monkeypatch.setenv("KIMI_VERTEX_MAX_RETRIES", "two")
    assert "KIMI_VERTEX_MAX_RETRIES='two' must be a whole number" in first_words(ask, {"base_url": nowhere})


@each_made
def test_the_model_by_its_place(make: Any, nowhere: str) -> None:
    """The model may be the first argument of each class, and may not be given twice."""
    assert make("kimi", base_url=nowhere).model == "kimi"
    with pytest.raises((ConfigurationError, TypeError)):
        make("kimi", base_url=nowhere, model="kimi")
