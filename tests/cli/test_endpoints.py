"""`kimi-vertex endpoints`: which are listed, in which form, and the line to use each."""

from __future__ import annotations

import json

import pytest

from kimi_vertex_cli import main
from kimi_vertex_emulator import Deployment, Emulator

from .support_cli import on_terminal

HERE = "projects/acme/locations/us-central1/endpoints"
DNS = "1.us-central1-42.prediction.vertexai.goog"


@pytest.fixture
def owned(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An emulated project with three endpoints in one region and one in another."""
    emulator.deployments = [
        Deployment(f"{HERE}/1", display_name="prod", dns=DNS),
        Deployment(f"{HERE}/2", state="zero"),
        Deployment(f"{HERE}/3", model="google/gemma-3", display_name="gemma", flags=()),
        Deployment("projects/acme/locations/us-east5/endpoints/4", display_name="test"),
    ]
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")
    return emulator


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["endpoints", "--json", *arguments]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_those_that_serve_kimi_are_listed(owned: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Others are left out."""
    found = listed(capsys, "--location", "us-central1")
    assert [endpoint["name"] for endpoint in found] == [f"{HERE}/1", f"{HERE}/2"]


def test_others_can_be_listed(owned: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--all` they come, too, and are not marked."""
    found = listed(capsys, "--location", "us-central1", "--all")
    assert [endpoint["kimi"] for endpoint in found] == [True, True, False]


def test_without_a_location_all_regions_are_searched(
    owned: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """An endpoint is found wherever it is."""
    assert [str(endpoint["name"]).split("/")[3] for endpoint in listed(capsys)] == [
        *("us-central1", "us-central1", "us-east5")
    ]


@pytest.mark.parametrize("option", [("--location", "us-east5"), ("--project", "acme")])
def test_an_endpoint_in_use_is_no_hindrance(
    owned: Emulator,
    option: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another project or region can be listed while the environment names an endpoint."""
    monkeypatch.setenv("KIMI_VERTEX_ENDPOINT", "projects/other/locations/us-central1/endpoints/9")
    names = [endpoint["name"] for endpoint in listed(capsys, *option)]
    assert "projects/acme/locations/us-east5/endpoints/4" in names


def test_a_line_has_all_that_is_needed(owned: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe each endpoint is a line of fields: name, kind, model, state, host, and the line that uses it."""
    main(["endpoints", "--location", "us-central1"])
    first = capsys.readouterr().out.splitlines()[0].split("\t")
    assert first == [
        *(f"{HERE}/1", "kimi", "Kimi-K2-Thinking", "1 of 1 replicas", DNS),
        f"export KIMI_VERTEX_ENDPOINT={HERE}/1",
    ]


def test_long_lists_come_whole(owned: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A list of several pages is read to its end."""
    owned.deployments = [Deployment(f"{HERE}/{number}") for number in range(230)]
    assert len(listed(capsys, "--location", "us-central1")) == 230


def test_a_terminal_gets_a_table(owned: Emulator) -> None:
    """On a terminal there is a table with marks, and below it the lines to copy, unbroken."""
    written = on_terminal("endpoints", "--location", "us-central1")
    assert "\u25cf" in written
    assert f"export KIMI_VERTEX_ENDPOINT={HERE}/1\r\n" in written


def test_none_is_said(owned: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A project without one says so, and where to read on."""
    assert main(["endpoints", "--location", "europe-west4"]) == 0
    assert "No endpoint of acme in europe-west4 serves Kimi" in capsys.readouterr().err


def test_a_refusal_is_an_error(owned: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """If no region may be listed, the first one's reason is told."""
    owned.refusal = "api-off"
    assert main(["endpoints"]) == 1
    assert "Vertex AI is off in project acme" in capsys.readouterr().err


def test_another_server_has_none(owned: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A `base_url` is not Vertex AI."""
    assert main(["endpoints", "--base-url", "https://kimi.example.com/v1"]) == 1
    assert "has no endpoints" in capsys.readouterr().err
