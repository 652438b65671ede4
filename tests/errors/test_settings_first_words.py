"""A mistake in a setting, an option or a variable: its first 120 characters say what is wrong and what to write."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from kimi_vertex import ConfigurationError, KimiVertexClient
from kimi_vertex_emulator import Emulator
from langchain_kimi_vertex import ChatKimiVertex
from llama_index_kimi_vertex import KimiVertex

from .support_errors import CLASSES, ENDPOINT, MANAGED, SEEN, each_class, first_words

HERE: dict[str, Any] = {"endpoint": ENDPOINT, "access_token": "t"}
AT = {"project": "my-project", "location": "us-central1"}
BASE = {"base_url": "https://kimi.example.com/v1"}

SETTINGS: dict[str, tuple[dict[str, Any], dict[str, str], list[str]]] = {
    "zone": ({"location": "us-central1-a", "model": MANAGED}, {}, ["is a zone", "us-central1."]),
    "upper case": ({"location": "US-CENTRAL1", "model": MANAGED}, {}, ["Did you mean 'us-central1'"]),
    "letter for digit": ({"location": "us-centrall", "model": MANAGED}, {}, ["Did you mean 'us-central1'"]),
    "region misspelt": ({"location": "us-cental1", "model": MANAGED}, {}, ["Did you mean 'us-central1'"]),
    "area misspelt": ({"location": "eruope-west4", "model": MANAGED}, {}, ["Did you mean 'europe-west4'"]),
    "underscore": ({"location": "us_central1", "model": MANAGED}, {}, ["Did you mean 'us-central1'"]),
    "project name": ({"project": "My Project", "model": MANAGED}, {}, ["not a Google Cloud project id"]),
    "letter in an id": ({"endpoint": "12345O7890", **AT}, {}, ["character 6", "'O'", "a 0?"]),
    "small letter in an id": ({"endpoint": "12345o7890", **AT}, {}, ["character 6", "'o'", "a 0?"]),
    "display name": ({"endpoint": "Kimi K2.5 prod", **AT}, {}, ["display name", "gcloud ai endpoints list"]),
    "endpoint as URL": ({"endpoint": f"https://x/v1/{ENDPOINT}"}, {}, ["is a URL", "resource name"]),
    "no region": ({"endpoint": "1234567890", "project": "my-project"}, {}, ["pass location="]),
    "host over http": ({**HERE, "endpoint_host": "http://10.0.0.3"}, {}, ["plain http", "https://"]),
    "base_url over http": ({"base_url": "http://10.0.0.3:8000/v1"}, {}, ["plain http", "access token"]),
    "base_url without scheme": ({"base_url": "10.0.0.3:8000/v1"}, {}, ["must begin with https://"]),
    "two places": ({**BASE, "endpoint": ENDPOINT}, {}, ["base_url and endpoint", "Leave one out"]),
    "two places, host": (
        {**BASE, "endpoint_host": "10.0.0.3"},
        {},
        ["base_url and endpoint_host", "Leave one out"],
    ),
    "two places in variables": (
        {},
        {"KIMI_VERTEX_BASE_URL": "https://x.example/v1", "KIMI_VERTEX_ENDPOINT": ENDPOINT},
        ["KIMI_VERTEX_BASE_URL and KIMI_VERTEX_ENDPOINT", "Unset one"],
    ),
    "two regions": ({"endpoint": ENDPOINT, "location": "europe-west4"}, {}, ["Leave location out"]),
    "two projects": (
        {"project": "my-project"},
        {"KIMI_VERTEX_ENDPOINT": ENDPOINT},
        ["KIMI_VERTEX_ENDPOINT is in project acme-ml-prod", "Leave project out"],
    ),
    "variable misspelt": (
        {},
        {"KIMI_VERTEX_ENDPIONT": ENDPOINT},
        ["KIMI_VERTEX_ENDPIONT is set: did you mean KIMI_VERTEX_ENDPOINT?", "No model: pass endpoint="],
    ),
    "no place": ({}, {}, ["No model: pass endpoint=", "or set KIMI_VERTEX_ENDPOINT"]),
    "variable of another name": ({}, {"KIMI_VERTEX_URL": "x"}, ["did you mean KIMI_VERTEX_BASE_URL?"]),
    "emulator with a path": ({}, {"KIMI_VERTEX_EMULATOR_HOST": "http://x:1/v1"}, ['must be "host:port"']),
    "no publisher": ({"model": "kimi-k2-thinking-maas", **AT}, {}, [f"Did you mean {MANAGED}"]),
    "Moonshot's name": ({"model": "kimi-k2-thinking", **AT}, {}, [f"Did you mean {MANAGED}"]),
    "resource name of a model": ({"model": "publishers/moonshotai/models/x", **AT}, {}, ["Use moonshotai/x"]),
    "model of another type": ({"model": 5, **BASE}, {}, ["model"]),
    "audience for Vertex AI": ({**HERE, "audience": "https://x"}, {}, ["audience is for a base_url"]),
    "no such certificates": ({**BASE, "ca_certs": "/nope.pem"}, {}, ["ca_certs='/nope.pem'", "no such file"]),
    "certificates twice": ({**BASE, "ca_certs": ""}, {}, ["ca_certs", "PEM file"]),
    "temperature": ({**HERE, "temperature": 3}, {}, ["temperature is 3", "between 0 and 2"]),
    "max_tokens": ({**HERE, "max_tokens": 0}, {}, ["max_tokens is 0", "1 or more"]),
    "key as credentials": (
        {"endpoint": ENDPOINT, "credentials": "AIzaSy1"},
        {},
        ["Pass an access token as access_token="],
    ),
    "empty token": (
        {"endpoint": ENDPOINT, "access_token": ""},
        {},
        ["access_token is empty", "Leave it out"],
    ),
    "part of the world": ({"location": "europe", "model": MANAGED}, {}, ["Did you mean 'europe-west4'"]),
    "model as endpoint": (
        {"endpoint": "projects/p/locations/us-central1/publishers/moonshotai/models/x"},
        {},
        ["names a model, not an endpoint", "model='moonshotai/x'"],
    ),
    "API key as a token": (
        {"endpoint": ENDPOINT, "access_token": "AIzaSyD"},
        {},
        ["API key", "leave it out and run"],
    ),
    "number as a callback": ({**HERE, "on_wait": 5}, {}, ["on_wait"]),
    "text as a time": ({**HERE, "wake_timeout": "30m"}, {}, ["wake_timeout"]),
    "pair of times": ({**HERE, "timeout": (3, 4)}, {}, ["timeout", "must be", "number", "Timeouts"]),
    "unknown time": ({**HERE, "timeout": {"read": 3}}, {}, ["'read'", "Timeouts"]),
    "unknown limit": ({**HERE, "pace": {"requests": 3}}, {}, ["'requests'", "Pace"]),
    "word as a pace": ({**HERE, "pace": "fast"}, {}, ["pace", "must be", "shared", "Pace"]),
    "word as an opt-in": ({**BASE, "insecure_http": "yes"}, {}, ["insecure_http"]),
    "broken address": ({"base_url": "https://[::1]evil.com/v1"}, {}, ["base_url"]),
    "long address": (
        {"base_url": "https://example.com/" + "x" * 70_000},
        {},
        ["base_url has 70,020 characters"],
    ),
}


@each_class
@pytest.mark.parametrize("row", SETTINGS.values(), ids=SETTINGS)
def test_settings(ask: Any, row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting is a `ConfigurationError` that names it, and says what to write, at once."""
    settings, environ, words = row
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    seen = first_words(ask, settings)
    assert [word for word in words if word not in seen] == [], seen


NAMES = {
    "max_output_tokens": "max_tokens",
    "model_kwargs": "extra_body",
    "stream_usage": "always asked for",
    "request_timeout": "timeout",
    "stop_sequences": "stop",
    "openai_api_base": "base_url",
    "api_base": "base_url",
    "project_id": "project",
    "region": "location",
    "temprature": "temperature",
    "default_headers": "extra_headers",
    "top_k": "extra_body",
    "frequency_penalty": "extra_body",
    "verify": "ca_certs",
    "openai_api_key": "access_token",
    "endpoint_id": "endpoint",
    "max_retrys": "max_retries",
    "basUrl": "base_url",
    "thinking_callback": "on_thinking",
    "proxies": "HTTPS_PROXY",
    "organization": "leave it out",
    "is_chat_model": "leave it out",
    "use_responses_api": "leave it out",
    "enable_thinking": "reasoning_effort",
    "disable_thinking": 'reasoning_effort="none"',
    "vertex_project": "project",
    "async_client": "http_async_client",
}


@each_class
@pytest.mark.parametrize(("name", "meant"), NAMES.items())
def test_unknown_settings(ask: Any, name: str, meant: str) -> None:
    """A name from another client, or a misspelt one, is refused with the name that it has here."""
    seen = first_words(ask, {**HERE, name: 1})
    assert repr(name) in seen
    assert meant in seen.partition(repr(name))[2]


@pytest.mark.parametrize("ask", [CLASSES["ChatKimiVertex"], CLASSES["KimiVertex"]])
@pytest.mark.parametrize(
    ("name", "meant"), [("thinking", "reasoning_effort"), ("chat_template_kwargs", "extra_body")]
)
def test_a_switch_of_thinking(ask: Any, name: str, meant: str) -> None:
    """Whoever gives a framework's class what the client takes as a server's own words is told the setting."""
    assert f": use {meant}" in first_words(ask, {**HERE, name: False})


@each_class
@pytest.mark.parametrize("name", ["thinking", "chat_template_kwargs"])
def test_a_switch_of_another_type(ask: Any, name: str) -> None:
    """A server's own words are mappings: whoever writes `thinking=False` is told what switches it off."""
    seen = first_words(ask, HERE, {name: False})
    assert seen.startswith(f"{name} is False; it must be a mapping.")
    assert 'reasoning_effort="none"' in seen


OPTIONS = {
    "enable_thinking": "reasoning_effort",
    "temprature": "temperature",
    "model_kwargs": "extra_body",
    "max_output_tokens": "max_tokens",
    "stop_sequences": "stop",
    "best_of": "extra_body",
    "request_timeout": "timeout",
}


@each_class
@pytest.mark.parametrize(("name", "meant"), OPTIONS.items())
def test_unknown_options(ask: Any, name: str, meant: str) -> None:
    """The same rule holds for the options of one request."""
    seen = first_words(ask, HERE, {name: 1})
    assert repr(name) in seen
    assert meant in seen.partition(repr(name))[2]


@each_class
def test_fields_of_the_body_are_sent(ask: Any, emulator: Emulator) -> None:
    """Options that every server of OpenAI's dialect knows go into the body as they are."""
    ask({"base_url": emulator.base_url}, {"presence_penalty": 0.2, "extra_body": {"user": "ada"}})
    [request] = emulator.chat_requests
    assert (request.json["presence_penalty"], request.json["user"]) == (0.2, "ada")


@each_class
def test_max_completion_tokens_means_max_tokens(ask: Any, emulator: Emulator) -> None:
    """OpenAI's newer name is taken for what it means, as a setting and as an option."""
    server = {"base_url": emulator.base_url, "model": MANAGED}
    ask({**server, "max_completion_tokens": 7}, {})
    ask(server, {"max_completion_tokens": 8})
    assert [request.json["max_tokens"] for request in emulator.chat_requests] == [7, 8]
    assert "mean the same" in first_words(ask, {**server, "max_tokens": 1, "max_completion_tokens": 2})


@pytest.mark.parametrize("make", [ChatKimiVertex, KimiVertex])
def test_two_names_of_a_token(make: Any) -> None:
    """`api_key` and `access_token` together are two names of one setting."""
    with pytest.raises(ConfigurationError, match=r"^access_token and api_key mean the same: pass one"):
        make(base_url="https://example.com/v1", access_token="a", api_key="b")


@pytest.mark.parametrize("make", [KimiVertexClient, ChatKimiVertex, KimiVertex])
def test_ids_may_be_numbers(make: Any) -> None:
    """An endpoint's id and a project's number may be given as numbers."""
    model = make(endpoint=1234567890, project=42, location="us-central1", access_token="t")
    assert "projects/42" in repr(
        getattr(model, "_client", getattr(model, "client", model))._target.discovery_url()
    )


def test_unknown_variables_are_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A variable that looks like the library's and is not is a warning, once in a process."""
    monkeypatch.setenv("KIMI_VERTEX_MODLE", "kimi")
    with caplog.at_level(logging.WARNING, "kimi_vertex"):
        for _ in range(2):
            KimiVertexClient(**HERE)
    assert [r.getMessage()[:SEEN] for r in caplog.records] == [
        "The environment variable KIMI_VERTEX_MODLE is not read by kimi-vertex: did you mean KIMI_VERTEX_MODEL?"
    ]


@each_class
@pytest.mark.parametrize(
    "options", [{"n": 1}, {"stream_options": {"include_usage": False}}], ids=["n", "usage"]
)
def test_options_that_change_nothing(ask: Any, emulator: Emulator, options: dict[str, Any]) -> None:
    """Evaluators and tracers ask for one answer, or for the usage, which is what there is."""
    ask({"base_url": emulator.base_url}, options)
    assert len(emulator.chat_requests) == 1


@each_class
def test_several_answers(ask: Any) -> None:
    """All answers but one would be paid for and dropped."""
    assert first_words(ask, HERE, {"n": 2}).startswith("n=2 asks for several answers")
