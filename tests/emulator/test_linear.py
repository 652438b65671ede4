"""The emulator reads what it is asked, and takes secrets out of it, in linear time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kimi_vertex_emulator import brain
from kimi_vertex_emulator._chat import ChatRequest
from kimi_vertex_emulator._redact import Redactor

from ..core.support_linear import WRITTEN, grows_with_the_square


def answered(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}], "tools": [{"function": {"name": "f"}}]}
    brain.respond(ChatRequest.from_body(body, model="kimi"))


@pytest.mark.parametrize(
    ("work", "more"),
    [
        (answered, ("0", "a@", "a.", "A b ", '"a" and ', "a_")),
        (Redactor({"secret": "X"}).body, ("a@", "a.b-c1-1.", "eyJ", "project ")),
    ],
    ids=["brain", "redaction"],
)
def test_scanners(work: Callable[[str], object], more: tuple[str, ...]) -> None:
    """Each is given what it has to look at again and again."""
    assert [unit for unit in (*WRITTEN, *more) if grows_with_the_square(work, unit)] == []
