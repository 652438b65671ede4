"""The names under which LangChain's messages carry what is this provider's own."""

from __future__ import annotations

from typing import Final

__all__ = ["CALL_ERRORS_KEY", "PROVIDER", "REPLACED_CALLS_KEY", "THINKING_KEY"]

PROVIDER: Final = "kimi_vertex"
"""One id for `ls_provider`, `response_metadata["model_provider"]` and the block translator."""

THINKING_KEY: Final = "reasoning_content"
"""LangChain's convention for thinking in `additional_kwargs`."""

CALL_ERRORS_KEY: Final = "invalid_tool_call_errors"
"""Where `response_metadata` says why a call is invalid, by its id: LangChain's sum of chunks keeps no errors."""

REPLACED_CALLS_KEY: Final = "replaced_tool_calls"
"""Where `response_metadata` has the ids of invalid calls that the model has replaced by others (`reask`): they stay in
the message, because they were streamed, but are not sent back."""
