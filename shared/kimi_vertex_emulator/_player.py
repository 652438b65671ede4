"""Which recorded answer a request gets. Plain logic, no I/O but reading the cassette."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kimi_vertex_emulator._redact import Redactor
from kimi_vertex_emulator._reply import Reply, encode_json, raw_reply
from kimi_vertex_emulator._requests import Recorded, summary, verb
from kimi_vertex_emulator.answers import Part, Raw
from kimi_vertex_emulator.cassette import Cassette, clean_body

__all__ = ["Player"]


class Player:
    """Replays a cassette to requests with the same method, the same body as JSON, and the same verb of an endpoint.

    The same request again gets the next answer that was recorded for it, and the last one over and over.

    Args:
        cassette: The cassette or its path.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a cassette.
    """

    def __init__(self, cassette: Cassette | str | Path) -> None:
        self._cassette = cassette if isinstance(cassette, Cassette) else Cassette.load(cassette)
        self._keys = [_key(item.method, item.path, item.body) for item in self._cassette.interactions]
        self._used: set[int] = set()

    def rewind(self) -> None:
        """Starts over: nothing has been asked for."""
        self._used.clear()

    @property
    def unused(self) -> list[str]:
        """In words, the interactions that were never asked for."""
        items = enumerate(self._cassette.interactions)
        return [summary(item.method, item.path, item.body) for n, item in items if n not in self._used]

    def take(self, request: Recorded) -> Reply | None:
        """The recorded answer, `None` if the cassette does not hold one."""
        key = _key(request.method, request.path, self._clean(request))
        found = [number for number, recorded in enumerate(self._keys) if recorded == key]
        if not found:
            return None
        number = next((number for number in found if number not in self._used), found[-1])
        self._used.add(number)
        item = self._cassette.interactions[number]
        parts: list[Part] = [part.encode("utf-8", "surrogateescape") for part in item.parts]
        return raw_reply(Raw([*parts, "cut"] if item.cut else parts, item.status, item.headers))

    def missed(self, request: Recorded) -> Raw:
        """The refusal of a request that the cassette does not hold; it names what comes closest."""
        body, items = self._clean(request), self._cassette.interactions
        held = [summary(item.method, item.path, item.body) for item in items]
        message = (
            "The cassette holds no answer to this request: "
            f"{summary(request.method, request.path, body)}. It holds {len(held)}: "
            f"{'; '.join(held[:5]) or 'nothing'}{'; ...' if len(held) > 5 else ''}. "
            f"{self._difference(body)}Record it again."
        )
        error = {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}
        return Raw([encode_json(error)], status=404)

    def _clean(self, request: Recorded) -> Any:
        return clean_body(request, Redactor.of(request, self._cassette.redact))

    def _difference(self, body: Any) -> str:
        if not isinstance(body, Mapping):
            return ""
        others = [item.body for item in self._cassette.interactions if isinstance(item.body, Mapping)]
        differing = [
            sorted(name for name in {*body, *other} if body.get(name) != other.get(name)) for other in others
        ]
        closest = min(differing, key=len, default=[])
        return f"The closest differs in {', '.join(closest)}. " if closest else ""


def _key(method: str, path: str, body: Any) -> str:
    return json.dumps([method, verb(path), body], sort_keys=True)
