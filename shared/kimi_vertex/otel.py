"""OpenTelemetry: a span and three metrics for each request, by the semantic conventions for generative AI; and the pace.

The names are those of opentelemetry-semantic-conventions 0.66b2 (`gen_ai.*`, October 2026), which are still in development.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans
"""

from __future__ import annotations

import json
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from ._exchange.pace import Pacer
from ._exchange.state import WATCHERS, Exchange
from ._exchange.stats import RequestStats, Watch
from ._secrets import Hidden
from ._version import __version__
from .completion import Completion
from .errors import ConfigurationError
from .messages import Message

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider
else:
    # The package is an extra, and is loaded by whoever asks for it.
    MeterProvider = TracerProvider = Span = Any

__all__ = ["instrument", "is_traced", "uninstrument"]

_CONTENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
# What tracers of frameworks put into the context while they make the span of a model's call themselves.
_SUPPRESSED: Final = ("suppress_instrumentation", "suppress_language_model_instrumentation")
_TRACERS: Final = {"langchain": "LangChainInstrumentor", "llama_index": "LlamaIndexInstrumentor"}
_OPTIONS: Final = {
    **{name: f"gen_ai.request.{name}" for name in ("temperature", "top_p", "top_k", "seed", "max_tokens")},
    **{name: f"gen_ai.request.{name}" for name in ("frequency_penalty", "presence_penalty")},
    "max_completion_tokens": "gen_ai.request.max_tokens",
}
# The boundaries that the conventions ask for.
_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = tuple(float(4**power) for power in range(14))

# Of `PaceState`: the kind of instrument, its unit and what it says.
_PACE: Final = {
    "per_second": ("gauge", "{request}/s", "Requests that may begin in a second, while that is limited."),
    "limit": ("gauge", "{request}", "Requests that may run at a time, while that is limited."),
    "running": ("up_down_counter", "{request}", "Requests that are being answered."),
    "waiting": ("up_down_counter", "{request}", "Requests that wait for their turn."),
    "refused": ("counter", "{request}", "Requests that the target has refused for want of room."),
}

_telemetry: _Telemetry | None = None


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    content: bool | None = None,
) -> None:
    """Make a span and metrics of each request of this process, whichever client or framework makes it, and of its pace.

    Where the tracer of a framework makes the span of a model's call itself, there is no second one. A server that understands `traceparent` gets it, so that its own spans join the trace.

    Args:
        tracer_provider: Default: the global one.
        meter_provider: Default: the global one.
        content: Whether spans hold the conversation and the answer. Default:
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`, then not.

    Raises:
        ConfigurationError: The extra `kimi-vertex[otel]` is not installed.
    """
    global _telemetry  # noqa: PLW0603 - one for the process
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "Spans and metrics need the package opentelemetry-api: pip install 'kimi-vertex[otel]'."
        ) from None
    uninstrument()
    word = os.environ.get(_CONTENT_VARIABLE, "").strip().lower()
    shows = word in ("true", "1", "span_only", "span_and_event") if content is None else content
    tracer = trace.get_tracer("kimi_vertex", __version__, tracer_provider)
    meter = metrics.get_meter("kimi_vertex", __version__, meter_provider)
    _telemetry = _Telemetry(tracer, meter, content=shows)
    WATCHERS.append(_telemetry.begin)


def uninstrument() -> None:
    """Make no more spans and metrics."""
    global _telemetry  # noqa: PLW0603 - see `instrument`
    if _telemetry is not None:
        WATCHERS.remove(_telemetry.begin)
        _telemetry.end()
        _telemetry = None


def is_traced(framework: Literal["langchain", "llama_index"]) -> bool:
    """Whether OpenInference makes spans of a framework's model calls: it does not say so in the context."""
    if not WATCHERS:
        return False
    tracer = getattr(sys.modules.get(f"openinference.instrumentation.{framework}"), _TRACERS[framework], None)
    return tracer is not None and bool(tracer().is_instrumented_by_opentelemetry)


class _Telemetry:
    """What is made of a request."""

    def __init__(self, tracer: Any, meter: Any, *, content: bool) -> None:
        self._tracer = tracer
        self._content = content
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of a request.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._duration, self._first = (
            meter.create_histogram(
                f"gen_ai.client.operation.{name}",
                unit="s",
                description=description,
                explicit_bucket_boundaries_advisory=_SECONDS,
            )
            for name, description in (
                ("duration", "Seconds of a request, with all attempts."),
                ("time_to_first_chunk", "Seconds to the first thinking, text or tool call of a stream."),
            )
        )
        self._paces: tuple[tuple[weakref.ref[Pacer], str, Callable[[], float]], ...] = ()
        """Whose requests were seen, where they go, and the clock. Replaced and never changed: the meter's thread reads it."""
        for name, (kind, unit, description) in _PACE.items():
            create = getattr(meter, f"create_observable_{kind}")
            create(f"kimi_vertex.pace.{name}", [partial(self._observe, name)], unit, description)

    def begin(self, exchange: Exchange) -> Sequence[Watch]:
        """A request begins."""
        from opentelemetry import context, propagate, trace  # noqa: PLC0415 - see `instrument`

        self._note_pace(exchange)
        if any(context.get_value(key) for key in _SUPPRESSED):
            return ()
        span = None
        if not (exchange.traced or _is_model_call(trace.get_current_span())):
            span = self._tracer.start_span(
                _name(exchange), kind=trace.SpanKind.CLIENT, attributes=self._asked(exchange)
            )
            carrier: dict[str, str] = {}
            propagate.inject(carrier, trace.set_span_in_context(span))
            exchange.headers = Hidden({**carrier, **exchange.headers.reveal()})

        def end(stats: RequestStats, completion: Completion | None, error: Exception | None) -> None:
            self._count(exchange, stats, completion)
            if span is not None and span.is_recording():
                self._describe(span, exchange, stats, completion, error)
            if span is not None:
                span.end()

        return (end,)

    def end(self) -> None:
        """Observe no pace any more: an instrument cannot be taken back."""
        self._paces = ()

    def _note_pace(self, exchange: Exchange) -> None:
        pacer = exchange.pacer
        if pacer is None or any(known() is pacer for known, *_ in self._paces):
            return
        living = [pace for pace in self._paces if pace[0]() is not None]
        target = replace(exchange.target, model=None).describe()
        self._paces = (*living, (weakref.ref(pacer), target, exchange.clock))

    def _observe(self, name: str, _: object) -> Iterable[Any]:
        from opentelemetry.metrics import Observation  # noqa: PLC0415 - see `instrument`

        values: dict[str, float] = {}
        for known, target, clock in self._paces:
            pacer = known()
            value = None if pacer is None else getattr(pacer.state(clock()), name)
            if value is not None:
                values[target] = values.get(target, 0) + value
        return [Observation(value, {"kimi_vertex.target": target}) for target, value in values.items()]

    def _asked(self, exchange: Exchange) -> dict[str, Any]:
        body = exchange.payload.body
        asked: dict[str, Any] = {
            name: value
            for option, name in _OPTIONS.items()
            if isinstance(value := body.get(option), int | float)
        }
        asked |= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _provider(exchange),
            "gen_ai.request.stream": exchange.stream,
            "gen_ai.output.type": "json" if "response_format" in body else "text",
        }
        if exchange.payload.model:
            asked["gen_ai.request.model"] = exchange.payload.model
        if stop := body.get("stop"):
            asked["gen_ai.request.stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
        return asked

    def _describe(
        self,
        span: Span,
        exchange: Exchange,
        stats: RequestStats,
        completion: Completion | None,
        error: Exception | None,
    ) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - see `instrument`

        span.update_name(_name(exchange))
        usage = stats.usage
        known = {
            **_where(exchange),
            "gen_ai.request.model": stats.model,
            "gen_ai.response.model": completion.model if completion else None,
            "gen_ai.response.id": completion.response_id if completion else None,
            "gen_ai.response.finish_reasons": [stats.finish_reason] if stats.finish_reason else None,
            "gen_ai.response.time_to_first_chunk": stats.seconds_to_first_event if stats.streamed else None,
            "gen_ai.usage.input_tokens": usage.prompt_tokens if usage else None,
            "gen_ai.usage.output_tokens": usage.completion_tokens if usage else None,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens if usage else None,
            "gen_ai.usage.reasoning.output_tokens": usage.thinking_tokens if usage else None,
            "http.response.status_code": stats.status,
            "error.type": stats.error,
            "kimi_vertex.client_request_id": stats.client_request_id,
            "kimi_vertex.request_id": stats.request_id,
            "kimi_vertex.target": stats.target,
            "kimi_vertex.attempts": stats.attempts,
            "kimi_vertex.failures": list(stats.failures) or None,
            "kimi_vertex.waited_seconds": sum(stats.waits.values()),
        }
        span.set_attributes({name: value for name, value in known.items() if value is not None})
        if self._content:
            _show(span, exchange, completion)
        if error is not None:
            # The text of an error may quote the server, and that the conversation.
            words = str(error) if self._content else f"{stats.error} ({stats.status or 'no answer'})"
            span.set_status(Status(StatusCode.ERROR, words))

    def _count(self, exchange: Exchange, stats: RequestStats, completion: Completion | None) -> None:
        about = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _provider(exchange),
            **_where(exchange),
            "gen_ai.request.model": stats.model,
            "gen_ai.response.model": completion.model if completion else None,
        }
        labels = {name: value for name, value in about.items() if value is not None}
        if stats.usage is not None:
            for kind, count in (
                ("input", stats.usage.prompt_tokens),
                ("output", stats.usage.completion_tokens),
            ):
                self._tokens.record(count, {**labels, "gen_ai.token.type": kind})
        failed = {"error.type": stats.error} if stats.error else {}
        self._duration.record(stats.seconds, {**labels, **failed})
        if stats.streamed and stats.seconds_to_first_event is not None:
            self._first.record(stats.seconds_to_first_event, labels)


def _is_model_call(span: Any) -> bool:
    """Whether a span is one that another tracer has made for the model's call."""
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    kind = attributes.get("openinference.span.kind")
    return kind == "LLM" or attributes.get("gen_ai.operation.name") == "chat"


def _name(exchange: Exchange) -> str:
    return f"chat {exchange.payload.model}" if exchange.payload.model else "chat"


def _provider(exchange: Exchange) -> str:
    target = exchange.target
    if target.kind != "base_url":
        return "gcp.vertex_ai"
    server = exchange.settings.server or target.server or exchange.facts.value("server")
    return {"moonshot": "moonshot_ai", None: "self_hosted"}.get(server, server)


def _where(exchange: Exchange) -> dict[str, Any]:
    parts = urlsplit(exchange.url or "")
    if not parts.hostname:
        return {}
    return {
        "server.address": parts.hostname,
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }


def _show(span: Span, exchange: Exchange, completion: Completion | None) -> None:
    """Write what was said into the span."""
    messages = exchange.payload.conversation
    system = [part for message in messages if message.role == "system" for part in _parts(message)]
    rest = [
        {"role": message.role, "parts": _parts(message)} for message in messages if message.role != "system"
    ]
    shown: dict[str, Any] = {"gen_ai.input.messages": rest}
    if system:
        shown["gen_ai.system_instructions"] = system
    if tools := exchange.payload.body.get("tools"):
        shown["gen_ai.tool.definitions"] = tools
    if completion is not None:
        parts = _parts(completion.to_message())
        reason = completion.finish_reason
        shown["gen_ai.output.messages"] = [{"role": "assistant", "parts": parts, "finish_reason": reason}]
    for name, value in shown.items():
        span.set_attribute(name, json.dumps(value, ensure_ascii=False, default=str))


def _parts(message: Message) -> list[dict[str, Any]]:
    """A message in the conventions' form."""
    content = message.content
    if message.role == "tool":
        text = content if isinstance(content, str) else json.dumps(content, default=str)
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": text}]
    parts: list[dict[str, Any]] = []
    if message.thinking:
        parts.append({"type": "reasoning", "content": message.thinking})
    parts += _content_parts(content)
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]
    return parts


def _content_parts(content: str | Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    return [
        {"type": "text", "content": part["text"]} if "text" in part else {"type": str(part.get("type"))}
        for part in content or ()
    ]
