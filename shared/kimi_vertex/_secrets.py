"""Secrets on their way through the library: what prints or keeps what stands around them does not get hold of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

__all__ = ["Hidden", "is_secret_header", "masked"]

T_co = TypeVar("T_co", covariant=True)

_SECRET_HEADER: Final = re.compile(
    r"auth|key|token|secret|cookie|assertion|jwt|password|credential|signature", re.IGNORECASE
)
# Access, refresh and identity tokens, client secrets and keys, and the values of fields that hold one.
_SECRETS: Final = re.compile(
    r"ya29\.[\w.~+/-]+|1//[\w-]{10,}|eyJ[\w.-]{10,}|-----BEGIN.*?(?:-----END[^-]*-----|$)"
    r"|GOCSPX-[\w-]+|AIza[\w-]{30,}|\bAQ\.[\w.-]{10,}|\bsk-[\w-]{20,}"
    r"|(?:(?<=token)|(?<=secret)|(?<=assertion)|(?<=password))[\"']?\s*[:=]\s*[\"']?[^\s\"',}&]+",
    re.DOTALL | re.IGNORECASE,
)
_SHORTEST: Final = 8
_MASK: Final = "(removed)"


class Hidden(Generic[T_co]):
    """Holds a secret, or something that has some in it.

    Crash reporters, debuggers and pytest print the variables of frames: no variable holds a secret but in one of these.
    It is not a mapping, nor a dataclass, because printers look into those.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T_co) -> None:
        self._value = value

    def reveal(self) -> T_co:
        """The secret. Use it where it is needed, without giving it a name."""
        return self._value

    def __repr__(self) -> str:
        return "<hidden>"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and bool(self._value == other.reveal())

    def __hash__(self) -> int:
        return hash((Hidden, self._value))


def is_secret_header(name: str) -> bool:
    """Whether a header's name says that its value is a secret."""
    return _SECRET_HEADER.search(name) is not None


def masked(value: Any, headers: Iterable[Hidden[Mapping[str, str]]] = ()) -> Any:
    """Decoded JSON of a server's, or a text, without what looks like a secret.

    Args:
        value: What the server said. It may repeat what it was sent.
        headers: The headers of the request, whose secrets are removed whatever they look like.
    """
    secrets = Hidden(
        {
            part
            for hidden in headers
            for name, text in hidden.reveal().items()
            if is_secret_header(name)
            for part in (text, *text.split())
            if len(part) >= _SHORTEST
        }
    )
    return _masked(value, secrets)


def _masked(value: Any, secrets: Hidden[set[str]]) -> Any:
    if isinstance(value, str):
        for secret in sorted(secrets.reveal(), key=len, reverse=True):
            value = value.replace(secret, _MASK)
        return _SECRETS.sub(_MASK, value)
    if isinstance(value, Mapping):
        return {_masked(key, secrets): _masked(item, secrets) for key, item in value.items()}
    return [_masked(item, secrets) for item in value] if isinstance(value, list) else value
