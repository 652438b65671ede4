"""What `ChatKimiVertex(...)` takes, for type checkers and editors; the fields themselves are in `_settings.py`.

Pydantic's own signature would refuse the aliases, and a plain `str` as a token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

from langchain_core.caches import BaseCache
from langchain_core.callbacks import Callbacks
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import SecretStr

from kimi_vertex import RequestStats, Timeouts

__all__ = ["Parameters"]


class _LangChain(TypedDict, total=False):
    """Every chat model's."""

    name: str | None
    cache: BaseCache | bool | None
    verbose: bool
    callbacks: Callbacks
    tags: list[str] | None
    metadata: dict[str, Any] | None
    custom_get_token_ids: Callable[[str], list[int]] | None
    rate_limiter: BaseRateLimiter | None
    disable_streaming: bool | Literal["tool_calling"]
    output_version: str | None
    profile: ModelProfile | None


class Parameters(_LangChain, total=False):
    """The fields of `KimiVertexSettings` and their aliases."""

    model: str | None
    model_name: str | None
    project: str | None
    location: str | None
    endpoint: str | None
    endpoint_host: str | None
    base_url: str | None
    api: Literal["chat", "rawPredict", "predict"]
    credentials: Any
    access_token: SecretStr | str | None
    api_key: SecretStr | str | None
    quota_project: str | None
    self_signed_jwt: bool
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | list[str] | None
    seed: int | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None
    replay_thinking: Literal["all", "tools", "none"]
    empty_turn: Literal["flag", "retry", "raise", "promote"]
    implicit_thinking: bool | None
    tool_validation: Literal["off", "flag", "repair", "reask"]
    tool_validation_retries: int
    timeout: float | Timeouts | None
    max_retries: int
    max_retry_seconds: float
    streaming: bool
    on_thinking: Callable[[str], Any] | None
    on_request: Callable[[RequestStats], None] | None
    http_client: Any
    http_async_client: Any
