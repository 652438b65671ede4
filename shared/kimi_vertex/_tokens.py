"""Estimates token counts without a tokenizer's download."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["estimate_tokens"]

# Han, kana, hangul and their punctuation: Kimi's vocabulary has about two of these characters to three tokens.
_IDEOGRAPHS: Final = re.compile("[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens of Kimi's vocabulary a text has.

    An estimate, good enough for budgets: four characters to a token in alphabetic scripts, and two tokens to
    three characters in Chinese, Japanese and Korean. The exact figures are in `Usage`.
    """
    if not text:
        return 0
    ideographs = 0 if text.isascii() else len(_IDEOGRAPHS.findall(text))
    return max(1, round(ideographs * 2 / 3 + (len(text) - ideographs) / 4))
