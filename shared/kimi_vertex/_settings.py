"""Checks a client's settings, and merges them with the options of a request."""

from __future__ import annotations

import logging
import os
import pickle
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Final, Literal, TypeVar, cast, get_args

from ._answer.validation import check_validators
from ._habits import SENT_AS_THEY_ARE, check_names
from ._json import culprit, encode
from ._secrets import Hidden, is_secret_header
from ._target.names import check_model_text
from ._text import shown
from ._version import __version__
from .errors import ConfigurationError
from .models import EFFORTS, Server
from .options import (
    EmptyTurnPolicy,
    HTTPTimeout,
    Pace,
    ReplayThinking,
    RequestOptions,
    Settings,
    Timeouts,
    ToolValidation,
)

__all__ = [
    "check_callable",
    "check_portable",
    "check_settings",
    "default_headers",
    "hide_headers",
    "merge_options",
    "plain_text",
    "portable_callback",
    "read_certificates",
    "read_max_retries",
    "read_max_tokens",
    "read_pace",
    "read_seconds",
    "read_timeouts",
]

logger = logging.getLogger("kimi_vertex")

_RETRIES_VARIABLE: Final = "KIMI_VERTEX_MAX_RETRIES"
_CA_VARIABLE: Final = "KIMI_VERTEX_CA_CERTS"
_USER_AGENT: Final = f"kimi-vertex/{__version__} python/{platform.python_version()}"
_KNOWN: Final = frozenset(RequestOptions.__annotations__)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
_TOO_LARGE: Final = 10**300
_MOST_DIGITS: Final = 10
T = TypeVar("T")
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
        if not _is_word(getattr(settings, name), allowed):
            raise ConfigurationError(
                f"{name} is {shown(getattr(settings, name))}; it must be one of {', '.join(map(repr, allowed))}."
            )
    if not (type(settings.max_retries) is int and settings.max_retries >= 0):
        raise ConfigurationError(
            f"max_retries is {shown(settings.max_retries)}; it must be a whole number, 0 or more."
        )
    if not (_is_number(settings.max_retry_seconds) and settings.max_retry_seconds >= 0):
        raise ConfigurationError(
            f"max_retry_seconds is {shown(settings.max_retry_seconds)}; it must be a number of seconds, 0 or more."
        )
    _check_seconds("wake_timeout", settings.wake_timeout)
    _check_numbers(settings.defaults)
    _check_json(settings.defaults.get("extra_body"))
    check_callable(settings.defaults.get("on_thinking"), "on_thinking")
    check_validators(settings.tool_validation)
    return settings


def _check_json(extra_body: Mapping[str, Any] | None) -> None:
    what = culprit(extra_body or {})
    try:
        encode(extra_body or {})
    except ValueError as error:
        what = what or f"{error}"
    if what:
        raise ConfigurationError(f"extra_body cannot be written as JSON: {what}.")


def check_callable(value: object, name: str) -> None:
    """Refuse a callback that cannot be called.

    Raises:
        ConfigurationError: It cannot.
    """
    if value is not None and not callable(value):
        raise ConfigurationError(f"{name} is {shown(value)}; it must be a function or a coroutine function.")


def _check_numbers(options: RequestOptions) -> None:
    temperature, top_p, limit = options.get("temperature"), options.get("top_p"), options.get("max_tokens")
    if temperature is not None and not (_is_number(temperature) and 0 <= temperature <= 2):
        raise ConfigurationError(f"temperature is {shown(temperature)}; it must be a number between 0 and 2.")
    if top_p is not None and not (_is_number(top_p) and 0 < top_p <= 1):
        raise ConfigurationError(f"top_p is {shown(top_p)}; it must be above 0 and at most 1.")
    if limit is not None and not (type(limit) is int and limit >= 1):
        raise ConfigurationError(
            f"max_tokens is {shown(limit)}; it must be 1 or more. Leave it out for no limit."
        )


def _check_effort(effort: Any) -> None:
    if effort is not None and not _is_word(effort, EFFORTS):
        raise ConfigurationError(
            f"reasoning_effort is {shown(effort)}; it must be one of {', '.join(map(repr, EFFORTS))}. Other words of a "
            "server's own go into extra_body."
        )


def _is_word(value: object, words: Iterable[str | None]) -> bool:
    return (value is None or isinstance(value, str)) and value in words


def _is_number(value: object) -> bool:
    """Whether a value is a number that can be counted with: an integer may be too large for that."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < _TOO_LARGE
    return isinstance(value, float)


def merge_options(*layers: RequestOptions) -> RequestOptions:
    """Lay options over each other; later ones win, `None` means not set, the two `extra_` mappings are united.

    Raises:
        ConfigurationError: An option is unknown, or a number is out of its range.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in _KNOWN:
                check_names([name], _KNOWN, owner="A request", what="option")
            if value is None:
                continue
            if name == "model":
                check_model_text(value)
            if name in ("thinking", "chat_template_kwargs") and not isinstance(value, Mapping):
                raise ConfigurationError(
                    f'{name} is {shown(value)}; it must be a mapping. reasoning_effort="none" switches thinking off.'
                )
            if name == "max_completion_tokens":
                name = "max_tokens"  # noqa: PLW2901 - OpenAI's newer name for the same
            if name in SENT_AS_THEY_ARE:
                merged["extra_body"] = {**merged.get("extra_body", {}), name: value}
            elif name not in {"extra_body", "extra_headers"}:
                merged[name] = value
            elif isinstance(value, Mapping):
                merged[name] = {**merged.get(name, {}), **value}
            elif isinstance(value, Hidden) and isinstance(value.reveal(), Mapping):
                merged[name] = Hidden({**_revealed(merged.get(name)), **value.reveal()})
            else:
                kind = type(value.reveal() if isinstance(value, Hidden) else value)
                raise ConfigurationError(f"{name} is a {kind.__name__}; it must be a mapping.")
    options = cast(RequestOptions, merged)
    _check_numbers(options)
    _check_effort(options.get("reasoning_effort"))
    wrong = _wrong_header(_revealed(merged.get("extra_headers")))
    if wrong is not None:
        raise ConfigurationError(wrong)
    return options


def hide_headers(headers: Any) -> Any:
    """Headers whose values no printer finds; `None` as it is.

    Values may be of a class that hides them already, as pydantic's `SecretStr` does.
    """
    if headers is None or not isinstance(headers, Mapping):
        return None if headers is None else Hidden(headers)
    return Hidden({name: plain_text(value) for name, value in headers.items()})


def check_portable(settings: Settings) -> None:
    """Refuse to be pickled together with a header that is secret by its name.

    Raises:
        ConfigurationError: There is one.
    """
    headers: Any = settings.defaults.get("extra_headers")
    if secret := sorted(filter(is_secret_header, _revealed(headers))):
        raise ConfigurationError(
            "Secrets are not pickled: build the model in the worker, or pass extra_headers with each request. It has "
            f"{', '.join(secret)}."
        )


def portable_callback(name: str, callback: Any) -> Any:
    """A callback as a pickle has it: itself, or `None` if it cannot be found again, as a lambda and a local function.

    An error would be Python's way, but LlamaIndex's components leave out the whole model then, and miss it in a worker.
    """
    try:
        pickle.dumps(callback)
    except Exception as error:  # noqa: BLE001  # every type fails in its own way
        logger.warning(
            "A pickle leaves out %s, which cannot be pickled (%s): pass a function of a module, or set it again where "
            "the pickle arrives.",
            name,
            type(error).__name__,
        )
        return None
    return callback


def plain_text(value: Any) -> Any:
    """What a `SecretStr`, or its like, holds; other values as they are."""
    reveal = getattr(value, "get_secret_value", None)
    return value if reveal is None else reveal()


def _revealed(headers: Hidden[Any] | None) -> Mapping[Any, Any]:
    return {} if headers is None else headers.reveal()


def _wrong_header(headers: Mapping[Any, Any]) -> str | None:
    """What is wrong with the headers, without a value. Nothing is raised here, where the values have names."""
    for name, value in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            return f"extra_headers has {shown(name)}, which cannot be the name of an HTTP header."
        if not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            return f"extra_headers[{shown(name)}] must be text in ASCII without line breaks and without spaces around it."
    return None


def read_timeouts(timeout: float | Timeouts | HTTPTimeout | None) -> Timeouts:
    """The timeouts that a setting means: one number of seconds is for every wait, `None` for the defaults.

    Raises:
        ConfigurationError: It is not a positive number, nor `Timeouts` or an `httpx.Timeout`.
    """
    given: Any = Timeouts.of(timeout)
    if given is None:
        return Timeouts()
    if isinstance(given, Timeouts):
        for limit in fields(given):
            _check_seconds(f"Timeouts.{limit.name}", getattr(given, limit.name))
        return given
    _check_seconds("timeout", given)
    return Timeouts(connect=min(float(given), 10.0), first_byte=float(given), idle=float(given))


def read_pace(pace: Literal["shared"] | Pace | None) -> Pace | None:
    """The pace that a setting means; `None`: none.

    Raises:
        ConfigurationError: It is not one, or one of its limits is not a number above 0.
    """
    if pace is None:
        return None
    if isinstance(pace, str) and pace == "shared":
        return Pace()
    if not isinstance(pace, Pace):
        raise ConfigurationError(f'pace is {shown(pace)}; it must be "shared", None, or kimi_vertex.Pace.')
    for limit in fields(pace):
        value = getattr(pace, limit.name)
        if value is not None and not (_is_number(value) and value > 0):
            raise ConfigurationError(
                f"Pace.{limit.name} is {shown(value)}; it must be a number above 0, or None."
            )
    return pace


def _check_seconds(name: str, value: Any) -> None:
    if value is None:
        return
    if not (_is_number(value) and value > 0):
        kind = ", or kimi_vertex.Timeouts or httpx.Timeout" if name == "timeout" else ""
        raise ConfigurationError(
            f"{name} is {shown(value)}; it must be a number of seconds above 0, or None{kind}."
        )


def default_headers(extra: Any) -> Hidden[Mapping[str, str]]:
    """The headers of every request, names in lower case; the caller's own win."""
    own = {name.lower(): value for name, value in _revealed(extra).items()}
    return Hidden({"user-agent": _USER_AGENT, **own})


def read_max_tokens(given: int | None, unknown: dict[str, Any]) -> int | None:
    """`max_tokens` by OpenAI's newer name, which is taken out of what is unknown."""
    newer: int | None = unknown.pop("max_completion_tokens", None)
    if given is not None and newer is not None:
        raise ConfigurationError("max_tokens and max_completion_tokens mean the same: pass one.")
    return newer if given is None else given


def read_seconds(given: T | None, name: str) -> T | float | None:
    """A setting that is a number of seconds, or its variable."""
    variable = f"KIMI_VERTEX_{name.upper()}"
    text = os.environ.get(variable)
    if given is not None or not text:
        return given
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={shown(text)} must be a number of seconds.") from None


def read_max_retries(given: int | None) -> int:
    """`max_retries`, or its variable."""
    text = os.environ.get(_RETRIES_VARIABLE)
    if given is not None or not text:
        return 2 if given is None else given
    if not (text.isascii() and text.isdecimal() and len(text) < _MOST_DIGITS):
        raise ConfigurationError(f"{_RETRIES_VARIABLE}={shown(text)} must be a whole number, 0 or more.")
    return int(text)


def read_certificates(given: str | os.PathLike[str] | None, *own: object) -> str | None:
    """`ca_certs`, or its variable, which does not concern HTTP clients of the user's."""
    unchecked: Any = given
    if given is not None and not (isinstance(unchecked, str | os.PathLike) and str(unchecked)):
        raise ConfigurationError(
            f'ca_certs is {shown(given)}; it must be the path of a PEM file, or "system".'
        )
    is_own = any(client is not None for client in own)
    if given is not None and is_own:
        raise ConfigurationError(
            "ca_certs and http_client are both given: an HTTP client of your own checks certificates itself (verify=). "
            "Leave one out."
        )
    text = os.fspath(given) if given is not None else None if is_own else os.environ.get(_CA_VARIABLE)
    return str(text) if text else None
