"""The recording proxy: forwards requests to a real endpoint and writes what came back into a cassette."""

from __future__ import annotations

import ipaddress
import logging
import re
import ssl
from collections.abc import AsyncGenerator, Collection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from kimi_vertex_emulator._reply import Reply, google_error
from kimi_vertex_emulator._requests import ENDPOINT, Recorded, is_chat
from kimi_vertex_emulator._server import Server
from kimi_vertex_emulator.answers import Part
from kimi_vertex_emulator.cassette import Cassette, Interaction

if TYPE_CHECKING:
    import httpx

__all__ = ["Recorder"]

_LOG = logging.getLogger("kimi_vertex_emulator")
# What belongs to one connection, or is set again for the next.
_HOP = frozenset(
    "connection host keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade content-length content-encoding accept-encoding expect set-cookie".split()
)
# Nothing that one reader of URLs takes for another host than the next one does.
_TARGET = re.compile(
    r"(?P<origin>(?P<scheme>https?)://(?:(?P<address>\[[0-9a-f:]*:[0-9a-f:.]*\]|[0-9.]+)|(?P<name>(?:[a-z0-9_-]+\.)*"
    r"[a-z0-9_-]*[a-z_-][a-z0-9_-]*\.?))(?::[0-9]{1,5})?)(?P<path>(?:/[^\s?#]*)?)"
)
_SECONDS = 600.0
_DONE = b"data: [DONE]"


class Recorder(Server):
    """A proxy on this machine that records the requests that go through it.

    Each request goes to the target with the headers it came with, the caller's credentials among them; answers come
    back as they arrive. The cassette is written after each answer, without credentials, project, endpoint,
    email addresses and other headers, which never reach the disk. Prompts and answers are in it. What a
    client does not read to its end is not recorded.

    Example:
        ```python
        with Recorder("https://aiplatform.googleapis.com", "capture.json") as recorder:
            base_url = f"{recorder.origin}/v1/projects/MY-PROJECT/locations/global/endpoints/openapi"
            client = KimiVertexClient(base_url=base_url, access_token=token)
        ```

    Args:
        target: Where requests go: `https://HOST`, with a path if only what is below it may be called. Plain
            `http` only to this machine.
        path: The cassette; one that exists is added to.
        redact: Further texts that must not be in it, such as names of customers.
        host: Address to bind; default loopback.
        port: Port to bind; default 0, a free one.
        ca: A PEM file with the authorities that may vouch for the target, for a private endpoint with a
            certificate of your own; default those that httpx brings.

    Raises:
        OSError: The cassette exists and cannot be read, or the PEM file cannot.
        ValueError: The target is not such a URL, or the file is not a cassette.
    """

    def __init__(
        self,
        target: str,
        path: str | Path,
        *,
        redact: Collection[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        ca: str | Path | None = None,
    ) -> None:
        super().__init__(self._handle, host, port, closed=self._disconnect)
        self._trust = None if ca is None else ssl.create_default_context(cafile=ca)
        self._target, self._prefix, self._local = _checked(target)
        self._path = Path(path)
        self._redact = tuple(redact)
        self._recorded = list(Cassette.load(path).interactions) if self._path.exists() else []
        self._client: httpx.AsyncClient | None = None

    @property
    def base_url(self) -> str:
        """The recorder's origin with the target's path, for clients that take a base URL."""
        return self.origin + self._prefix

    @property
    def cassette(self) -> Cassette:
        """What is recorded so far."""
        return Cassette(list(self._recorded), self._redact)

    async def _handle(self, request: Recorded) -> Reply:
        if not self._allowed(request):
            return google_error(
                404,
                f"The kimi-vertex recorder does not forward {request.method} {request.path}: only calls of the "
                "model, endpoint resources and lists of models, below the target's path.",
            )
        import httpx  # noqa: PLC0415  # slow to import, and only the recorder needs it

        client = self._client = self._client or httpx.AsyncClient(
            verify=True if self._trust is None else self._trust,
            timeout=httpx.Timeout(_SECONDS, connect=10.0),
            follow_redirects=False,
            trust_env=not self._local,
        )
        try:
            response = await client.send(self._onward(client, request), stream=True)
        except httpx.HTTPError as error:
            return _failed(f"the target did not answer: {type(error).__name__}")
        if response.is_redirect:
            await response.aclose()
            return _failed(f"the target answered {response.status_code}, a redirect, which is not followed")
        _LOG.info("kimi-vertex recorder: %s call -> %s", request.method, response.status_code)
        kept = {name: value for name, value in response.headers.items() if name not in _HOP}
        return Reply(response.status_code, (), kept, relayed=self._relay(request, response))

    def _onward(self, client: httpx.AsyncClient, request: Recorded) -> httpx.Request:
        url = self._target + quote(request.path, safe="/:@-._~!$&'()*+,;=")
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP]
        return client.build_request(
            request.method,
            f"{url}?{request.query}" if request.query else url,
            headers=[*headers, ("accept-encoding", "identity")],
            content=request.body,
        )

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _allowed(self, request: Recorded) -> bool:
        below = request.path == self._prefix or request.path.startswith(f"{self._prefix}/")
        if not below or ".." in request.path.split("/"):
            return False
        listed = request.method == "GET" and request.path.endswith("/models")
        described = request.method == "GET" and ENDPOINT.fullmatch(request.path) is not None
        return is_chat(request) or listed or described

    async def _relay(self, request: Recorded, response: httpx.Response) -> AsyncGenerator[Part, None]:
        import httpx  # noqa: PLC0415  # see _handle

        chunks: list[bytes] = []
        ended = cut = False
        try:
            yield 0.0  # a pause sends what is there
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                yield chunk
                yield 0.0
            ended = True
        except httpx.HTTPError as error:
            ended = cut = True
            _LOG.warning("kimi-vertex recorder: the answer broke off: %s", type(error).__name__)
        finally:
            await response.aclose()
            # A client may leave at the closing mark, without waiting for the end of the body.
            if ended or _DONE in b"".join(chunks[-2:]):
                body, redact = b"".join(chunks), self._redact
                kept = Interaction.of(
                    request, response.status_code, response.headers, body, cut=cut, redact=redact
                )
                self._keep(kept)
        if cut:
            yield "cut"

    def _keep(self, item: Interaction) -> None:
        self._recorded.append(item)
        try:
            self.cassette.save(self._path)
        except OSError as error:
            _LOG.error("kimi-vertex recorder: cannot write %s: %s", self._path, error.strerror)


def _failed(words: str) -> Reply:
    return google_error(502, f"The kimi-vertex recorder: {words}. Nothing was recorded.")


def _checked(target: str) -> tuple[str, str, bool]:
    """Origin and path of a target, and whether it is on this machine."""
    match = _TARGET.fullmatch(target)
    try:
        address = ipaddress.ip_address(match["address"].strip("[]")) if match and match["address"] else None
    except ValueError:
        match = address = None
    if match is None:
        raise ValueError(
            "the recorder's target must be a URL such as https://aiplatform.googleapis.com, with no user, password, "
            "query or fragment"
        )
    local = match["name"] == "localhost" if address is None else address.is_loopback
    if match["scheme"] == "http" and not local:
        raise ValueError(
            f"the recorder sends credentials to {match['name'] or address} over https only; change the target"
        )
    return match["origin"], match["path"].rstrip("/"), local
