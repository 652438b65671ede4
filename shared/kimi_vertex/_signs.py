"""Special tokens in what people, documents and tools write, which must not speak as the chat template does.

Servers render the conversation into one text and turn the tokens in it into control tokens, whoever wrote them. So an
invisible sign goes into each token of a text on its way out, and is taken out of what comes back. Where a text has the sign
at such a place already, it gets a second one, so that every text comes back as it was.

The sign is U+2060, the word joiner: no Unicode normalization changes it, `str.strip()` leaves it, and neither frameworks nor
engines use it or take it out (searched for in LangChain, LlamaIndex, vLLM 0.33 and SGLang 0.5.23).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["OPENERS", "SIGN", "break_text", "may_hold_tokens", "mend_json", "mend_text"]

SIGN: Final = "\u2060"
OPENERS: Final = ("<", "[", "◁")
"""What the tokens begin with: the sign stands behind it."""

# The tokens of K2's and K3's tokenizers, and those that they reserve: moonshotai/Kimi-K2-Thinking and Kimi-K3,
# tokenizer_config.json. All names between bars, because later models have further ones.
_NAMES: Final = r"BOS|EOS|EOT|PAD|UNK|start_header_id|end_header_id"
_TOKENS: Final = rf"<(?=\|\w{{1,64}}\|>|osagent_mode>)|\[(?=(?:{_NAMES})\])"
_THINK: Final = r"<(?=/?think>)|◁(?=/?think▷)"
_SIGNED: Final = rf"[<\[◁](?={SIGN})"
_OF_OTHERS: Final = re.compile(f"{_TOKENS}|{_THINK}|{_SIGNED}", re.ASCII)
_OF_THE_MODEL: Final = re.compile(f"{_TOKENS}|{_SIGNED}", re.ASCII)
_UNSIGNED: Final = re.compile(f"{_TOKENS}|{_THINK}", re.ASCII)
_IN_TEXT: Final = re.compile(rf"([<\[◁]){SIGN}")
# In JSON the opener and the sign may be escaped. A pair of backslashes escapes nothing behind it.
_OPENER: Final = r"[<\[◁]|\\u00(?:3[cC]|5[bB])|\\u25[cC]1"
_IN_JSON: Final = re.compile(rf"\\\\|({_OPENER})(?:{SIGN}|\\u2060)")
_ESCAPED: Final = re.compile(r"\\\\|\\(?:u(00[2-7][0-9a-fA-F]|25[cC]1|25[bB]7)|/)")
_JSON_SIGNED: Final = re.compile(rf"\\\\|({_OPENER})(?={SIGN}|\\u2060)")
_HINTS: Final = tuple(
    hint.encode()
    for hint in (
        *(
            "<|",
            "think>",
            "think▷",
            "osagent_mode>",
            "[BOS]",
            "[EOS]",
            "[EOT]",
            "[PAD]",
            "[UNK]",
            "_header_id]",
        ),
        SIGN,
    )
)
# In a call's arguments, which are JSON in JSON: the escapes of signs that tokens are made of.
_ESCAPE_HINT: Final = re.compile(rb"\\\\(?:u(?:00[2-7]|25[bBcC]|2060)|/)")


def may_hold_tokens(body: bytes) -> bool:
    """Whether it is worth looking for tokens in a request's body: a few searches, which cost little."""
    return any(hint in body for hint in _HINTS) or _ESCAPE_HINT.search(body) is not None


def break_text(text: str, *, own: bool = False) -> tuple[str, int]:
    """Break up the tokens in a text.

    Args:
        text: Any text.
        own: Whether the model wrote it: think tags are then its own, and stay.

    Returns:
        The text, and how many signs were added.
    """
    return (_OF_THE_MODEL if own else _OF_OTHERS).subn(rf"\g<0>{SIGN}", text)


def break_json(text: str) -> tuple[str, int]:
    """The same for a call's arguments, in which no escape may hide a token: servers decode them."""
    if "\\u" in text or "\\/" in text:
        plain = _ESCAPED.sub(_unescaped, text)
        text = plain if _UNSIGNED.search(plain) else text
    text, signs = _JSON_SIGNED.subn(lambda found: found[0] + (SIGN if found[1] else ""), text)
    text, tokens = _UNSIGNED.subn(rf"\g<0>{SIGN}", text)
    return text, signs + tokens


def _unescaped(found: re.Match[str]) -> str:
    """An escape's sign, if JSON need not escape it."""
    if found[1] is None:
        return "/" if found[0] == "\\/" else found[0]
    sign = chr(int(found[1], 16))
    return found[0] if sign in '"\\\x7f' else sign


def mend_text(text: str) -> str:
    """Take the signs out of a text again."""
    return _IN_TEXT.sub(r"\1", text) if SIGN in text else text


def mend_json(text: str) -> str:
    """Take the signs out of JSON text again."""
    if SIGN not in text and "\\u2060" not in text:
        return text
    return _IN_JSON.sub(lambda found: found[1] or found[0], text)
