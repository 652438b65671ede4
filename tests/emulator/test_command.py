"""The emulator as a command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from kimi_vertex_emulator import Cassette, Emulator, Interaction, Rules, Turn
from kimi_vertex_emulator.__main__ import _emulator, _parser, main
from kimi_vertex_emulator.__main__ import _rules as rules_of

from .support_http import PLAIN

USER = {"role": "user", "content": "What is 1 + 2?"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def called(*ids: str, answered: bool = True) -> list[dict[str, Any]]:
    """A history in which `add` was called with these ids."""
    messages: list[dict[str, Any]] = [USER]
    for call_id in ids:
        call = {"id": call_id, "type": "function", "function": {"name": "add", "arguments": "{}"}}
        result = {"role": "tool", "tool_call_id": call_id, "content": "3"}
        messages.append({"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [call]})
        messages += [result] * answered
    return [*messages, USER]


def commanded(*options: str) -> Emulator:
    """The emulator that the command serves."""
    return _emulator(_parser().parse_args(["--port", "0", "--pace", "0", *options]))


def test_the_command_prints_the_variable_serves_and_ends_quietly() -> None:
    """It prints the export line first, logs each request as an emulator's, and ends on SIGTERM with 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "kimi_vertex_emulator", "--port", "0", "--lenient", "--pace", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name, _, host = process.stdout.readline().strip().removeprefix("export ").partition("=")
        assert name == "KIMI_VERTEX_EMULATOR_HOST"
        body = {"messages": [{"role": "developer", "content": "Hi"}]}
        assert httpx.post(f"http://{host}/v1/chat/completions", json=body, verify=PLAIN).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "kimi-vertex emulator (not the real service): POST /v1/chat/completions -> 200" in log
    assert "Traceback" not in log


def test_the_command_takes_the_settings_of_an_emulator(tmp_path: Path) -> None:
    """What the Python API offers for whole runs can be given on the command line; `--watch` prints each exchange."""
    script = tmp_path / "script.yaml"
    script.write_text("rules: [{match: Hi, always: {thinking: Hm., text: Hello!}}]", encoding="utf-8")
    options = f"--port 0 --script {script} --dialect vllm-new --rule temperature=true --watch"
    options += " --pace 0 --chunking random --seed 7 --token-lifetime 5"
    command = [sys.executable, "-m", "kimi_vertex_emulator", *options.split()]
    body = {"messages": [{"role": "user", "content": "Hi"}]}

    def pieces(host: str) -> list[str]:
        asked = {"messages": [{"role": "user", "content": "Something longer"}], "stream": True}
        lines = httpx.post(f"http://{host}/v1/chat/completions", json=asked, verify=PLAIN).text.splitlines()
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        return [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host = process.stdout.readline().strip().partition("=")[2]
        given = pieces(host)
        process.stdout.readline()
        url = f"http://{host}/v1/chat/completions"
        answer, refused = (httpx.post(url, json={**body, "temperature": t}, verify=PLAIN) for t in (1, 0.5))
        line = process.stdout.readline()
        token = httpx.post(
            f"http://{host}/token", data={"grant_type": "refresh_token", "refresh_token": "r"}, verify=PLAIN
        )
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    assert answer.json()["choices"][0]["message"]["reasoning"] == "Hm."
    assert "only 1 is allowed" in refused.text
    assert "POST .../chat/completions (1 message; user: 'Hi') -> 200: 3 thinking, 6 text, stop, " in line
    assert "Traceback" not in log
    assert token.json()["expires_in"] == 5
    settings: Any = {"chunking": "random", "dialect": "vllm-new"}
    with Emulator(**settings, seed=7) as same, Emulator(**settings, seed=8) as other:
        assert given == pieces(same.host)
        assert given != pieces(other.host)


def test_the_command_replays_asks_for_a_bearer_and_has_a_quota(tmp_path: Path) -> None:
    """A cassette answers what it holds, redacted words included; what it does not hold counts against the quota."""
    answer = '{"choices":[{"message":{"role":"assistant","content":"Tape."}}]}'
    asked = {"model": "m/k", "messages": [{"role": "user", "content": "Ask REDACTED"}]}
    path = "/v1/projects/PROJECT/locations/global/endpoints/openapi/chat/completions"
    head = {"content-type": "application/json"}
    file = tmp_path / "c.json"
    Cassette([Interaction("POST", path, asked, 200, head, [answer])]).save(file)
    options = ["--port", "0", "--replay", str(file), "--redact", "Globex", "--require-token", "--quiet"]
    command = [sys.executable, "-m", "kimi_vertex_emulator", *options, "--requests-per-minute", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"http://{process.stdout.readline().strip().partition('=')[2]}/v1/chat/completions"
        bodies = [
            {**asked, "messages": [{"role": "user", "content": word}]} for word in ("Ask Globex", "Else")
        ]
        bearer = {"authorization": "Bearer ya29.of-the-test"}
        refused = httpx.post(url, json=bodies[0], verify=PLAIN)
        answers = [httpx.post(url, json=body, headers=bearer, verify=PLAIN) for body in [*bodies, bodies[1]]]
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    assert [refused.status_code, *(answer.status_code for answer in answers)] == [401, 200, 404, 429]
    assert answers[0].json()["choices"][0]["message"]["content"] == "Tape."
    assert " -> " not in log


def test_the_command_takes_every_rule() -> None:
    """Each field of `Rules` has a spelling on the command line."""
    given = {
        "duplicate_ids": ("error", "error"),
        "foreign_ids": ("degrade", "degrade"),
        "unanswered_calls": ("accept", "accept"),
        "temperature": ("true", True),
        "context_window": ("1000", 1000),
        "max_payload": ("2000", 2000),
        "models": ("a/b, c/d", ["a/b", "c/d"]),
        "refuse_forced_tool_choice": ("true", True),
    }
    assert set(given) == {field.name for field in fields(Rules)}
    read = rules_of([f"{name}={spelt}" for name, (spelt, _) in given.items()])
    assert read == Rules(**{name: value for name, (_, value) in given.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "body", "status"),
    [
        ("duplicate_ids=error", {"messages": called("functions.add:0", "functions.add:0")}, 400),
        ("foreign_ids=error", {"messages": called("call_1")}, 400),
        ("unanswered_calls=error", {"messages": called("functions.add:0", answered=False)}, 400),
        ("temperature=true", {"temperature": 0.5}, 400),
        ("context_window=8", {"max_tokens": 5}, 400),
        ("max_payload=100", {"stop": ["x" * 50]}, 400),
        ("models=a/b, c/d", {"model": "m/k"}, 404),
        ("refuse_forced_tool_choice=true", {"tools": [TOOL], "tool_choice": "required"}, 400),
    ],
)
def test_each_rule_of_the_command_holds(
    http: httpx.Client, rule: str, body: dict[str, Any], status: int
) -> None:
    """With `--rule` a request is refused that is answered without."""
    asked = {"model": "m/k", "messages": [USER], **body}
    found = []
    for options in ([], ["--rule", rule]):
        with commanded(*options) as emulator:
            found.append(http.post(f"{emulator.base_url}/chat/completions", json=asked).status_code)
    assert found == [200, status]


def test_a_rule_of_the_command_may_degrade(http: httpx.Client) -> None:
    """A rule whose breach is to degrade costs the answer, and nothing else."""
    body = {"model": "m/k", "messages": called("call_1")}
    with commanded("--rule", "foreign_ids=degrade") as emulator:
        answer = http.post(f"{emulator.base_url}/chat/completions", json=body)
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, None)


def test_the_command_has_a_pace(http: httpx.Client) -> None:
    """Between two deltas there are the seconds of `--pace`."""
    body = {"model": "m/k", "messages": [USER], "stream": True}
    with commanded("--pace", "0.02") as emulator:
        emulator.enqueue(Turn(text=["a", "b", "c"]))
        http.post(f"{emulator.base_url}/chat/completions", json=body)
        offsets = [at for at, _ in emulator.exchanges[0].events]
    assert all(later - earlier > 0.019 for earlier, later in pairwise(offsets[:5]))


def test_the_command_keeps_a_thousand_exchanges() -> None:
    """Of 1,002 requests, the first two are gone from the journal."""
    one = b"GET /health?%d HTTP/1.1\r\nhost: x\r\n\r\n"
    with commanded() as emulator:
        host, _, port = emulator.host.partition(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(b"".join(one % number for number in range(1002)))
            received = b""
            while received.count(b"HTTP/1.1 200") < 1002:
                received += sock.recv(1 << 16)
        kept = [request.query for request in emulator.requests]
    assert (len(kept), kept[0], kept[-1]) == (1000, "2", "1001")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--script", "/nowhere.yaml"], "nowhere.yaml"),
        (["--replay", "/nowhere.json"], "nowhere.json"),
        (["--rule", "foreign_ids"], "expected NAME=VALUE with a name of duplicate_ids"),
        (
            ["--rule", "foreign_ids=maybe"],
            "--rule foreign_ids=maybe: Input should be 'accept', 'degrade' or 'error'",
        ),
        (["--rule", "temperature=warm"], "--rule temperature=warm: Input should be a valid boolean"),
        (["--rule", "context_window=big"], "--rule context_window=big: Input should be a valid integer"),
        (["--record", "x.json"], "belong together"),
    ],
)
def test_wrong_options_are_one_line(
    capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    """A setting that cannot be is status 2 and one line that names it."""
    assert main(["--port", "0", *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_an_impossible_port_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A port beyond 65535 is status 1 and says what to try."""
    assert main(["--port", "99999"]) == 1
    assert "try --port 0" in capsys.readouterr().err


def test_the_command_says_when_it_cannot_listen() -> None:
    """An address that cannot be bound is one line and status 1."""
    command = [sys.executable, "-m", "kimi_vertex_emulator", "--host", "192.0.2.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot listen on 192.0.2.1:")
    assert "Traceback" not in done.stderr
