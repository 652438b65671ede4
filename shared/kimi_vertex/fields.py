"""A client's settings as the fields of a pydantic model, for frameworks whose models are such.

Needs pydantic, which those frameworks bring; `kimi_vertex` itself does not load it.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    StrictBool,
    ValidationError,
)
from pydantic.json_schema import SkipJsonSchema

from ._exchange.stats import RequestStats
from ._habits import check_names
from ._settings import portable_callback
from ._text import shown
from .client import CLIENT_SETTINGS, KimiVertexClient
from .errors import ConfigurationError, KimiVertexError
from .options import Pace, ThinkingCallback, Timeouts, WaitCallback

__all__ = ["ClientFields"]

_WANTED: Final = re.compile(
    r"Input should be (?:a dictionary or an instance of )?(?P<what>.*?)(?:, (?:got|unable) .*)?"
)
"""What pydantic says of a value of another type."""


class ClientFields(BaseModel):
    """The settings of `KimiVertexClient`, which documents them at length, and the client that is built from them.

    Put it before the framework's class among the bases. The settings are checked when the model is made, a changed one
    holds from the next request on, and the model may be given by its place.

    Raises:
        ConfigurationError: A setting is wrong, missing or unknown.
    """

    model_config = ConfigDict(
        defer_build=True,  # classes below it are made, never this one
        hide_input_in_errors=True,  # an error about one setting must not print the others: the token is among them
    )

    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "model_name"))
    """Name of the model, such as `moonshotai/Kimi-K3`; an endpoint answers without. Default: `KIMI_VERTEX_MODEL`."""
    project: str | int | None = None
    """Google Cloud project. Default: `GOOGLE_CLOUD_PROJECT`, then the project of the credentials."""
    location: str | None = None
    """Google Cloud location. Default: `GOOGLE_CLOUD_LOCATION`, then `global`."""
    endpoint: str | int | None = None
    """Self-deployed endpoint: its full resource name, or its id. Default: `KIMI_VERTEX_ENDPOINT`."""
    endpoint_host: str | None = None
    """The endpoint's dedicated DNS name or private address. Default: `KIMI_VERTEX_ENDPOINT_HOST`, then asked of Google."""
    base_url: str | None = None
    """URL of another server: everything before `/chat/completions`. Default: `KIMI_VERTEX_BASE_URL`."""
    api: Literal["auto", "chat", "invoke", "rawPredict", "predict"] = "auto"
    """How an endpoint is called; `auto` finds out, `predict` cannot stream. Default: `KIMI_VERTEX_API`, then `auto`."""
    audience: str | None = None
    """Whom ID tokens are for, at a `base_url` on Cloud Run or behind IAP. Default: `KIMI_VERTEX_AUDIENCE`."""
    ca_certs: str | os.PathLike[str] | None = None
    """The certificates to trust: a PEM file or directory, or `"system"`. Default: `KIMI_VERTEX_CA_CERTS`."""
    insecure_http: StrictBool | Literal["with_token"] | None = None
    """Whether http is accepted in private networks. Default: `KIMI_VERTEX_INSECURE_HTTP`, then not."""
    credentials: Any = Field(default=None, exclude=True, repr=False)
    """google-auth credentials, a credentials mapping, or a file's path. Default: application default credentials."""
    access_token: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("access_token", "api_key"), exclude=True, repr=False
    )
    """Static bearer token, for servers that are not Google's and for tests. Default: `KIMI_VERTEX_ACCESS_TOKEN`."""

    temperature: float | None = None
    """Sampling temperature; sent only if set. Moonshot recommends 1.0 for thinking."""
    top_p: float | None = None
    """Nucleus sampling; sent only if set."""
    max_tokens: int | None = Field(
        default=None, validation_alias=AliasChoices("max_tokens", "max_completion_tokens")
    )
    """Limit of thinking and answer together, in tokens; sent only if set. Kimi needs room: 16,000 or more."""
    stop: str | list[str] | None = None
    """Texts that end the answer; sent only if set."""
    seed: int | None = None
    """Makes answers repeatable, as far as the server can; sent only if set."""
    extra_body: dict[str, Any] | None = None
    """Further fields of every request's body; they win over everything else."""
    extra_headers: dict[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Further headers of every request. They may be secret: dumps do not have them."""

    replay_thinking: Literal["all", "tools", "none"] = "all"
    """Which assistant turns are sent back with their thinking: all, those with tool calls, or none."""
    empty_turn: Literal["flag", "retry", "raise", "promote"] = "flag"
    """What to do with a turn that has neither answer nor call; `flag` says so beside the answer, as `empty_turn`."""
    implicit_thinking: bool | None = None
    """Whether text before a lone `</think>` is thinking. Default: for models that think."""
    recover_calls: bool = True
    """Whether a call that the server let through as text becomes one."""
    break_tokens: bool = True
    """Whether special tokens in messages and tools are broken up by an invisible sign; `False` sends them as they are."""
    reasoning_effort: Literal["none", "low", "medium", "high", "max"] | None = None
    """How much the model thinks, in the words of model and server; refused if the model does not have the level."""
    server: Literal["vllm", "sglang", "moonshot"] | None = None
    """What serves the model. Default: learned from the answers."""
    tool_validation: Literal["off", "flag", "repair", "reask"] = "reask"
    """What to do about calls that do not fit their tool's schema. Whole schemas need `kimi-vertex[validate]`."""

    timeout: Annotated[
        float | Timeouts | None, BeforeValidator(lambda given: _known(Timeouts, Timeouts.of(given)))
    ] = None
    """Seconds, `kimi_vertex.Timeouts` or `httpx.Timeout`. Default: `KIMI_VERTEX_TIMEOUT`, then 10 to connect, 600 to the
    first byte, 300 between pieces."""
    max_retries: int | None = None
    """How often a failed request is repeated, before its first output only. Default: `KIMI_VERTEX_MAX_RETRIES`, then 2."""
    max_retry_seconds: float = 120.0
    """When to stop repeating, in seconds from the start of the request."""
    wake_timeout: float | None = None
    """Seconds to wait for an endpoint that starts from zero. Default: `KIMI_VERTEX_WAKE_TIMEOUT`, then not at all."""
    pace: Annotated[Literal["shared"] | Pace | None, BeforeValidator(lambda given: _known(Pace, given))] = (
        "shared"
    )
    """How requests keep to what the service takes: a pace that all clients of a target share, or `Pace` with limits."""
    on_thinking: SkipJsonSchema[ThinkingCallback | None] = Field(default=None, exclude=True, repr=False)
    """A function, or a coroutine function, that is told each piece of thinking, whatever the method."""
    on_request: SkipJsonSchema[Callable[[RequestStats], None] | None] = Field(
        default=None, exclude=True, repr=False
    )
    """Called with `kimi_vertex.RequestStats` after every request."""
    on_wait: SkipJsonSchema[WaitCallback | None] = Field(default=None, exclude=True, repr=False)
    """A function, or a coroutine function, that is told of waits before another attempt as `kimi_vertex.Wait`."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` of your own, never closed here, not pickled."""
    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` of your own; likewise."""

    _client: KimiVertexClient | None = PrivateAttr(default=None)

    def __init__(self, model: str | None = None, /, **settings: Any) -> None:
        failed: KimiVertexError | None = None
        try:
            if model is not None:
                if settings.keys() & {"model", "model_name"}:
                    raise ConfigurationError("The model is given twice: once by its place, once by its name.")
                settings["model"] = model
            _check_given(type(self), settings)
            super().__init__(**settings)
        except (KimiVertexError, ValidationError) as error:
            failed = _explained(error, type(self)).with_traceback(None)
        if failed is not None:
            # Crash reporters print the variables of this frame, and all of its context: both have the secrets.
            settings.clear()
            raise failed

    def model_post_init(self, context: Any, /) -> None:
        """Build the client, which checks the settings."""
        super().model_post_init(context)
        _ = self.client

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in CLIENT_SETTINGS:
            self._client = None  # the next request builds a new one

    @property
    def client(self) -> KimiVertexClient:
        """The client for the present settings.

        Raises:
            ConfigurationError: They do not fit together.
        """
        if self._client is None:
            self._client = KimiVertexClient(**self._client_settings())
        return self._client

    def _client_settings(self) -> dict[str, Any]:
        """What was set. What the environment says is left to the client, to weigh against it."""
        return {name: getattr(self, name) for name in CLIENT_SETTINGS if name in self.model_fields_set}

    def _portable(self) -> tuple[dict[str, Any], KimiVertexClient]:
        """What a pickle has in place of some settings, and of the client.

        Raises:
            ConfigurationError: There is a secret, which does not travel.
        """
        client = copy.copy(self.client)
        client.__dict__.update(self.client.__getstate__())
        # LangChain's client has no `on_thinking`: it goes with each request.
        told = "on_thinking" in self.client._settings.defaults  # noqa: SLF001
        thinking = client._settings.defaults.get("on_thinking")  # noqa: SLF001
        kept = {
            "on_thinking": thinking if told else portable_callback("on_thinking", self.on_thinking),
            "on_request": client._on_request,  # noqa: SLF001
            "on_wait": client._on_wait,  # noqa: SLF001
        }
        return {**kept, "http_client": None, "http_async_client": None}, client

    def close(self) -> None:
        """Close the connections of synchronous requests. The model stays usable."""
        self.client.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop's requests. The model stays usable."""
        await self.client.aclose()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the model; with `update`, the copy has a client with the changed settings."""
        same = super().model_copy(update=update, deep=deep)
        if update:
            same._client = None  # noqa: SLF001 - its own class
            _ = same.client
        return same


def _known(kind: type[Timeouts | Pace], given: Any) -> Any:
    """A setting that a file may give as a mapping: pydantic would drop names in it that the class does not have."""
    names = kind.__dataclass_fields__
    for name in given if isinstance(given, Mapping) else ():
        if name not in names:
            raise ConfigurationError(f"{kind.__name__} has no {shown(name)}; it has {', '.join(names)}.")
    return given


def _check_given(owner: type[BaseModel], given: Mapping[str, Any]) -> None:
    """Refuse names that the class does not have, and two names of one setting."""
    known = {"class_name"}  # which LlamaIndex's dicts have
    for name, field in owner.model_fields.items():
        names = [name, field.alias or name]
        if isinstance(field.validation_alias, AliasChoices):
            names += [alias for alias in field.validation_alias.choices if isinstance(alias, str)]
        known.update(names)
        twice = [alias for alias in dict.fromkeys(names) if given.get(alias) is not None]
        if len(twice) > 1:
            raise ConfigurationError(f"{twice[0]} and {twice[1]} mean the same: pass one.")
    check_names(given, known, owner=owner.__name__)


def _explained(error: KimiVertexError | ValidationError, owner: type[BaseModel]) -> KimiVertexError:
    """Pydantic's error as one of this library's; what a validator raised says it best."""
    if isinstance(error, KimiVertexError):
        return error
    details = error.errors(include_input=False, include_url=False)
    for detail in details:
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, KimiVertexError):
            return cause
    place = ".".join(str(part) for part in details[0]["loc"])
    name = str(next(iter(details[0]["loc"]), ""))
    field = owner.model_fields.get(name)
    if field is not None and len(set(get_args(field.annotation)) - {NoneType}) > 1:
        # Of a union, pydantic tells for each of its types why the value is not one of that type.
        place, details = name, [detail for detail in details if detail["loc"][0] == name]
    else:
        details = details[:1]
    wanted = [_WANTED.fullmatch(detail["msg"]) for detail in details]
    if place and all(wanted):
        types = dict.fromkeys(found["what"] for found in wanted if found)
        return ConfigurationError(f"{place} must be {' or '.join(types)}.")
    return ConfigurationError(f"{place} is wrong: {details[0]['msg']}." if place else f"{details[0]['msg']}.")
