"""Estimates of tokens, offline: good enough for budgets. The exact figures are in `Usage`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ._request.reading import read_messages
from .messages import MessageLike

__all__ = ["estimate_conversation_tokens", "estimate_tokens"]

# Han, kana, hangul and their punctuation: Kimi's vocabulary has about two of these characters to three tokens.
_IDEOGRAPHS: Final = re.compile("[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_TOKENS_PER_MESSAGE: Final = 4
"""What the template writes around a message."""
_TOKENS_PER_IMAGE: Final = 1024


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens of Kimi's vocabulary a text has.

    Four characters make a token in alphabetic scripts; in Chinese, Japanese and Korean three characters make two.
    """
    if not text:
        return 0
    ideographs = 0 if text.isascii() else len(_IDEOGRAPHS.findall(text))
    return max(1, round(ideographs * 2 / 3 + (len(text) - ideographs) / 4))


def estimate_conversation_tokens(
    messages: Iterable[MessageLike] | str,
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    count: Callable[[str], int] = estimate_tokens,
) -> int:
    """Estimate how many tokens a conversation has as a prompt: thinking, tool calls, images and tools included.

    Args:
        messages: The conversation, in any form that a request takes; it may be empty.
        tools: The tools that go with it, in OpenAI's form.
        count: What counts the tokens of a text, such as a tokenizer.

    Raises:
        InvalidRequestError: A message has a form that cannot be sent.
    """
    total = count(json.dumps(tools, ensure_ascii=False, default=str)) if tools else 0
    given = messages if isinstance(messages, str) else list(messages)
    for message in read_messages(given) if given else ():
        texts = [message.thinking or ""]
        texts += [f"{call.id}{call.name}{call.arguments}" for call in message.tool_calls]
        if message.tools:
            texts.append(json.dumps(message.tools, ensure_ascii=False, default=str))
        content = message.content or ""
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                total += _TOKENS_PER_IMAGE
        total += _TOKENS_PER_MESSAGE + sum(count(text) for text in texts if text)
    return total
