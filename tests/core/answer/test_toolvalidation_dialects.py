"""What `tool_validation` does to answers in every dialect: nothing but judge their calls."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from kimi_vertex import Completion, accumulate
from kimi_vertex._answer.decoder import Decoder
from kimi_vertex._tools import DeclaredTools
from kimi_vertex.events import Event
from kimi_vertex.options import ToolValidation

from .support_decoder import Row, chunk, random_cuts, run_chunks, run_stream
from .support_quirks import ROWS

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
each_with_calls = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.calls or row.invalid], ids=lambda row: row.name
)


def read(
    row: Row, validation: ToolValidation, cut: random.Random | None = None
) -> tuple[list[Event], Completion]:
    """The row's events and completion under a setting; the law that they say the same holds."""
    reader = Decoder(
        tools=DeclaredTools.of(row.tools),
        history=row.history,
        implicit_thinking=row.implicit,
        validation=validation,
    )
    deltas = row.deltas if cut is None else random_cuts(row.deltas, cut)
    events = run_chunks(reader, [*(chunk(delta) for delta in deltas), chunk({}, row.sent_reason)])
    assert accumulate(events) == reader.completion
    return events, reader.completion


def _ids(completion: Completion) -> set[str]:
    return {call.id for call in completion.to_message().tool_calls}


@each_row
def test_flag_only_moves_calls(row: Row) -> None:
    """`flag` leaves all but the place of the calls as it was, and no call that was invalid becomes valid."""
    plain, (_, flagged) = run_stream(row), read(row, "flag")
    assert replace(flagged, tool_calls=(), invalid_tool_calls=()) == replace(
        plain, tool_calls=(), invalid_tool_calls=()
    )
    assert set(flagged.tool_calls) <= set(plain.tool_calls)
    assert set(plain.invalid_tool_calls) <= set(flagged.invalid_tool_calls)
    assert _ids(flagged) == _ids(plain)


@each_with_calls
def test_held_calls_are_the_same_calls(row: Row) -> None:
    """Held arguments are those of `flag` where nothing is to be repaired, however the server cuts them."""
    _, flagged = read(row, "flag")
    assert read(row, "repair")[1] == flagged
    if not row.whole_pieces:
        assert read(row, "repair", random.Random(row.name))[1] == flagged


@each_with_calls
def test_reask_holds_nothing_back(row: Row) -> None:
    """The events of `reask` are those of `flag`: what is to be done about them is decided behind the answer."""
    assert read(row, "reask") == read(row, "flag")
