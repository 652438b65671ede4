"""Errors: one clear error of a type that both worlds know, and bad input before anything is sent."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from langchain_core import exceptions as lc
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda

import kimi_vertex
from kimi_vertex_emulator import Call, Emulator, Raw, Turn
from langchain_kimi_vertex import ChatKimiVertex
from langchain_kimi_vertex._errors import to_langchain_error

from .conftest import MakeModel


def _refusal(status: int, message: str, code: str) -> Raw:
    body = [{"error": {"code": status, "message": message, "status": code}}]
    return Raw([json.dumps(body).encode()], status=status)


CASES: list[tuple[int, str, str, type[Exception], type[Exception]]] = [
    (400, "Bad.", "INVALID_ARGUMENT", kimi_vertex.BadRequestError, lc.ModelInvalidRequestError),
    (
        400,
        "This model's maximum context length is 262144 tokens. However, you requested 300000 tokens.",
        "INVALID_ARGUMENT",
        kimi_vertex.ContextOverflowError,
        lc.ContextOverflowError,
    ),
    (401, "No.", "UNAUTHENTICATED", kimi_vertex.AuthenticationError, lc.ModelAuthenticationError),
    (403, "No.", "PERMISSION_DENIED", kimi_vertex.PermissionDeniedError, lc.ModelPermissionDeniedError),
    (404, "Not found.", "NOT_FOUND", kimi_vertex.NotFoundError, lc.ModelNotFoundError),
    (413, "Too large.", "INVALID_ARGUMENT", kimi_vertex.RequestTooLargeError, lc.ModelInvalidRequestError),
    (429, "Resource exhausted.", "RESOURCE_EXHAUSTED", kimi_vertex.RateLimitError, lc.ModelRateLimitError),
    (503, "Unavailable.", "UNAVAILABLE", kimi_vertex.InternalServerError, lc.ModelAPIError),
]


PATHS = ["invoke", "ainvoke", "stream", "astream"]


async def _call(path: str, model: ChatKimiVertex, messages: Any = "q") -> None:
    match path:
        case "invoke":
            model.invoke(messages)
        case "ainvoke":
            await model.ainvoke(messages)
        case "stream":
            list(model.stream(messages))
        case "astream":
            [_ async for _ in model.astream(messages)]


@pytest.mark.parametrize("path", PATHS)
async def test_both_types(emulator: Emulator, make_model: MakeModel, path: str) -> None:
    """Each status raises an error that is our type and LangChain's, with status, response and Google's text."""
    model = make_model(max_retries=0, pace=None)
    for status, message, code, ours, theirs in CASES:
        emulator.enqueue(_refusal(status, message, code))
        with pytest.raises(ours) as caught:
            await _call(path, model)
        assert isinstance(caught.value, theirs)
        error: Any = caught.value
        assert error.status_code == error.response.status_code == status
        assert message in str(error)
        assert message in error.response.text
        assert error.is_retryable == (status in (429, 503))


@pytest.mark.parametrize("path", PATHS)
async def test_unreachable(path: str) -> None:
    """A server that is not there is a connection error in both worlds."""
    with pytest.raises(kimi_vertex.APIConnectionError) as caught:
        await _call(path, ChatKimiVertex(base_url="http://127.0.0.1:9/v1", max_retries=0, pace=None))
    assert isinstance(caught.value, lc.ModelConnectionError)


@pytest.mark.parametrize("path", ["stream", "astream"])
async def test_interrupted_stream(emulator: Emulator, make_model: MakeModel, path: str) -> None:
    """A stream that breaks off raises, with what had arrived as a message; nothing in it is executable."""
    function = {"name": "f", "arguments": '{"a": 1, "b'}
    calls = [{"index": 0, "id": "functions.f:0", "type": "function", "function": function}]
    delta = {"reasoning_content": "Hm.", "content": "It is", "tool_calls": calls}
    event = b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"
    emulator.enqueue(Raw([event, "cut"]))
    with pytest.raises(kimi_vertex.StreamInterruptedError) as caught:
        await _call(path, make_model())
    assert isinstance(caught.value, lc.ModelConnectionError)
    error: Any = caught.value
    message = error.partial_message
    assert (message.text, message.additional_kwargs["reasoning_content"]) == ("It is", "Hm.")
    assert not message.tool_calls
    assert len(message.invalid_tool_calls) == 1


def test_errors_are_picklable() -> None:
    """A joined error survives pickling with all it knows."""
    original = kimi_vertex.RateLimitError(
        "slow down", status_code=429, body={"a": 1}, request_id="r", retry_after=2.0
    )
    joined: Any = to_langchain_error(original)
    copy = pickle.loads(pickle.dumps(joined))
    assert type(copy) is type(joined)
    assert (str(copy), copy.retry_after, copy.response.json(), copy.request_id) == (
        "slow down",
        2.0,
        {"a": 1},
        "r",
    )


def test_every_public_error_is_joined() -> None:
    """No error that a call can raise lacks LangChain's base class."""
    exported = [value for value in vars(kimi_vertex).values() if isinstance(value, type)]
    errors = {value for value in exported if issubclass(value, kimi_vertex.KimiVertexError)}
    for error in errors - {kimi_vertex.KimiVertexError, kimi_vertex.ConfigurationError}:
        arguments: dict[str, Any] = (
            {"status_code": 500} if issubclass(error, kimi_vertex.APIStatusError) else {}
        )
        assert isinstance(to_langchain_error(error("x", **arguments)), lc.ModelError), error


@pytest.mark.parametrize(
    "messages",
    [
        [HumanMessage([{"type": "image", "url": "https://example.com/a.png"}])],
        [HumanMessage([{"type": "audio", "base64": "AA==", "mime_type": "audio/wav"}])],
        [HumanMessage("q"), ToolMessage("r", tool_call_id="nobody")],
    ],
)
@pytest.mark.parametrize("path", PATHS)
async def test_bad_input_is_not_sent(
    emulator: Emulator, model: ChatKimiVertex, path: str, messages: Any
) -> None:
    """Images for a text model, unknown content and orphan results raise before any request."""
    with pytest.raises(kimi_vertex.InvalidRequestError) as caught:
        await _call(path, model, messages)
    assert isinstance(caught.value, lc.ModelInvalidRequestError)
    assert not emulator.requests


@pytest.mark.parametrize(
    "settings",
    [
        {"project": "Not A Project!"},
        {"project": "p", "location": "the moon"},
        {"endpoint": "projects/p/locations/us-central1/wrong/1"},
        {"base_url": "ftp://example.com"},
        {"base_url": "http://127.0.0.1:1/v1", "temperature": 9},
        {"base_url": "http://127.0.0.1:1/v1", "max_retries": -1},
    ],
)
def test_bad_settings_raise_at_construction(settings: dict[str, Any]) -> None:
    """A wrong setting is the core's `ConfigurationError` as soon as the model is made."""
    with pytest.raises(kimi_vertex.ConfigurationError):
        ChatKimiVertex(**settings)


def test_misspelt_settings_raise_without_the_token() -> None:
    """An unknown parameter is an error, and the error does not print the other parameters."""
    settings: Any = {"temprature": 1, "access_token": "hunter2"}
    with pytest.raises(ValueError, match="temprature") as caught:
        ChatKimiVertex(**settings)
    assert "hunter2" not in str(caught.value)


def test_retry_and_fallbacks(emulator: Emulator, make_model: MakeModel) -> None:
    """LangChain's `with_retry` and `with_fallbacks` work on the joined errors."""
    overloaded = _refusal(429, "Resource exhausted.", "RESOURCE_EXHAUSTED")
    model = make_model(max_retries=0, pace=None)
    emulator.enqueue(overloaded, Turn(text="second"))
    retrying = model.with_retry(
        retry_if_exception_type=(lc.ModelRateLimitError,), wait_exponential_jitter=False, stop_after_attempt=2
    )
    assert retrying.invoke("q").text == "second"
    emulator.enqueue(overloaded)
    fallback: Any = RunnableLambda(lambda _: "fallback")
    safe: Any = model.with_fallbacks([fallback], exceptions_to_handle=(lc.ModelRateLimitError,))
    assert safe.invoke("q") == "fallback"


def test_invalid_calls_are_visible(emulator: Emulator, model: ChatKimiVertex) -> None:
    """`invoke` gives the exact text of a cut call and the reason."""
    emulator.enqueue(Turn(tool_calls=[Call("f", '{"a": "b')], finish_reason="length"))
    message = model.invoke("q")
    assert not message.tool_calls
    assert message.invalid_tool_calls[0]["args"] == '{"a": "b'
    assert message.invalid_tool_calls[0]["error"]


@pytest.mark.parametrize("path", PATHS)
async def test_missing_credentials(path: str) -> None:
    """Without credentials there is one error that says how to get them, of both worlds' types."""
    with pytest.raises(kimi_vertex.CredentialsError, match="gcloud auth application-default login") as caught:
        await _call(
            path,
            ChatKimiVertex(model="moonshotai/kimi-k2-thinking-maas", project="a-project", location="global"),
        )
    assert isinstance(caught.value, lc.ModelAuthenticationError)
