"""What the client tells a developer who looks at its log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from kimi_vertex import KimiVertexClient
from kimi_vertex_emulator import Emulator, Turn


@pytest.mark.parametrize(
    ("turn", "settings", "hinted"),
    [
        (Turn(text="No thinking at all."), {}, True),
        (Turn(text="No thinking at all."), {"implicit_thinking": False}, False),
        (Turn(thinking="Some.", text="An answer."), {}, False),
    ],
)
def test_an_answer_that_could_not_stream_is_explained(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, turn: Turn, settings: dict[str, Any], hinted: bool
) -> None:
    """A streamed answer that was held back to its end leaves a hint at the setting that lets it stream."""
    emulator.enqueue(turn)
    with (
        caplog.at_level(logging.INFO, "kimi_vertex"),
        KimiVertexClient(base_url=emulator.base_url, **settings) as client,
    ):
        list(client.stream("Hello"))
    assert ("implicit_thinking=False" in caplog.text) is hinted
