"""Real engines' answers to Kimi K2's output, and texts that only quote a call, however the server cuts them."""

from __future__ import annotations

import pytest

from kimi_vertex._answer.decoder import Decoder

from .support_decoder import Row, all_cuts, chunk, run_chunks, run_stream, run_whole
from .support_engines_k2 import ROWS
from .support_engines_thinking import FIELDS, LOST_TAGS, FieldRow, LostTagRow, run_lost_tag
from .support_quotations import QUOTATIONS, QuotationRow, run_quotation

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
every_quotation = pytest.mark.parametrize("quotation", QUOTATIONS, ids=lambda quotation: quotation.name)


@every_row
def test_streamed(row: Row) -> None:
    """A stream in this dialect is read as the table says."""
    row.check(run_stream(row))


@every_row
def test_whole(row: Row) -> None:
    """The same answer in one body is read in the same way."""
    row.check(run_whole(row))


@pytest.mark.parametrize("row", [row for row in ROWS if not row.whole_pieces], ids=lambda row: row.name)
def test_cut_anywhere(row: Row) -> None:
    """Each text of the stream may be cut at any place, down to single letters, without a change."""
    for deltas in all_cuts(row.deltas):
        row.check(run_stream(row, deltas))


@pytest.mark.parametrize("lost", LOST_TAGS, ids=lambda lost: lost.name)
def test_lost_closing_tag(lost: LostTagRow) -> None:
    """Where the usage proves the border, the answer is one; else the turn is empty, and says why."""
    completion = run_lost_tag(lost)
    assert completion.text == lost.text
    assert completion.thinking == lost.thinking
    assert completion.empty == lost.empty
    assert ("lost_closing_tag" in completion.metadata) == lost.cause


@pytest.mark.parametrize("row", FIELDS, ids=lambda row: row.name)
def test_thinking_field(row: FieldRow) -> None:
    """The field in which a server writes thinking is learned from its answer."""
    reader = Decoder()
    run_chunks(reader, [*map(chunk, row.deltas), chunk({}, "stop")])
    assert reader.thinking_field == row.field


@every_quotation
def test_quotation_streamed(quotation: QuotationRow) -> None:
    """A call that stands as text in the request never comes out as a call; one that does not, does."""
    quotation.check(run_quotation(quotation))


@every_quotation
def test_quotation_whole(quotation: QuotationRow) -> None:
    """A whole body is judged in the same way."""
    quotation.check(run_quotation(quotation, whole=True))


@every_quotation
def test_quotation_cut_anywhere(quotation: QuotationRow) -> None:
    """Nor does it matter where the server cuts."""
    for deltas in all_cuts(quotation.deltas):
        quotation.check(run_quotation(quotation, deltas))
