"""Finds the end of thinking whose closing tag the server dropped.

vLLM 0.25 to 0.33, with its Python front end, streams `<think>THINKING` and the answer as content where the prompt
holds an earlier turn, and drops the `</think>` between them. Its counts of tokens are right: where each chunk has
them, they tell the border. (`return_token_ids` would tell it, too, in a chunk of its own for the tag.)
"""

from __future__ import annotations

from typing import Final

from kimi_vertex.events import Usage

__all__ = ["LostTag"]

_TAGS: Final = ("<think>", "◁think▷")
_FEW: Final = 3
"""The tokens of thinking alone that are not thinking: two tags, and the end of the answer."""


class LostTag:
    """Follows the counts of a stream's chunks."""

    def __init__(self, *, provable: bool) -> None:
        """Start before the first chunk.

        Args:
            provable: Whether counts and texts of a chunk belong together. With stop texts, texts lag behind.
        """
        self._provable = provable
        self._answered = 0  # tokens so far that are not thinking
        self._thought = 0
        self.found = False
        """Whether the border has been found."""

    def before(self, content: str, counts: Usage, *, thinks: bool) -> bool:
        """Whether the thinking ended before a chunk, which then is the answer's first.

        A chunk of both is not split: where in it the border is, the counts do not say.

        Args:
            content: The chunk's content.
            counts: All tokens up to its end.
            thinks: Whether thinking was going on before it.
        """
        if counts.thinking_tokens is None or not self._provable:
            return False
        thought = counts.thinking_tokens - self._thought
        other = counts.completion_tokens - counts.thinking_tokens - self._answered
        self._thought += thought
        self._answered += other
        opens = any(tag in content for tag in _TAGS)
        if not thinks:
            self._provable = not opens or other <= 2
            return False
        # A server that counts no thinking at all says the same as one that has seen its end, but for the tag's token.
        if thought == 0 and other > 0 and (self._thought > 0 or other == 2):
            self.found, self._provable = True, False
            return True
        self._provable = other <= 1 and (self._thought > 0 or other == 0)
        return False

    def must_have_been(self, counts: Usage | None) -> bool:
        """Whether an answer that is thinking alone holds more than that, by the counts of its end."""
        if counts is None or not counts.thinking_tokens:
            return False
        return counts.completion_tokens - counts.thinking_tokens > _FEW
