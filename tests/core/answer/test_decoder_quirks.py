"""Every numbered quirk of an answer: read, and read the same however the server cuts it."""

from __future__ import annotations

import pytest

from .support_decoder import Row, all_cuts, run_stream, run_whole
from .support_quirks import ROWS

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@every_row
def test_streamed(row: Row) -> None:
    """A stream in this dialect is read as the table says."""
    row.check(run_stream(row))


@pytest.mark.parametrize("row", [row for row in ROWS if not row.streamed_only], ids=lambda row: row.name)
def test_whole(row: Row) -> None:
    """The same answer in one body is read in the same way."""
    completion = run_whole(row)
    row.check(completion)
    if row.whole_calls is None:
        assert completion == run_stream(row)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.whole_pieces], ids=lambda row: row.name)
def test_cut_anywhere(row: Row) -> None:
    """Each text of the stream may be cut at any place, down to single letters, without a change."""
    expected = run_stream(row)
    for deltas in all_cuts(row.deltas):
        assert run_stream(row, deltas) == expected, deltas
