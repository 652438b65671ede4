"""`kimi-vertex doctor`: the true cause comes first, nothing is red where all is well, and nothing secret is shown."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kimi_vertex_cli import main
from kimi_vertex_emulator import Emulator, Fault

from ..emulator.test_record_tls import authority, behind_tls
from .support_cli import ENDPOINT
from .support_setups import BROKEN, GOOD, Setup, arranged

__all__ = ["authority"]


def examine(
    setup: Setup, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, *more: str
) -> tuple[int, str]:
    """The doctor's status and what it writes."""
    with arranged(setup, folder, monkeypatch) as arguments:
        status = main([*arguments, *more])
    written: str = capsys.readouterr().out
    return status, written


@pytest.mark.parametrize("name", BROKEN)
def test_the_first_red_line_names_the_cause(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is broken, the first red line says what, with one command; the status is 1."""
    setup = BROKEN[name]
    status, written = examine(setup, tmp_path, monkeypatch, capsys, "--json")
    red = json.loads(written)["first_red"]
    assert red is not None, written
    words = setup.words.partition("CLOSED")[0]
    assert (status, words in red["text"]) == (1, True), red
    assert red["command"].startswith(setup.command), red
    assert "\n" not in red["command"]


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_red_where_all_is_well(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set-up that works has no red line and the status 0."""
    status, written = examine(GOOD[name], tmp_path, monkeypatch, capsys, "--json")
    found = json.loads(written)
    assert [line for line in found["checks"] + found["score_card"] if line["status"] == "red"] == []
    assert status == 0


@pytest.mark.parametrize(
    ("deployed", "variable", "told"),
    [
        ("moonshotai/Kimi-K3", "", "Kimi K3's rules hold: export KIMI_VERTEX_MODEL=moonshotai/Kimi-K3"),
        ("moonshotai/Kimi-K3", "moonshotai/Kimi-K3", ""),
        ("ours", "", ""),
    ],
)
def test_a_model_that_has_no_name_here_is_to_be_named(
    deployed: str,
    variable: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An endpoint that was given without a model, and answers as one that is known: its rules go by its name."""
    setup = Setup(environ={"KIMI_VERTEX_MODEL": variable}, deployment={"model": deployed})
    _, written = examine(setup, tmp_path, monkeypatch, capsys, "--json")
    (request,) = (line for line in json.loads(written)["checks"] if line["name"] == "request")
    assert request["text"].endswith(told)
    assert ("KIMI_VERTEX_MODEL" in request["text"]) is bool(told)


@pytest.mark.parametrize(
    ("model", "parser", "status"),
    [
        ("moonshotai/Kimi-K3", "kimi_k2", "warn"),
        ("moonshotai/Kimi-K2.6", "kimi_k3", "warn"),
        ("moonshotai/Kimi-K3", "kimi_k3", "info"),
        ("ours", "kimi_k3", "info"),
    ],
)
def test_parsers_of_another_model(
    model: str,
    parser: str,
    status: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A container that was started with the parsers of another Kimi spoils calls and thinking: the flags are named."""
    flags = ("--enable-auto-tool-choice", f"--tool-call-parser={parser}", f"--reasoning-parser={parser}")
    _, written = examine(
        Setup(deployment={"model": model, "flags": flags}), tmp_path, monkeypatch, capsys, "--json"
    )
    (line,) = (line for line in json.loads(written)["checks"] if line["name"] == "container")
    assert line["status"] == status
    if status == "warn":
        right = {"kimi_k2": "kimi_k3", "kimi_k3": "kimi_k2"}[parser]
        assert line["command"].endswith(f"--tool-call-parser {right} --reasoning-parser {right}")


def test_no_secret_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a token nor a proxy's password is in what is written."""
    _, written = examine(BROKEN["proxy"], tmp_path, monkeypatch, capsys)
    assert "HTTPS_PROXY" in written
    assert "hunter2" not in written
    assert "hidden-token" not in written


def test_the_list_ends_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe the red line is marked by a word, and the last line is what to run."""
    _, written = examine(BROKEN["API off"], tmp_path, monkeypatch, capsys)
    *_, red, _empty, lead, command = written.splitlines()
    assert red.startswith("FAIL endpoint")
    assert lead == "Run this:"
    assert command == "  gcloud services enable aiplatform.googleapis.com --project=acme"


def test_the_score_card_says_what_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Thinking's field, parsers, forced calls, ids, usage, formats, cache and the first token's time are on it."""
    _, written = examine(GOOD["vLLM"], tmp_path, monkeypatch, capsys, "--json")
    card = {line["name"]: line["text"] for line in json.loads(written)["score_card"]}
    assert list(card) == [
        *(
            "first token",
            "usage",
            "thinking",
            "tools",
            "call ids",
            "forced call",
            "structured",
            "prefix cache",
        )
    ]
    assert "in the field reasoning:" in card["thinking"]
    assert "the tool parser is on" in card["tools"]


def test_a_report_has_no_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written for a bug report holds neither project, endpoint nor account, but what was found."""
    report = tmp_path / "report.md"
    examine(GOOD["a service account"], tmp_path, monkeypatch, capsys, "--report", str(report))
    text = report.read_text(encoding="utf-8")
    assert [name for name in ("acme", "1234567890", str(Path.home())) if name in text] == []
    assert "ACCOUNT" in text
    assert "kimi-vertex 0" in text


@pytest.fixture
def untrusted(
    emulator: Emulator,
    authority: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    refused_connections: list[str],
) -> Iterator[Callable[[], tuple[str, Any]]]:
    """Examines a private endpoint whose certificate is not trusted: its address, and the first red line."""
    monkeypatch.setenv("KIMI_VERTEX_ACCESS_TOKEN", "hidden-token")
    with behind_tls(emulator, authority[1]) as origin:

        def examined() -> tuple[str, Any]:
            assert main(["doctor", "--json", "--endpoint", ENDPOINT, "--endpoint-host", origin]) == 1
            refused_connections.clear()  # the look-up at Google's own host
            return origin, json.loads(capsys.readouterr().out)["first_red"]

        yield examined


def test_an_authority_that_is_not_known(untrusted: Callable[[], tuple[str, Any]]) -> None:
    """A private endpoint whose certificate is not trusted is told from one that does not answer."""
    _, red = untrusted()
    assert "its certificate is not trusted" in red["text"]
    assert red["command"] == "export KIMI_VERTEX_CA_CERTS=system"


def test_an_authority_of_ones_own_that_does_not_vouch(
    untrusted: Callable[[], tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has set certificates already is shown who signed the server's."""
    monkeypatch.setenv("KIMI_VERTEX_CA_CERTS", "system")
    origin, red = untrusted()
    assert red["command"].startswith(f"openssl s_client -connect {origin.removeprefix('https://')} ")


def test_a_token_that_is_set_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line about the login does not repeat the variable that it is from."""
    _, written = examine(BROKEN["proxy that refuses"], tmp_path, monkeypatch, capsys)
    login = next(line for line in written.splitlines() if line.startswith("ok   login"))
    assert login.count("KIMI_VERTEX_ACCESS_TOKEN") == 1


def test_a_token_that_is_not_sent_is_named(
    kimi: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An emulator gets no token from the environment, which explains why one that wants a token refuses."""
    monkeypatch.setenv("KIMI_VERTEX_ACCESS_TOKEN", "hidden-token")
    main(["doctor", "--quick"])
    assert "KIMI_VERTEX_ACCESS_TOKEN is not sent there" in capsys.readouterr().out
    assert {request.bearer for request in kimi.requests} == {None}


def test_a_refused_lookup_is_not_the_cause(kimi: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """An account that may use the endpoint, but not look it up, is told so, and nothing is red."""
    kimi.enqueue(Fault("403"), route="endpoint")
    assert main(["doctor", "--quick"]) == 0
    assert "warn endpoint     this account may not look it up" in capsys.readouterr().out
