"""The errors as values: their tree, their pickles, their copies, and what must not be in them."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from kimi_vertex import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    Completion,
    ConfigurationError,
    CredentialsError,
    EmptyTurnError,
    InvalidRequestError,
    KimiVertexClient,
    KimiVertexError,
    RateLimitError,
    StreamInterruptedError,
    errors,
)
from kimi_vertex_emulator import Emulator, Raw

from .support_core import THINKING, each_form, perform

PARTIAL = Completion(thinking="Hm.", text="Hel")
EXAMPLES: list[KimiVertexError] = [
    ConfigurationError("no project"),
    InvalidRequestError("no image"),
    CredentialsError("busy", is_retryable=True),
    APIError("failed", partial=PARTIAL, request_id="r"),
    APIConnectionError("refused"),
    APITimeoutError("slow", partial=PARTIAL),
    RateLimitError(
        "full",
        status_code=429,
        code="RESOURCE_EXHAUSTED",
        body={"error": {}},
        retry_after=2.5,
        request_id="r",
    ),
    APIResponseError("odd"),
    StreamInterruptedError("cut", partial=PARTIAL),
    EmptyTurnError("empty", partial=PARTIAL),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickling(error: KimiVertexError, protocol: int) -> None:
    """An error crosses a process boundary with its class, its text and all of its attributes."""
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is type(error)
    assert (twin.message, str(twin), twin.args) == (error.message, str(error), error.args)
    assert twin.__dict__ == error.__dict__


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_can_be_copied(error: KimiVertexError) -> None:
    """Several waiters can raise copies of one error, each with a traceback of its own."""
    twin = copy.copy(error)
    assert twin is not error
    assert twin.__dict__ == error.__dict__


def test_one_base_and_the_usual_ones() -> None:
    """Everything is a `KimiVertexError`; mistakes of the caller's are `ValueError`, too."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(kind, KimiVertexError) for kind in kinds)
    assert {k.__name__ for k in kinds if issubclass(k, ValueError)} == {
        "ConfigurationError",
        "InvalidRequestError",
    }


@each_form
def test_errors_of_calls_can_be_pickled(emulator: Emulator, form: str) -> None:
    """What a call raises holds no connection, request or response, and pickles with its partial answer."""
    body = json.dumps([{"error": {"code": 404, "message": "No such model.", "status": "NOT_FOUND"}}]).encode()
    emulator.enqueue(Raw([THINKING, "cut"]), Raw([body], status=404))
    client = KimiVertexClient(base_url=emulator.base_url, max_retries=0, pace=None)
    for kind in (APIError, APIStatusError):
        error = perform(client, form).error
        assert isinstance(error, kind)
        twin = pickle.loads(pickle.dumps(error))
        assert twin.__dict__ == error.__dict__


@each_form
def test_errors_show_no_inner_exceptions(emulator: Emulator, form: str) -> None:
    """A traceback ends in one error with the whole story, without httpx's exceptions before it."""
    emulator.enqueue(Raw(["reset"], status=None))
    error = perform(KimiVertexClient(base_url=emulator.base_url, max_retries=0, pace=None), form).error
    assert error is not None
    assert "httpx" not in "".join(traceback.format_exception(error))


@each_form
def test_errors_have_no_token(emulator: Emulator, form: str) -> None:
    """Neither the text, nor the repr, nor the attributes of an error, nor its traceback has the token."""
    emulator.enqueue(Raw([b'{"error": {"message": "Denied."}}'], status=403))
    client = KimiVertexClient(base_url=emulator.base_url, access_token="secret-token")
    error = perform(client, form).error
    assert isinstance(error, APIStatusError)
    shown = [str(error), repr(error), repr(error.__dict__), *traceback.format_exception(error)]
    assert "secret" not in " ".join(shown)
