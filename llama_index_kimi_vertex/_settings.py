"""The settings of a `KimiVertex`, and the one core client that is built from them.

Each setting is a field, and the client is built from the fields, so that an LLM can be pickled, copied, written to a
dict and changed after construction. A new setting of the core client needs one field here and nothing else.
"""

from __future__ import annotations

import copy
import logging
import os
import pickle
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, Self

from llama_index.core.llms.function_calling import FunctionCallingLLM
from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    StrictBool,
    ValidationError,
)
from pydantic.json_schema import SkipJsonSchema

from kimi_vertex import (
    CLIENT_SETTINGS,
    ConfigurationError,
    KimiVertexClient,
    KimiVertexError,
    Pace,
    RequestOptions,
    RequestStats,
    ThinkingCallback,
    Timeouts,
    WaitCallback,
    check_names,
)

__all__ = ["OPTIONS", "ClientSettings"]

_logger = logging.getLogger(__name__)

OPTIONS: Final = frozenset(RequestOptions.__annotations__)
"""The names of the options that a request may have."""


class ClientSettings(FunctionCallingLLM):
    """The settings of the core client, which are those of `ChatKimiVertex` too, and two of LlamaIndex's."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    model: str | None = Field(
        default=None,
        description="Model id, which the managed service needs; an endpoint and a base_url have their own.",
    )
    project: str | int | None = Field(
        default=None,
        description="Google Cloud project; default: GOOGLE_CLOUD_PROJECT, then the credentials' project.",
    )
    location: str | None = Field(
        default=None, description='Region; default: GOOGLE_CLOUD_LOCATION, then "global".'
    )
    endpoint: str | int | None = Field(
        default=None,
        description="Self-deployed endpoint: resource name or id; default: KIMI_VERTEX_ENDPOINT.",
    )
    endpoint_host: str | None = Field(
        default=None, description="Dedicated DNS name or private address of the endpoint."
    )
    base_url: str | None = Field(
        default=None, description="Everything before /chat/completions; used as it is."
    )
    api: Literal["auto", "chat", "invoke", "rawPredict", "predict"] = Field(
        default="auto", description="How an endpoint is called; auto finds out, predict cannot stream."
    )
    audience: str | None = Field(
        default=None,
        description="Whom ID tokens are for, at a base_url on Cloud Run or behind IAP; default: KIMI_VERTEX_AUDIENCE.",
    )
    ca_certs: str | os.PathLike[str] | None = Field(
        default=None,
        description='Certificates to trust: a PEM file, a directory, or "system"; default: KIMI_VERTEX_CA_CERTS.',
    )
    insecure_http: StrictBool | Literal["with_token"] | None = Field(
        default=None,
        description="Whether http is accepted in private networks; default: KIMI_VERTEX_INSECURE_HTTP.",
    )
    credentials: Any = Field(
        default=None,
        exclude=True,
        repr=False,
        description="google-auth credentials, service-account info, or the path of a credentials file; "
        "default: application default credentials.",
    )
    access_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("access_token", "api_key"),
        exclude=True,
        repr=False,
        description="Static bearer token instead of Google credentials; also accepted as api_key.",
    )
    timeout: Annotated[float | Timeouts | None, BeforeValidator(Timeouts.of)] = Field(
        default=None,
        description="Seconds, Timeouts(connect=10, first_byte=600, idle=300) or an httpx.Timeout; default: "
        "KIMI_VERTEX_TIMEOUT, then those Timeouts.",
    )
    max_retries: int | None = Field(
        default=None,
        description="Further attempts before the first byte of an answer; default: KIMI_VERTEX_MAX_RETRIES, then 2.",
    )
    max_retry_seconds: float = Field(
        default=120.0, description="When to stop trying again, counted from the start of the request."
    )
    wake_timeout: float | None = Field(
        default=None,
        description="Seconds to wait for an endpoint that starts from zero; default: KIMI_VERTEX_WAKE_TIMEOUT.",
    )
    pace: Literal["shared"] | Pace | None = Field(
        default="shared",
        description="How requests keep to what the service takes: a pace that all clients of a target share, or "
        "Pace(...) with limits.",
    )
    temperature: float | None = Field(default=None, description="Sent only if set.")
    top_p: float | None = Field(default=None, description="Sent only if set.")
    max_tokens: int | None = Field(
        default=None,
        validation_alias=AliasChoices("max_tokens", "max_completion_tokens"),
        description="Limit of thinking and answer together; sent only if set.",
    )
    stop: str | list[str] | None = Field(default=None, description="Stop sequences.")
    seed: int | None = Field(default=None, description="Makes answers repeatable, as far as the server can.")
    extra_body: dict[str, Any] | None = Field(
        default=None, description="Fields added to every request's body."
    )
    extra_headers: dict[str, str] | None = Field(
        default=None, exclude=True, repr=False, description="Headers added to every request; may be secret."
    )
    replay_thinking: Literal["all", "tools", "none"] = Field(
        default="all",
        description="Whose thinking goes back to the model: all turns', tool-call turns', none.",
    )
    empty_turn: Literal["flag", "retry", "raise", "promote"] = Field(
        default="flag", description="What happens when the model stops without an answer."
    )
    implicit_thinking: bool | None = Field(
        default=None, description="Whether text before a lone </think> is thinking; default: known by model."
    )
    reasoning_effort: Literal["none", "low", "medium", "high", "max"] | None = Field(
        default=None,
        description="How much the model thinks, in the words of model and server; default: the model's own.",
    )
    server: Literal["vllm", "sglang", "moonshot"] | None = Field(
        default=None, description="What serves the model; default: learned from the answers."
    )
    recover_calls: bool = Field(
        default=True, description="Whether a call that the server let through as text becomes one."
    )
    break_tokens: bool = Field(
        default=True,
        description="Whether special tokens in messages and tools are broken up by an invisible sign.",
    )
    tool_validation: Literal["off", "flag", "repair", "reask"] = Field(
        default="reask",
        description="What happens to tool calls that the tool's schema does not admit; flag and repair "
        "need kimi-vertex[validate], and without it reask sees only unreadable calls and missing arguments.",
    )
    on_request: SkipJsonSchema[Callable[[RequestStats], None] | None] = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Given the figures of each request when it is over.",
    )
    on_wait: SkipJsonSchema[WaitCallback | None] = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Function or coroutine function that is told of waits before another attempt.",
    )
    http_client: Any = Field(default=None, exclude=True, repr=False, description="Own httpx.Client.")
    http_async_client: Any = Field(
        default=None, exclude=True, repr=False, description="Own httpx.AsyncClient."
    )
    on_thinking: SkipJsonSchema[ThinkingCallback | None] = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Function or coroutine function that is told each piece of thinking as it arrives, also in "
        "methods that do not stream: the answer is then streamed from the service.",
    )
    context_window: int | None = Field(
        default=None, description="Tokens that the model reads and writes together; default: known by model."
    )
    additional_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of every request: response_format, chat_template_kwargs, thinking ...",
    )

    _built: tuple[dict[str, Any], KimiVertexClient] | None = PrivateAttr(default=None)
    """The settings that the client was built from, and the client; one attribute, because pydantic's are slow to read."""

    def __init__(self, model: str | None = None, /, **settings: Any) -> None:
        failed: KimiVertexError | None = None
        try:
            if model is not None:
                if "model" in settings:
                    raise ConfigurationError("The model is given twice: once by its place, once by its name.")
                settings["model"] = model
            _check_given(type(self), settings)
            super().__init__(**settings)
            self._check()
            _ = self.client
        except (KimiVertexError, ValidationError) as error:
            failed = _explained(error).with_traceback(None)
        if failed is not None:
            # Crash reporters print the variables of this frame, and all of its context: both have the secrets.
            settings.clear()
            raise failed
        client = self.client
        if self.model is None and client.model is not None:
            self.model = client.model
            self._built = (self._current_client_settings(), client)

    def _check(self) -> None:
        check_options(self.additional_kwargs)
        if "extra_headers" in self.additional_kwargs:
            raise ConfigurationError(
                "Pass extra_headers as a setting of its own: additional_kwargs are part of to_dict, headers may be secret."
            )

    @property
    def client(self) -> KimiVertexClient:
        """The core client for the present settings.

        Raises:
            ConfigurationError: A setting is wrong or missing.
        """
        settings = self._current_client_settings()
        built = self._built
        if built is None or settings != built[0]:
            built = self._built = (settings, KimiVertexClient(**settings))
        return built[1]

    def close(self) -> None:
        """Close the connections of synchronous requests. The LLM stays usable."""
        self.client.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop's requests. The LLM stays usable."""
        await self.client.aclose()

    def _current_client_settings(self) -> dict[str, Any]:
        fields = self.__dict__
        settings = {name: fields[name] for name in CLIENT_SETTINGS if name in fields}
        if headers := settings["extra_headers"]:
            settings["extra_headers"] = {name: SecretStr(value) for name, value in headers.items()}
        return settings

    def __getstate__(self) -> dict[str, Any]:
        try:
            self.client.__getstate__()  # refuses to let a secret travel
        except ConfigurationError as error:
            # LlamaIndex's components leave out in silence what raises here, and miss it later, in a worker or at once.
            _logger.warning("This KimiVertex cannot be pickled, nor what it is part of: %s", error)
            raise
        # The base class's deletes what it cannot pickle from the object itself.
        # https://github.com/run-llama/llama_index/blob/main/llama-index-core/llama_index/core/schema.py
        values = {name: value for name, value in self.__dict__.items() if _can_travel(name, value)}
        return {
            "__dict__": values,
            "__pydantic_extra__": None,
            "__pydantic_fields_set__": self.__pydantic_fields_set__ & values.keys(),
            "__pydantic_private__": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The base class would hide a ConfigurationError and leave a half-built object.
        self.__init__(**state["__dict__"])  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        values = {
            name: copy.deepcopy(value, memo) if isinstance(value, dict | list) else value
            for name, value in self.__dict__.items()
        }
        return type(self)(**values)


def _check_given(owner: type[FunctionCallingLLM], given: Mapping[str, Any]) -> None:
    """Refuse names that the class does not have, and two names of one setting."""
    known: set[str] = {"class_name"}
    for name, field in owner.model_fields.items():
        names = [name, field.alias or name]
        if isinstance(field.validation_alias, AliasChoices):
            names += [alias for alias in field.validation_alias.choices if isinstance(alias, str)]
        known.update(names)
        twice = [alias for alias in dict.fromkeys(names) if given.get(alias) is not None]
        if len(twice) > 1:
            raise ConfigurationError(f"{twice[0]} and {twice[1]} mean the same: pass one.")
    check_names(given, known, owner=owner.__name__)


def _explained(error: KimiVertexError | ValidationError) -> KimiVertexError:
    if isinstance(error, KimiVertexError):
        return error
    detail = error.errors(include_input=False, include_url=False)[0]
    return ConfigurationError(f"{'.'.join(map(str, detail['loc']))} is wrong: {detail['msg']}.")


def _can_travel(name: str, value: object) -> bool:
    """Whether a setting goes into a pickle: not connections, and not callbacks that are local to a function."""
    try:
        pickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - every type fails in its own way
        _logger.warning("The pickle of this KimiVertex leaves out %s: %s", name, type(error).__name__)
        return False
    return True


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that a request cannot have.

    Raises:
        ConfigurationError: One of the names is unknown.
    """
    check_names(options, OPTIONS, owner="KimiVertex", what="option")
