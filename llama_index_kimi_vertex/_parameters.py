"""The keyword arguments of `KimiVertex`, for type checkers and editors. The fields document them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms.llm import CompletionToPromptType, MessagesToPromptType
from llama_index.core.types import BaseOutputParser, PydanticProgramMode
from pydantic import SecretStr

from kimi_vertex import RequestStats, ThinkingCallback, Timeouts

from ._structured import StructuredMode

__all__ = ["KimiVertexSettings"]


class KimiVertexSettings(TypedDict, total=False):
    """What `KimiVertex(...)` takes."""

    model: str | None
    project: str | None
    location: str | None
    endpoint: str | None
    endpoint_host: str | None
    base_url: str | None
    api: Literal["chat", "rawPredict", "predict"]
    credentials: Any | Mapping[str, Any] | str | PathLike[str]
    access_token: str | SecretStr | None
    api_key: str | SecretStr | None
    quota_project: str | None
    self_signed_jwt: bool
    timeout: float | Timeouts | None
    max_retries: int
    max_retry_seconds: float
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None
    replay_thinking: Literal["all", "tools", "none"]
    empty_turn: Literal["flag", "retry", "raise", "promote"]
    implicit_thinking: bool | None
    tool_validation: Literal["off", "flag", "repair", "reask"]
    tool_validation_retries: int
    on_request: Callable[[RequestStats], None] | None
    http_client: Any
    http_async_client: Any
    on_thinking: ThinkingCallback | None
    structured_output: StructuredMode
    structured_retries: int
    context_window: int | None
    additional_kwargs: Mapping[str, Any]
    callback_manager: CallbackManager
    rate_limiter: Any
    system_prompt: str | None
    messages_to_prompt: MessagesToPromptType | None
    completion_to_prompt: CompletionToPromptType | None
    output_parser: BaseOutputParser | None
    pydantic_program_mode: PydanticProgramMode
    query_wrapper_prompt: Any
