"""Checks a client's settings, and merges them with the options of a request."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, cast, get_args

from ._answer.validation import load_validators
from ._version import __version__
from .errors import ConfigurationError
from .models import EFFORTS, Server
from .options import (
    EmptyTurnPolicy,
    ReplayThinking,
    RequestOptions,
    Settings,
    Timeouts,
    ToolValidation,
)

__all__ = ["check_settings", "default_headers", "merge_options", "read_timeouts"]

_USER_AGENT: Final = f"kimi-vertex/{__version__} python/{platform.python_version()}"
_KNOWN: Final = frozenset(RequestOptions.__annotations__)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
_CHOICES: Final = {
    "replay_thinking": get_args(ReplayThinking),
    "empty_turn": get_args(EmptyTurnPolicy),
    "tool_validation": get_args(ToolValidation),
    "server": (*get_args(Server), None),
}


def check_settings(settings: Settings) -> Settings:
    """Return the settings, if they make sense.

    Raises:
        ConfigurationError: One of them does not; the text names it.
    """
    for name, allowed in _CHOICES.items():
        if getattr(settings, name) not in allowed:
            raise ConfigurationError(
                f"{name} is {getattr(settings, name)!r}; it must be one of {', '.join(map(repr, allowed))}."
            )
    if not (type(settings.max_retries) is int and settings.max_retries >= 0):
        raise ConfigurationError(
            f"max_retries is {settings.max_retries!r}; it must be a whole number, 0 or more."
        )
    if not (_is_number(settings.max_retry_seconds) and settings.max_retry_seconds >= 0):
        raise ConfigurationError(
            f"max_retry_seconds is {settings.max_retry_seconds!r}; it must be a number of seconds, 0 or more."
        )
    _check_numbers(settings.defaults)
    load_validators(settings.tool_validation)
    return settings


def _check_numbers(options: RequestOptions) -> None:
    temperature, top_p, limit = options.get("temperature"), options.get("top_p"), options.get("max_tokens")
    if temperature is not None and not (_is_number(temperature) and 0 <= temperature <= 2):
        raise ConfigurationError(f"temperature is {temperature!r}; it must be a number between 0 and 2.")
    if top_p is not None and not (_is_number(top_p) and 0 < top_p <= 1):
        raise ConfigurationError(f"top_p is {top_p!r}; it must be above 0 and at most 1.")
    if limit is not None and not (type(limit) is int and limit >= 1):
        raise ConfigurationError(f"max_tokens is {limit!r}; it must be 1 or more. Leave it out for no limit.")


def _check_effort(effort: Any) -> None:
    if effort is not None and effort not in EFFORTS:
        raise ConfigurationError(
            f"reasoning_effort is {effort!r}; it must be one of {', '.join(map(repr, EFFORTS))}. Other words of a "
            "server's own go into extra_body."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def merge_options(*layers: RequestOptions) -> RequestOptions:
    """Lay options over each other; later ones win, `None` means not set, the two `extra_` mappings are united.

    Raises:
        ConfigurationError: An option is unknown, or a number is out of its range.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in _KNOWN:
                raise ConfigurationError(
                    f"Unknown option {name!r}. Known are {', '.join(sorted(_KNOWN))}; other fields of the request's "
                    "body go into extra_body."
                )
            if value is None:
                continue
            if name not in {"extra_body", "extra_headers"}:
                merged[name] = value
            elif isinstance(value, Mapping):
                merged[name] = {**merged.get(name, {}), **value}
            else:
                raise ConfigurationError(f"{name} is a {type(value).__name__}; it must be a mapping.")
    options = cast(RequestOptions, merged)
    _check_numbers(options)
    _check_effort(options.get("reasoning_effort"))
    _check_headers(merged.get("extra_headers", {}))
    return options


def _check_headers(headers: Mapping[Any, Any]) -> None:
    # The values may be secret and are not shown.
    for name, value in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise ConfigurationError(
                f"extra_headers has {name!r}, which cannot be the name of an HTTP header."
            )
        if not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            raise ConfigurationError(
                f"extra_headers[{name!r}] must be text in ASCII without line breaks and without spaces around it."
            )


def read_timeouts(timeout: float | Timeouts | None) -> Timeouts:
    """The timeouts that a setting means: one number of seconds is for every wait, `None` for the defaults.

    Raises:
        ConfigurationError: It is not a positive number, nor `Timeouts`.
    """
    if timeout is None:
        return Timeouts()
    if isinstance(timeout, Timeouts):
        for limit in fields(timeout):
            _check_seconds(f"Timeouts.{limit.name}", getattr(timeout, limit.name))
        return timeout
    _check_seconds("timeout", timeout)
    return Timeouts(connect=min(float(timeout), 10.0), first_byte=float(timeout), idle=float(timeout))


def _check_seconds(name: str, value: Any) -> None:
    if value is None:
        return
    if not (_is_number(value) and value > 0):
        raise ConfigurationError(
            f"{name} is {value!r}; it must be a number of seconds above 0, None, or kimi_vertex.Timeouts."
        )


def default_headers(extra: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of every request, names in lower case; the caller's own win."""
    return {"user-agent": _USER_AGENT, **{name.lower(): value for name, value in (extra or {}).items()}}
