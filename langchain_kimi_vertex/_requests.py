"""One request: LangChain's messages and keyword arguments as the core takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from langchain_core.messages import BaseMessage
from pydantic import SecretStr

from kimi_vertex import Message, RequestOptions, check_names
from kimi_vertex.otel import is_traced
from langchain_kimi_vertex._messages import to_core_messages
from langchain_kimi_vertex._tools import DEFERRED, format_tools, response_format, unmarked

__all__ = ["Request", "hidden_headers", "prepare"]

_NOT_SENT: Final = ("stream", "stream_usage", "ls_structured_output_format", "structured_output_format")
"""What LangChain passes along for itself; usage is always asked for."""


class Request(NamedTuple):
    """A request as the core takes it."""

    messages: list[Message]
    options: RequestOptions


def prepare(messages: Sequence[BaseMessage], arguments: Mapping[str, Any]) -> Request:
    """Build a request.

    Raises:
        ConfigurationError: One of the names is not in `RequestOptions`.
        InvalidRequestError: A message cannot be sent.
    """
    options = {name: value for name, value in arguments.items() if name not in _NOT_SENT}
    check_names(options, RequestOptions.__annotations__, owner="A request", what="option")
    if is_traced("langchain"):
        options["traced"] = True
    known: dict[str, dict[str, Any]] = {}
    if options.get("tools"):
        options["tools"], known = _offered(format_tools(options["tools"]))
    if options.get("response_format") is not None:
        options["response_format"] = response_format(options["response_format"])
    return Request(to_core_messages(messages, known), cast("RequestOptions", options))


def hidden_headers(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments whose headers can be dumped and traced without their values."""
    headers = arguments.get("extra_headers")
    if not isinstance(headers, Mapping):
        return dict(arguments)
    hidden = {name: SecretStr(value) if isinstance(value, str) else value for name, value in headers.items()}
    return {**arguments, "extra_headers": hidden}


def _offered(tools: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The tools that are offered from the start, and all, by name, as a message may add them."""
    bare = [unmarked(tool) for tool in tools]
    known = {tool["function"]["name"]: tool for tool in bare if isinstance(tool.get("function"), Mapping)}
    return [plain for tool, plain in zip(tools, bare, strict=True) if DEFERRED not in tool], known
