"""The options that say which Kimi is meant, the same for every command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Final, Literal, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from kimi_vertex import KimiVertexClient

__all__ = ["Target", "with_target"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_OPTIONS: Final[Mapping[str, tuple[Any, str, str]]] = {
    "endpoint": (str, "NAME", "projects/P/locations/R/endpoints/ID, or the id. [env: KIMI_VERTEX_ENDPOINT]"),
    "endpoint_host": (str, "HOST", "The endpoint's own host or address. [env: KIMI_VERTEX_ENDPOINT_HOST]"),
    "base_url": (
        str,
        "URL",
        "Any other server: what stands before /chat/completions. [env: KIMI_VERTEX_BASE_URL]",
    ),
    "model": (str, "NAME", "The model, where there are several. [env: KIMI_VERTEX_MODEL]"),
    "project": (str, "ID", "Google Cloud project. [env: GOOGLE_CLOUD_PROJECT]"),
    "location": (str, "REGION", "Its region, or global. [env: GOOGLE_CLOUD_LOCATION]"),
    "api": (
        Literal["auto", "chat", "invoke", "rawPredict", "predict"],
        "WAY",
        "How to call an endpoint: auto, chat, invoke, rawPredict or predict. [env: KIMI_VERTEX_API]",
    ),
    "credentials": (str, "FILE", "A credentials file. [default: application default credentials]"),
    "audience": (str, "URL", "Send ID tokens for this audience: Cloud Run, IAP. [env: KIMI_VERTEX_AUDIENCE]"),
    "ca_certs": (str, "FILE", 'The certificates to trust, or "system". [env: KIMI_VERTEX_CA_CERTS]'),
    "wake_timeout": (
        float,
        "SECONDS",
        "Wait so long for an endpoint that starts. [env: KIMI_VERTEX_WAKE_TIMEOUT]",
    ),
    "insecure_http": (
        bool,
        "",
        "Accept plain http to a private address. [env: KIMI_VERTEX_INSECURE_HTTP]",
    ),
}
"""Settings of the client that are options of each command, with their type, what stands for a value, and their help.

A token is not among them: everybody on a machine sees a command's arguments. It comes from `KIMI_VERTEX_ACCESS_TOKEN`.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Which Kimi a command speaks to: the settings that were given as options."""

    settings: Mapping[str, Any] = field(default_factory=dict)

    def client(self, **more: Any) -> KimiVertexClient:
        """A client for it.

        Args:
            more: Further settings of the client.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        from kimi_vertex import KimiVertexClient

        return KimiVertexClient(**{**self.settings, **more})


def with_target(command: Callable[Concatenate[Target, _P], _R]) -> Callable[..., _R]:
    """Give a command the target's options, which it gets as one `Target` in its first parameter."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        given = {name: options.pop(name, None) for name in _OPTIONS}
        return command(Target({name: value for name, value in given.items() if value}), *args, **options)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if option[0] is bool else None,
            annotation=_annotated(name, *option),
        )
        for name, option in _OPTIONS.items()
    ]
    parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *shared]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _annotated(name: str, kind: Any, value: str, text: str) -> Any:
    option = f"--{name.replace('_', '-')}"
    if kind is bool:
        return Annotated[bool, typer.Option(option, help=text)]
    return Annotated[kind | None, typer.Option(option, help=text, metavar=value, show_default=False)]
