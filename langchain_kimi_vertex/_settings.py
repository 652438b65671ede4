"""The settings of `ChatKimiVertex`: what LangChain adds to those of the client, metadata, copies, serialization."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final, Self, cast

from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import BaseMessage
from langchain_core.utils import from_env
from pydantic import Field, model_validator

from kimi_vertex import (
    CLIENT_SETTINGS,
    ConfigurationError,
    ModelInfo,
    Pace,
    Timeouts,
    __version__,
    estimate_conversation_tokens,
    estimate_tokens,
)
from kimi_vertex.fields import ClientFields
from kimi_vertex.models import Server
from langchain_kimi_vertex._keys import PROVIDER
from langchain_kimi_vertex._messages import to_core_messages
from langchain_kimi_vertex._tools import format_tools

__all__ = ["KimiVertexSettings"]

_SHARED: Final = ("credentials", "http_client", "http_async_client", "on_thinking", "on_request", "on_wait")
"""What a deep copy shares with its original."""
_NOT_IDENTITY: Final = frozenset(
    {"access_token", "extra_headers", "timeout", "max_retries", "max_retry_seconds", "pace", *_SHARED}
)
"""Settings that do not change what the model answers: no part of LangChain's cache key."""


def _effort_profile(info: ModelInfo, server: Server | None) -> dict[str, Any]:
    """What a profile says about `reasoning_effort`: nothing where it is not known."""
    levels = info.efforts_on(server) if server is not None else info.efforts
    if info.family == "unknown" or not levels:
        return {}
    return {"reasoning_effort_levels": list(levels), "reasoning_effort_default": info.default_effort}


class _Profile(dict[str, Any]):
    """A profile made from the settings, which is made anew with them; one that the user gave is a plain dict."""


_NOT_DUMPED: Final = "<credentials are not dumped>"
"""What a dump has in the place of credentials that must not travel; `load` refuses it."""
_ENVIRONMENT: Final = {"project": "GOOGLE_CLOUD_PROJECT", "location": "GOOGLE_CLOUD_LOCATION"}
"""Fields whose default is in the environment."""


def _set_here(owner: type[BaseChatModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was set: LangChain's configurable fields build a model of all the fields of another, as if each had been."""
    fields = owner.model_fields
    if not given.keys() >= fields.keys():
        return dict(given)
    return {
        name: value
        for name, value in given.items()
        if name not in fields
        or not (isinstance(value, _Profile) or value == fields[name].get_default(call_default_factory=True))
    }


class KimiVertexSettings(ClientFields, BaseChatModel):
    """What LangChain adds to the client's settings."""

    project: str | int | None = Field(default_factory=from_env(_ENVIRONMENT["project"], default=None))
    location: str | None = Field(default_factory=from_env(_ENVIRONMENT["location"], default=None))
    streaming: bool = False
    """`True`: `invoke` uses the streaming API."""

    @model_validator(mode="before")
    @classmethod
    def _read_given(cls, given: dict[str, Any]) -> dict[str, Any]:
        credentials = given.get("credentials")
        if isinstance(credentials, str) and credentials == _NOT_DUMPED:
            raise ConfigurationError(
                "The model was dumped with credentials that do not travel. Dump one with default credentials or with "
                "credentials=PATH, or build the model where it is used."
            )
        return _set_here(cls, given)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("model", "server"):
            self._renew_profile()

    @property
    def model_name(self) -> str | None:
        """The model's id, by the name that other integrations use."""
        return self.client.model

    def _client_settings(self) -> dict[str, Any]:
        return {**super()._client_settings(), "on_thinking": None}  # each request says whether it tells it

    @model_validator(mode="after")
    def _set_kimi_vertex_version(self) -> Self:
        add_version = getattr(self, "_add_version", None)
        if add_version is not None:
            add_version("kimi-vertex", __version__)
        return self

    def _requested_model(self, kwargs: Mapping[str, Any]) -> str | None:
        """The model that a request asks for; what the server reports has precedence."""
        given = kwargs.get("model")
        return given if given and isinstance(given, str) else self.client.model

    def _model_label(self, kwargs: Mapping[str, Any]) -> str:
        """What a model is called where no name was given: LangChain counts usage by this."""
        return str(self._requested_model(kwargs) or self.endpoint or "kimi")

    def _resolve_model_profile(self) -> ModelProfile | None:
        client = self.client
        info = client.model_info
        known = ModelProfile.__annotations__
        profile = {
            "max_input_tokens": info.context_window,
            "max_output_tokens": info.max_output_tokens,
            "text_inputs": True,
            "image_inputs": info.images,
            "image_url_inputs": info.images and (info.public_image_urls or client.server != "moonshot"),
            "image_tool_message": False,
            "pdf_inputs": False,
            "pdf_tool_message": False,
            "audio_inputs": False,
            "video_inputs": info.video,
            "text_outputs": True,
            "image_outputs": False,
            "audio_outputs": False,
            "video_outputs": False,
            "reasoning_output": info.thinking != "never",
            "tool_calling": True,
            "tool_choice": True,
            "tool_call_streaming": True,
            # What it decides is whether create_agent sends response_format beside tools. vLLM and SGLang then let the
            # model write nothing but the schema, so that it never calls a tool, without an error:
            # https://github.com/vllm-project/vllm/issues/39929, https://github.com/sgl-project/sglang/pull/25777
            "structured_output": False,
            "temperature": not info.fixed_sampling or client.server != "moonshot",
            "mid_conversation_tools": info.mid_conversation_tools,
            "mid_conversation_system_messages": True,
            **_effort_profile(info, client.server),
        }
        return cast("ModelProfile", _Profile({key: profile[key] for key in profile if key in known}))

    def _renew_profile(self) -> None:
        if isinstance(self.profile, _Profile):
            with suppress(ConfigurationError):  # as long as the settings do not fit together, it stays
                self.profile = self._resolve_model_profile()

    # Metadata

    @property
    def _identifying_params(self) -> dict[str, Any]:
        client = self.client
        names = [name for name in CLIENT_SETTINGS if name in type(self).model_fields]
        params = {name: getattr(self, name) for name in names if name not in _NOT_IDENTITY}
        params.update(model=client.model, project=client.project, location=client.location)
        return {name: value for name, value in params.items() if value is not None}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        """What tracers are told of a request: of headers only the names, because their values may be secret."""
        params = super()._get_invocation_params(stop, **kwargs)
        headers = params.get("extra_headers")
        if isinstance(headers, Mapping):
            params["extra_headers"] = dict.fromkeys(headers, "**********")
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The key of LangChain's cache, without options that do not change the answer."""
        kept = {name: value for name, value in kwargs.items() if name not in _NOT_IDENTITY}
        return super()._get_llm_string(stop, **kept)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        set_here = {name: getattr(self, name) for name in ("temperature", "max_tokens", "stop")}
        settings = {**set_here, **{name: value for name, value in kwargs.items() if value is not None}}
        params = LangSmithParams(
            ls_provider=PROVIDER,
            ls_model_type="chat",
            ls_model_name=self._model_label(kwargs),
        )
        if isinstance(settings.get("temperature"), (int, float)):
            params["ls_temperature"] = settings["temperature"]
        if isinstance(settings.get("max_tokens"), int):
            params["ls_max_tokens"] = settings["max_tokens"]
        stops = stop if stop is not None else settings.get("stop")
        if stops and isinstance(stops, str | list | tuple):
            params["ls_stop"] = [stops] if isinstance(stops, str) else list(stops)
        return params

    # Tokens

    def get_num_tokens(self, text: str) -> int:
        """Estimate the number of tokens, offline; `custom_get_token_ids` (from LangChain) replaces the estimate."""
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return estimate_tokens(text)

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Estimate the number of tokens of a conversation, thinking and tool calls included, offline."""
        return estimate_conversation_tokens(
            to_core_messages(messages), format_tools(tools or ()), count=self.get_num_tokens
        )

    # Copies and serialization

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain's `dumps` and `load` work: yes, without secrets and clients."""
        return True

    def to_json(self) -> Any:
        """The model as LangChain dumps it: what the environment gave is not handed on, nor are credentials but a path."""
        dumped: Any = super().to_json()
        for name in _ENVIRONMENT.keys() - self.model_fields_set:
            dumped["kwargs"].pop(name, None)
        if self.credentials is not None:
            is_path = isinstance(self.credentials, (str, os.PathLike))
            dumped["kwargs"]["credentials"] = os.fspath(self.credentials) if is_path else _NOT_DUMPED
        return dumped

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where `load` finds the secrets that a dump leaves out."""
        return {"access_token": "KIMI_VERTEX_ACCESS_TOKEN", "extra_headers": "KIMI_VERTEX_EXTRA_HEADERS"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Values that a dump holds in another form than the model."""
        held = {"timeout": self.timeout, "pace": self.pace}
        return {name: asdict(value) for name, value in held.items() if isinstance(value, Pace | Timeouts)}

    def __getstate__(self) -> dict[Any, Any]:
        settings, client = self._portable()
        state = dict(super().__getstate__())
        state["__dict__"] = {**state["__dict__"], **settings}
        state["__pydantic_private__"] = {**state["__pydantic_private__"], "_client": client}
        return state

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        for name in _SHARED:
            value = getattr(self, name)
            if value is not None:
                memo[id(value)] = value
        return super().__deepcopy__(memo)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the model; with `update`, the copy has the client and the profile of the changed settings."""
        same = super().model_copy(update=update, deep=deep)
        if update:
            same._renew_profile()  # noqa: SLF001
        return same
