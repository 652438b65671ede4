"""Raw outputs of Kimi K3, however the server cuts them."""

from __future__ import annotations

import pytest

from .support_decoder import Row, all_cuts, run_stream, run_whole
from .support_k3 import K3, K3_QUOTATIONS
from .support_quotations import QuotationRow, run_quotation

every_row = pytest.mark.parametrize("row", K3, ids=lambda row: row.name)


@every_row
def test_streamed(row: Row) -> None:
    """A stream in this shape is read as the table says."""
    row.check(run_stream(row))


@every_row
def test_whole(row: Row) -> None:
    """The same turn in one body is read in the same way."""
    row.check(run_whole(row))


@every_row
def test_cut_anywhere(row: Row) -> None:
    """Each text may be cut at any place, down to single letters, without a change."""
    for deltas in all_cuts(row.deltas):
        row.check(run_stream(row, deltas))


@pytest.mark.parametrize("quotation", K3_QUOTATIONS, ids=lambda quotation: quotation.name)
def test_quotation(quotation: QuotationRow) -> None:
    """The rule on quotations holds for K3's notation."""
    quotation.check(run_quotation(quotation))
    quotation.check(run_quotation(quotation, whole=True))
