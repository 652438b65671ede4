"""Cassettes: the file, which answer a request gets, and redaction as a property."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_vertex_emulator import Cassette, Emulator, Interaction, Recorded, Turn
from kimi_vertex_emulator._redact import Redactor

from .support_http import PLAIN

PATH = "/v1/projects/PROJECT/locations/global/endpoints/openapi/chat/completions"
ANSWER = '{"choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}]}'


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def taped(answer: str, *messages: dict[str, Any], **body: Any) -> Interaction:
    asked = {"model": "m/k", "messages": list(messages), **body}
    head = {"content-type": "application/json"}
    return Interaction("POST", PATH, asked, 200, head, parts=[ANSWER % answer])


def text(emulator: Emulator, *messages: dict[str, Any], **body: Any) -> str:
    asked = {"messages": list(messages), "model": "m/k", **body}
    answer = httpx.post(f"{emulator.base_url}/chat/completions", json=asked, verify=PLAIN)
    found = answer.json()
    return str(found["choices"][0]["message"]["content"] if answer.is_success else found["error"]["message"])


def test_exact_takes_the_same_body_from_any_project() -> None:
    """The order of names and the place of the endpoint do not count, everything else does."""
    with Emulator(replay=Cassette([taped("yes", user("a"), temperature=1)])) as emulator:
        assert text(emulator, user("a"), temperature=1) == "yes"
        assert text(emulator, user("a"), temperature=1.5).startswith("The cassette holds no answer")
        assert "differs in temperature." in text(emulator, user("a"))
        assert len(emulator.unexpected) == 2


def test_the_same_request_gets_the_next_answer_and_then_the_last() -> None:
    """Answers to equal requests come in their order; `verify` names what was not asked for."""
    cassette = Cassette([taped("one", user("a")), taped("two", user("a")), taped("x", user("b"))])
    with Emulator(replay=cassette) as emulator:
        assert [text(emulator, user("a")) for _ in range(3)] == ["one", "two", "two"]
        assert emulator.pending == 1
        with pytest.raises(AssertionError, match=r"recorded POST \.\.\./chat/completions .*user: 'b'"):
            emulator.verify()
        emulator.reset()
        assert text(emulator, user("a")) == "one"


def test_queue_script_and_brain_go_with_a_cassette() -> None:
    """The queue comes before the cassette; script and brain answer what it does not hold."""
    with Emulator(replay=Cassette([taped("tape", user("a"))]), brain=lambda _: "brain") as emulator:
        emulator.enqueue(Turn(text="queue"))
        emulator.on("b").always("script")
        answers = [text(emulator, user(words)) for words in "aabc"]
    assert answers == ["queue", "tape", "script", "brain"]


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Events stand as JSON on a line each, and every byte comes back, whatever it was."""
    parts = [
        'data: {"a":"世"}\n\n',
        'data: {"a": 1.0}\n\n',
        ": keep-alive\n\n",
        "data: [DONE]\n\n",
        b"\xff\x00 cut".decode("utf-8", "surrogateescape"),
        "[1]",
    ]
    cassette = Cassette([Interaction("POST", PATH, {"model": "m/k"}, 200, {"a": "b"}, parts, True)])
    readable = Cassette([Interaction("POST", PATH, None, 200, parts=parts[:2])]).to_text()
    assert '\n  {"event": {"a": "世"}},\n' in readable
    cassette.save(tmp_path / "c.json")
    assert Cassette.load(tmp_path / "c.json") == cassette


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": "other", "interactions": []}', '{"format": 1}']
)
def test_what_is_no_cassette_is_named(tmp_path: Path, content: str) -> None:
    """A wrong file is an error at construction, with its path."""
    file = tmp_path / "c.json"
    file.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"c\.json is not a cassette"):
        Emulator(replay=file)


WORDS = st.lists(st.sampled_from(["my-project-7", "MY-PROJECT-7", "a", " ", "é", '"', "\n"]), max_size=8)


@given(words=WORDS, cuts=st.lists(st.integers(0, 60), max_size=8))
def test_no_cutting_hides_a_project(words: list[str], cuts: list[int]) -> None:
    """However an answer is cut into deltas, what they join to holds no project and nothing else is lost."""
    whole = "".join(words)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(places)]
    events = [
        "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]}) + "\n\n"
        for piece in pieces
    ]
    clean = Redactor({"my-project-7": "PROJECT"}).stream(events)
    joined = "".join(json.loads(e.removeprefix("data:"))["choices"][0]["delta"]["content"] for e in clean)
    assert joined == "".join("PROJECT" if len(word) > 1 else word for word in words)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ya29.A0_b-c and eyJh.eyJz.sig", "TOKEN and TOKEN"),
        ("Bearer abcdefgh12", "Bearer TOKEN"),
        ("projects/x-1.", "projects/PROJECT."),
        (
            "projects/123/locations/l/endpoints/456:predict",
            "projects/PROJECT/locations/l/endpoints/ENDPOINT:predict",
        ),
        ("endpoints/openapi/chat", "endpoints/openapi/chat"),
        ("project number: 123456", "project number: PROJECT"),
        ("svc@p-1.iam.gserviceaccount.com", "EMAIL"),
        ("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----", "TOKEN"),
        ("2 projects, 3 endpoints, 1234567890123", "2 projects, 3 endpoints, 1234567890123"),
    ],
)
def test_what_looks_secret_goes(text: str, clean: str) -> None:
    """Tokens, keys, resource names and addresses go without being known; ordinary text stays."""
    assert Redactor({}).text(text) == clean


def test_names_tell_secrets() -> None:
    """A value goes for its name's sake; counts of tokens stay."""
    data = {"access_token": "a", "api_key": "b", "max_tokens": 5, "usage": {"total_tokens": 7}, "stop": ["c"]}
    clean = Redactor({}).data(data)
    assert clean == {**data, "access_token": "TOKEN", "api_key": "TOKEN"}


def test_a_body_is_read_before_it_is_redacted() -> None:
    """An escape in JSON hides no project."""
    request = Recorded(
        "POST", "/v1/projects/my-proj-1/locations/l/endpoints/openapi", "", {}, b'"my\\u002dproj-1"'
    )
    item = Interaction.of(request, 200, {"content-type": "application/json"}, b'"my\\u002dproj-1"')
    assert item.body == "PROJECT"
    assert item.parts[0] == '"PROJECT"'


def streamed(*deltas: dict[str, Any]) -> list[str]:
    """Events with these deltas."""
    return ["data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}) + "\n\n" for delta in deltas]


@pytest.mark.parametrize(
    "make",
    [
        lambda text: {"reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}]},
        lambda text: {"tool_calls": [{"index": 1, "function": {"arguments": text}}]},
        lambda text: {"audio": {"transcript": text}},
        lambda text: {"reasoning": text},
    ],
)
def test_nothing_in_a_delta_hides_a_project(make: Any) -> None:
    """A project that is cut apart is found wherever in its delta a server puts text."""
    clean = Redactor({"my-project-7": "PROJECT"}).stream(streamed(make("I am my-pr"), make("oject-7.")))
    assert "my-pr" not in "".join(clean)
    assert "oject-7" not in "".join(clean)
    assert "I am PROJECT" in "".join(clean)


def test_a_broken_end_keeps_no_half() -> None:
    """The beginning of a secret at the end of what broke off goes, and so does a half event; other ends stay."""
    redactor = Redactor({"my-project-7": "PROJECT"})
    events = [
        *streamed({"content": "I am "}, {"content": "my-pro"}),
        'data: {"choices":[{"index":0,"delta":{',
    ]
    assert "my-pro" in "".join(redactor.stream(events))
    clean = redactor.stream(events, cut=True)
    assert json.loads(clean[1].removeprefix("data:"))["choices"][0]["delta"]["content"] == "PROJECT"
    assert clean[2] == "data: {"
    assert redactor.body('{"message": "I am my-pro') == '{"message": "I am PROJECT'
    assert redactor.body('{"message": "This is my') == '{"message": "This is my'
    assert redactor.body('{"message": "Ask joe@exam') == '{"message": "Ask EMAIL'


def test_an_escape_hides_nothing_in_what_is_no_json() -> None:
    """Escapes are seen through in broken JSON too."""
    assert Redactor({"my-proj-1": "PROJECT"}).body('{"m": "my\\u002Dproj-1') == '{"m": "PROJECT'


def test_a_body_that_is_nested_too_deeply_is_text() -> None:
    """What Python's parser gives up on is redacted as text."""
    deep = "[" * 100_000 + '"my-proj-1"' + "]" * 100_000
    assert "my-proj-1" not in Redactor({"my-proj-1": "PROJECT"}).body(deep)
