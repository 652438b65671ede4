"""All quirk tables in one list."""

from __future__ import annotations

from .support_quirks_calls import STRUCTURED
from .support_quirks_ends import ENDS
from .support_quirks_leaks import LEAKS
from .support_quirks_strings import STRINGS
from .support_quirks_thinking import THINKING

__all__ = ["ROWS"]

ROWS = [*THINKING, *LEAKS, *STRINGS, *STRUCTURED, *ENDS]
