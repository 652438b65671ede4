"""The floor of everything: httpx and a JSON parser, with nothing in between."""

from __future__ import annotations

import importlib
import json
from typing import Any

import httpx
from httpx_sse import EventSource

from benchmarks.clients.base import PROMPT, Case, Client, Sink
from benchmarks.scenarios import MODEL, tool


class Httpx(Client):
    """httpx, httpx-sse and the standard library's json; in the variant `orjson`, orjson instead."""

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        options: dict[str, Any] = {"timeout": 600, "trust_env": False, "limits": self.limits}
        self._client = httpx.Client(**options)
        self._async_client = httpx.AsyncClient(**options)

    def _body(self, case: Case, *, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if case.scenario.calls:
            body["tools"] = [tool()]
        return body

    def stream(self, case: Case, think: Sink, say: Sink) -> None:
        url = self.url(case.scenario) + "/chat/completions"
        with self._client.stream("POST", url, json=self._body(case, stream=True)) as response:
            for event in EventSource(response).iter_sse():
                if event.data == "[DONE]":
                    break
                _take(json.loads(event.data), think, say)

    async def astream(self, case: Case, think: Sink, say: Sink) -> None:
        url = self.url(case.scenario) + "/chat/completions"
        async with self._async_client.stream("POST", url, json=self._body(case, stream=True)) as response:
            async for event in EventSource(response).aiter_sse():
                if event.data == "[DONE]":
                    break
                _take(json.loads(event.data), think, say)

    def whole(self, case: Case) -> int:
        message = self._post(case, self._body(case, stream=False))["choices"][0]["message"]
        return len(message["content"]) + len(message["reasoning_content"])

    def send(self, prepared: Any, case: Case) -> None:
        self._post(case, {"model": MODEL, "messages": prepared})

    def _post(self, case: Case, body: Any) -> Any:
        url = self.url(case.scenario) + "/chat/completions"
        if case.variant == "orjson":
            orjson = importlib.import_module("orjson")
            headers = {"content-type": "application/json"}
            return orjson.loads(self._client.post(url, content=orjson.dumps(body), headers=headers).content)
        return json.loads(self._client.post(url, json=body).content)


class HttpxKeepsAll(Httpx):
    """The same, keeping every connection: its pool looks at all of them for each request."""

    limits = httpx.Limits(max_connections=None)


class HttpxKeepsNone(Httpx):
    """The same with a new connection for every request."""

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)


def _take(chunk: Any, think: Sink, say: Sink) -> None:
    choices = chunk["choices"]
    if not choices:
        return
    delta = choices[0]["delta"]
    thinking = delta.get("reasoning_content")
    if thinking:
        think(thinking)
    text = delta.get("content")
    if text:
        say(text)
    for call in delta.get("tool_calls") or ():
        say(call["function"]["arguments"])
