"""Where the tests of the command line ask: an emulator, named by the environment."""

from __future__ import annotations

import io
import sys

import pytest

from kimi_vertex_emulator import Emulator

from .support_cli import ENDPOINT


@pytest.fixture
def kimi(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An emulator that the environment names, together with an endpoint there."""
    monkeypatch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
    monkeypatch.setenv("KIMI_VERTEX_ENDPOINT", ENDPOINT)
    return emulator


@pytest.fixture(autouse=True)
def _nothing_piped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
