"""The recording proxy, from a real exchange to a replayed one, and what never reaches the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kimi_vertex import APIError, KimiVertexClient
from kimi_vertex_emulator import Call, Cassette, Emulator, Fault, Raw, Recorder, Turn
from tests.core.target.support_hosts import HOSTS, goes_to, said

from .support_http import PLAIN
from .support_record import PROJECT, TOKEN, ask, recorded_by_command

TURNS = [
    Turn(thinking=["A gre", "eting."], text=["Héllo ", "世界"], pause=0.02),
    Turn(thinking="Look it up.", tool_calls=[Call("look", {"at": "sky"})]),
]


@pytest.fixture
def upstream() -> Iterator[Emulator]:
    with Emulator(require_token=True) as emulator:
        yield emulator


def target(origin: str, endpoint: str = "openapi") -> str:
    return f"{origin}/v1/projects/{PROJECT}/locations/global/endpoints/{endpoint}"


def client(origin: str, token: str | None = TOKEN) -> KimiVertexClient:
    return KimiVertexClient(base_url=target(origin), access_token=token, max_retries=0, pace=None)


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_recorded_is_replayed(upstream: Emulator, tmp_path: Path, stream: bool) -> None:
    """A client reads the same completions through the recorder and from the cassette, without a token then."""
    file = tmp_path / "capture.json"
    upstream.enqueue(*TURNS)
    with Recorder(upstream.origin, file) as recorder, client(recorder.origin) as kimi:
        live = [ask(kimi, words, stream) for words in ("hello", "look")]
    assert [turn.text for turn in live] == ["Héllo 世界", ""]
    with Emulator(replay=file) as emulator, client(emulator.origin, None) as kimi:
        assert [ask(kimi, words, stream) for words in ("hello", "look")] == live
        emulator.verify()
    assert {request.bearer for request in upstream.requests} == {TOKEN}


@pytest.mark.parametrize("stream", [False, True])
def test_no_secret_is_in_the_file(upstream: Emulator, tmp_path: Path, stream: bool) -> None:
    """Neither headers nor bodies, not even cut into deltas, leave a token, a project or an address behind."""
    file = tmp_path / "capture.json"
    said = [
        "I am acme-",
        "secret",
        "-42; ask joe@ex",
        "ample.com, ",
        "in projects/other-",
        "thing-7 or ",
        "Globex.",
    ]
    upstream.enqueue(Turn(thinking=list("so acme-secret-42"), text=said))
    with Recorder(upstream.origin, file, redact=["globex"]) as recorder:
        headers = {
            "authorization": f"Bearer {TOKEN}",
            "x-goog-user-project": "billing-77",
            "cookie": "c00kie",
        }
        body = {
            "model": "m/k",
            "messages": [{"role": "user", "content": f"{PROJECT.upper()} {TOKEN} billing-77"}],
            "stream": stream,
            "metadata": {"api_key": "plain"},
        }
        url = f"{target(recorder.origin, '4815162342')}/chat/completions?key=querykey&alt=x"
        assert httpx.post(url, json=body, headers=headers, verify=PLAIN).status_code == 200
    text = file.read_text("utf-8")
    secrets = [
        TOKEN,
        PROJECT,
        "billing-77",
        "c00kie",
        "plain",
        "querykey",
        "4815162342",
        "joe@",
        "other-",
        "globex",
    ]
    assert [secret for secret in secrets if secret.lower() in text.lower()] == []
    with Emulator(replay=Cassette.load(file, redact=["globex"])) as emulator:
        url = target(emulator.origin, "4815162342")
        httpx.post(f"{url}/chat/completions", json=body, headers=headers, verify=PLAIN)
        (exchange,) = emulator.exchanges
        assert exchange.text == "I am PROJECT; ask EMAIL, in projects/PROJECT or REDACTED."
        assert exchange.thinking == "so PROJECT"


def test_errors_are_recorded_and_replayed_without_numbers(upstream: Emulator, tmp_path: Path) -> None:
    """An error keeps status, retry-after and words; project numbers and DNS names are masked."""
    file = tmp_path / "capture.json"
    words = "Quota of projects/123456789012 (project number 123456789012), 77.us-central1-123456789012.prediction.vertexai.goog"
    error = json.dumps({"error": {"code": 429, "message": words}}).encode()
    upstream.enqueue(Raw([error], status=429, headers={"retry-after": "7", "x-other": PROJECT}))
    recorder = Recorder(upstream.origin, file)
    with recorder, client(recorder.origin) as kimi, pytest.raises(APIError):
        kimi.complete("x")
    assert "123456789012" not in file.read_text("utf-8")
    (item,) = Cassette.load(file).interactions
    assert (item.status, item.headers["retry-after"]) == (429, "7")
    assert "x-other" not in item.headers
    assert "ENDPOINT.us-central1-PROJECT.prediction.vertexai.goog" in item.parts[0]


def test_an_answer_streams_through(upstream: Emulator, tmp_path: Path) -> None:
    """The first event arrives before the last is sent."""
    file = tmp_path / "capture.json"
    upstream.enqueue(Turn(text=["a", "b"], pause=0.1))
    body = {"model": "m/k", "messages": [{"role": "user", "content": "x"}], "stream": True}
    headers = {"authorization": f"Bearer {TOKEN}"}
    with Recorder(upstream.origin, file) as recorder:
        url = f"{target(recorder.origin)}/chat/completions"
        with httpx.stream("POST", url, json=body, headers=headers, verify=PLAIN) as response:
            chunks = response.iter_bytes()
            next(chunks)
            assert upstream.exchanges[0].ending == "running"
            list(chunks)


def test_a_broken_answer_is_recorded_as_broken(upstream: Emulator, tmp_path: Path) -> None:
    """What the service cut off is cut off in the replay."""
    file = tmp_path / "capture.json"
    upstream.enqueue(Fault("cut-mid", turn=Turn(text="one two three four five six")))
    recorder = Recorder(upstream.origin, file)
    with recorder, client(recorder.origin) as kimi, pytest.raises(APIError) as live:
        ask(kimi, "x", True)
    emulator = Emulator(replay=file)
    with emulator, client(emulator.origin) as kimi, pytest.raises(APIError) as replayed:
        ask(kimi, "x", True)
    assert type(live.value) is type(replayed.value)
    assert replayed.value.partial == live.value.partial


def test_a_capture_is_added_to(upstream: Emulator, tmp_path: Path) -> None:
    """A second session keeps what the first one recorded."""
    file = tmp_path / "capture.json"
    for words in ("one", "two"):
        with Recorder(upstream.origin, file) as recorder, client(recorder.origin) as kimi:
            kimi.complete(words)
    assert [i.body["messages"][0]["content"] for i in Cassette.load(file).interactions] == ["one", "two"]
    assert [path.name for path in tmp_path.iterdir()] == ["capture.json"]


def test_redirects_are_not_followed(upstream: Emulator, tmp_path: Path) -> None:
    """Credentials go to the target alone."""
    upstream.enqueue(Raw([b""], status=307, headers={"location": f"{upstream.origin}/elsewhere"}))
    with Recorder(upstream.origin, tmp_path / "c.json") as recorder:
        body = {"model": "m/k", "messages": [{"role": "user", "content": "x"}]}
        url = f"{target(recorder.origin)}/chat/completions"
        answer = httpx.post(url, json=body, headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 502
    assert "a redirect, which is not followed" in answer.text
    assert len(upstream.requests) == 1
    assert recorder.cassette.interactions == []


@pytest.mark.parametrize(
    "path", ["/token", "/v1/other/chat/completions", "/v1/projects/a/../x/chat/completions"]
)
def test_other_routes_are_not_forwarded(upstream: Emulator, tmp_path: Path, path: str) -> None:
    """Token requests, and what is not below the target's path, end at the recorder."""
    with Recorder(target(upstream.origin), tmp_path / "c.json") as recorder:
        assert recorder.base_url == target(recorder.origin)
        assert httpx.post(f"{recorder.origin}{path}", json={}, verify=PLAIN).status_code == 404
    assert upstream.requests == []


def test_endpoints_and_lists_of_models_are_recorded(upstream: Emulator, tmp_path: Path) -> None:
    """What a client asks beside the model is forwarded, and replayed."""
    file = tmp_path / "c.json"
    places = [target("", "7"), f"{target('')}/models"]
    with Recorder(upstream.origin, file) as recorder:
        live = [
            httpx.get(recorder.origin + place, headers={"authorization": "Bearer t"}, verify=PLAIN)
            for place in places
        ]
    assert [answer.status_code for answer in live] == [200, 200]
    assert [item.method for item in Cassette.load(file).interactions] == ["GET", "GET"]
    assert PROJECT not in file.read_text("utf-8")


def test_what_a_client_does_not_read_is_not_recorded(upstream: Emulator, tmp_path: Path) -> None:
    """An answer that the client left leaves nothing in the cassette."""
    upstream.enqueue(Turn(text=["a", "b"], pause=0.3))
    body = {"model": "m/k", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with Recorder(upstream.origin, tmp_path / "c.json") as recorder:
        url = f"{target(recorder.origin)}/chat/completions"
        with httpx.stream(
            "POST", url, json=body, headers={"authorization": "Bearer t"}, verify=PLAIN
        ) as response:
            next(response.iter_bytes())
    assert recorder.cassette.interactions == []


def test_a_target_that_is_not_there_is_a_502(tmp_path: Path) -> None:
    """A refused connection is told to the client, and nothing is recorded."""
    with Emulator() as gone:
        origin = gone.origin
    with Recorder(origin, tmp_path / "c.json") as recorder:
        answer = httpx.post(f"{target(recorder.origin)}/chat/completions", json={}, verify=PLAIN)
    assert answer.status_code == 502
    assert "ConnectError" in answer.text
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://aiplatform.googleapis.com", "over https only"),
        ("aiplatform.googleapis.com", "must be a URL"),
        ("https://joe:pw@aiplatform.googleapis.com", "must be a URL.* no user"),
        ("https://aiplatform.googleapis.com/?key=x", "no user, password, query"),
    ],
)
def test_targets_that_are_refused(tmp_path: Path, url: str, words: str) -> None:
    """Plain http never leaves this machine, and a target carries no secrets of its own."""
    with pytest.raises(ValueError, match=words) as caught:
        Recorder(url, tmp_path / "c.json")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["https://", "http://"])
def test_a_target_is_the_host_that_it_names(scheme: str, tmp_path: Path) -> None:
    """A host is taken as it is written, or refused: what is recorded, with its token, never goes to another one."""
    wrong = []
    for host in HOSTS:
        try:
            recorder = Recorder(scheme + host, tmp_path / "c.json")
        except ValueError:
            continue
        if goes_to(recorder._target) != said(scheme + host):
            wrong.append(host)
    assert wrong == []


def test_the_command_records(upstream: Emulator, tmp_path: Path) -> None:
    """`--record FILE --target URL` prints the base URL, forwards and writes the cassette."""
    file = tmp_path / "capture.json"
    upstream.enqueue(Turn(text="Hello!"))
    log = recorded_by_command("--port", "0", "--record", str(file), "--target", target(upstream.origin))
    assert "Traceback" not in log
    assert (TOKEN in log, PROJECT in log) == (False, False)
    assert len(Cassette.load(file).interactions) == 1


def test_importing_the_emulator_loads_no_http_client() -> None:
    """Only a recorder that forwards something loads httpx."""
    code = "import sys, kimi_vertex_emulator.record as r; print('r' in dir(), 'httpx' in sys.modules)"
    before = "import sys, kimi_vertex; print('httpx' in sys.modules)"
    run = [
        subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True)
        for c in (code, before)
    ]
    assert run[0].stdout.split()[1] == run[1].stdout.strip()
