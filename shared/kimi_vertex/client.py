"""The client: settings in, requests out. What happens to a request is decided in `_exchange/flow.py`."""

from __future__ import annotations

import inspect
import logging
import os
import random
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Never, TypeAlias, Unpack, cast

from ._answer.validation import can_validate
from ._auth.credentials import CredentialSettings
from ._exchange.commands import Flow
from ._exchange.flow import run
from ._exchange.state import Exchange
from ._exchange.stats import RequestStats
from ._habits import check_names
from ._request.body import Payload, build
from ._request.rules import Rules
from ._secrets import Hidden
from ._settings import (
    check_callable,
    check_portable,
    check_settings,
    default_headers,
    hide_headers,
    merge_options,
    plain_text,
    portable_callback,
    read_certificates,
    read_max_retries,
    read_max_tokens,
    read_pace,
    read_seconds,
    read_timeouts,
)
from ._target.environment import Environment, warn_of_unknown
from ._target.hosts import InsecureHttp
from ._target.resolve import resolve_target
from ._target.target import Api
from ._transport.imports import ON_LOOPS, aside
from ._transport.many import Row, acomplete_many, complete_many
from ._transport.shared import share
from ._transport.user import TargetUser
from .completion import Completion
from .errors import KimiVertexError
from .events import Event
from .listener import ThinkingListener, atell, tell
from .messages import MessageLike
from .models import Effort, ModelInfo, Server, model_info, retirement_warning
from .options import (
    EmptyTurnPolicy,
    HTTPTimeout,
    Pace,
    ReplayThinking,
    RequestOptions,
    Settings,
    ThinkingCallback,
    Timeouts,
    ToolValidation,
    WaitCallback,
)
from .streams import AsyncEventStream, EventStream

if TYPE_CHECKING:
    import httpx

    HTTPClient: TypeAlias = httpx.Client
    AsyncHTTPClient: TypeAlias = httpx.AsyncClient
else:
    # httpx is loaded by the first request, not by whoever reads the annotations.
    HTTPClient = AsyncHTTPClient = Any

__all__ = ["CLIENT_SETTINGS", "KimiVertexClient"]

logger = logging.getLogger("kimi_vertex")

_warned_models: set[str] = set()


class KimiVertexClient(TargetUser):
    """A client for Kimi on Google Vertex AI, managed or self-deployed.

    Examples:
        >>> from kimi_vertex import KimiVertexClient, TextDelta, ThinkingDelta
        >>> client = KimiVertexClient(endpoint="projects/P/locations/L/endpoints/ID")  # doctest: +SKIP
        >>> for event in client.stream("How far is the moon?"):  # doctest: +SKIP
        ...     if isinstance(event, TextDelta):
        ...         print(event.text, end="")

    Making a client does no I/O. It may be shared by threads and event loops, used after a fork, copied and pickled.
    Copies share the credentials. A pickle holds settings and never a secret: with a credentials object, a mapping or
    a static token it is refused. HTTP clients that you gave stay out of it, and so do callbacks that cannot be pickled
    (lambdas, local functions), with a warning.

    Args:
        model: Name of the model. An endpoint, a `base_url` and an emulator answer without one; its window, its levels of
            thinking and other rules (Kimi K3's above all) are known by its name only. Default: `KIMI_VERTEX_MODEL`.
        project: Google Cloud project. Default: `GOOGLE_CLOUD_PROJECT`, then the project of the credentials.
        location: Google Cloud location. Default: `GOOGLE_CLOUD_LOCATION`, then `global`, where the managed model is.
        endpoint: A self-deployed model: `projects/P/locations/L/endpoints/ID`, or the id alone. Default:
            `KIMI_VERTEX_ENDPOINT`.
        endpoint_host: The endpoint's dedicated DNS name or private address. Default: `KIMI_VERTEX_ENDPOINT_HOST`, then
            asked of Vertex AI, once.
        base_url: Everything before `/chat/completions`, used as it is; for gateways and other servers, which are asked
            once (`/models`) for their model if you name none. On this machine no credentials are looked for. Default:
            `KIMI_VERTEX_BASE_URL`.
        api: Which of an endpoint's methods is used. `auto` tries chat completions (`v1`, then `v1beta1`), then a dedicated
            host's `invoke` route, then `rawPredict`, each only if the one before is not there (404, 405), and remembers
            what answered. `chat`, `invoke`, `rawPredict` or `predict` is that method. `predict` cannot stream. Default:
            `KIMI_VERTEX_API`, then `auto`.
        credentials: A google-auth credentials object, the content of a credentials file as a mapping (such as a
            service account's), or a path to one. Default: application default credentials.
        access_token: A static bearer token instead; it expires, so use it for tests. Also pydantic's `SecretStr`. Default:
            `KIMI_VERTEX_ACCESS_TOKEN`.
        audience: For a `base_url` on Cloud Run or behind IAP, which take ID tokens: whom they are for (the service's URL,
            IAP's client id). They are made from the credentials of a service account. Default: `KIMI_VERTEX_AUDIENCE`.
        ca_certs: The certificates to trust: a PEM file or directory, or `"system"` for the system's. Default:
            `KIMI_VERTEX_CA_CERTS`, `SSL_CERT_FILE`, `SSL_CERT_DIR`, then certifi's.
        insecure_http: `True` accepts plain http to a private address or a cluster's name: everyone on that network can
            read the prompts and answers. Only `"with_token"` sends a token that way, which shows it, too. Default:
            `KIMI_VERTEX_INSECURE_HTTP`, then `False`.
        timeout: Seconds to the head of the answer and between two pieces of it, or `Timeouts`, which has more limits, or
            an `httpx.Timeout`. Default: `KIMI_VERTEX_TIMEOUT` in seconds, then `Timeouts()`: 10 s to connect, 600 s to
            the head of the answer, 300 s between two pieces.
        max_retries: How often to try again when the service fails or is unreachable and nothing was shown. Default:
            `KIMI_VERTEX_MAX_RETRIES`, then 2.
        max_retry_seconds: When to stop trying again, in seconds from the start of the request, waits for its turn aside.
            After so many seconds in which the service has taken nothing at all, waiting for a turn ends, too.
        wake_timeout: For how many seconds to wait for an endpoint that has no replica yet, because it starts from zero or
            is redeployed (1800 is enough for most). Default: `KIMI_VERTEX_WAKE_TIMEOUT`, then that is an error.
        pace: How requests keep to what the service takes (429, 503, 529). `"shared"`: the clients of a process that share a
            target and credentials share a pace, which is learned from refusals; a refused request waits for its turn, which
            is not a retry. `Pace(...)`: likewise, with limits of your own. `None`: a refusal is retried like a failure.
        temperature: Between 0 and 2. Sent only if set, as are `top_p`, `max_tokens`, `stop` and `seed`: else the server's
            own defaults hold.
        top_p: Nucleus sampling: the share of probability that is drawn from.
        max_tokens: Limit, in tokens, for thinking and answer together. Kimi needs room: 16,000 or more.
        stop: Sequences that end the answer.
        seed: Makes answers repeatable, as far as the server can.
        extra_body: Further fields for every request's body.
        extra_headers: Further headers, such as `X-Vertex-AI-LLM-Request-Type` for provisioned throughput.
        replay_thinking: Which assistant turns are sent back with their thinking: `all`, those with tool calls
            (`tools`), or `none`.
        empty_turn: What to do with a turn that has neither text nor tool calls: `flag` it in the completion, `retry`
            once without streaming if nothing was shown, `raise` `EmptyTurnError`, or `promote` the thinking to
            the answer.
        implicit_thinking: Whether text before a lone `</think>` is thinking (servers without a reasoning parser).
            Text that comes before any thinking is then held back until that is decided. Default: for models
            that think; set it to `False` for a server that separates thinking and to stream text at once.
        reasoning_effort: How much the model thinks: `none`, `low`, `medium`, `high` or `max`, written as model and
            server want it. A level that the model does not have is refused. Default: the model's own.
        server: What serves the model: `vllm`, `sglang` or `moonshot`. Default: learned from the answers.
        recover_calls: Whether a call that the server let through as text becomes one. With `False`, such text stays
            text, without the special tokens in it. What the request itself holds as text never becomes a call.
        break_tokens: Whether special tokens in messages and tools, such as `<|im_end|>`, are broken up by an invisible sign,
            so that no document speaks as the system. What comes back has them whole. `False` sends them as they are.
        tool_validation: What to do about tool calls whose arguments the tool's schema does not admit: flag
            them and ask the model again, once (`reask`), only `flag` them, `repair` what is certain first, or let them
            through (`off`). `flag` and `repair` need `kimi-vertex[validate]`; without it, `reask` sees only calls that cannot be read or
            lack a required argument. `repair` holds a call's arguments until they are whole.
        on_thinking: A function, or a coroutine function, that is told each piece of thinking as it arrives. With one,
            `complete` streams from the service, so that the thinking is live. What it raises is logged and does not
            break the request.
        on_request: Called with `RequestStats` after every request, in its thread or task.
        on_wait: A function, or a coroutine function, that is told of a wait before another attempt, when it begins and
            every five seconds, as a `Wait`. What it raises is logged and does not break the request.
        http_client: An `httpx.Client` of your own; it is never closed here.
        http_async_client: An `httpx.AsyncClient` of your own, for use on one event loop; never closed here.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        project: str | int | None = None,
        location: str | None = None,
        endpoint: str | int | None = None,
        endpoint_host: str | None = None,
        base_url: str | None = None,
        api: Api = "auto",
        credentials: Any = None,
        access_token: str | None = None,
        audience: str | None = None,
        ca_certs: str | os.PathLike[str] | None = None,
        insecure_http: InsecureHttp | None = None,
        timeout: float | Timeouts | HTTPTimeout | None = None,
        max_retries: int | None = None,
        max_retry_seconds: float = 120.0,
        wake_timeout: float | None = None,
        pace: Literal["shared"] | Pace | None = "shared",
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        replay_thinking: ReplayThinking = "all",
        empty_turn: EmptyTurnPolicy = "flag",
        implicit_thinking: bool | None = None,
        reasoning_effort: Effort | None = None,
        server: Server | None = None,
        recover_calls: bool = True,
        break_tokens: bool = True,
        tool_validation: ToolValidation = "reask",
        on_thinking: ThinkingCallback | None = None,
        on_request: Callable[[RequestStats], None] | None = None,
        on_wait: WaitCallback | None = None,
        http_client: HTTPClient | None = None,
        http_async_client: AsyncHTTPClient | None = None,
        **unknown: Never,
    ) -> None:
        # In a traceback, the variables of this frame are printed, too.
        token, own, headers = (
            Hidden(plain_text(access_token)),
            Hidden(credentials),
            hide_headers(extra_headers),
        )
        del access_token, credentials, extra_headers
        if unknown:
            max_tokens = read_max_tokens(max_tokens, unknown)
            check_names(unknown, CLIENT_SETTINGS, owner=type(self).__name__)
        environment = Environment.read(os.environ)
        self._target = resolve_target(
            model=model,
            project=project,
            location=location,
            endpoint=endpoint,
            endpoint_host=endpoint_host,
            base_url=base_url,
            api=api,
            audience=audience,
            insecure_http=insecure_http,
            environment=environment,
        )
        warn_of_unknown(environment)
        self._model = self._target.model or None
        self._settings = check_settings(
            Settings(
                defaults=merge_options(
                    RequestOptions(
                        temperature=temperature,
                        top_p=top_p,
                        max_tokens=max_tokens,
                        stop=stop,
                        seed=seed,
                        reasoning_effort=reasoning_effort,
                        extra_body=extra_body,
                        extra_headers=headers,
                        on_thinking=on_thinking,
                    )
                ),
                replay_thinking=replay_thinking,
                empty_turn=empty_turn,
                implicit_thinking=implicit_thinking,
                server=server,
                recover_calls=recover_calls,
                break_tokens=break_tokens,
                tool_validation=tool_validation,
                max_retries=read_max_retries(max_retries),
                max_retry_seconds=max_retry_seconds,
                wake_timeout=read_seconds(wake_timeout, "wake_timeout"),
                pace=read_pace(pace),
                timeouts=read_timeouts(read_seconds(timeout, "timeout")),
            )
        )
        self._ca_certs = read_certificates(ca_certs, http_client, http_async_client)
        self._credentials = CredentialSettings.found(self._target, own, token, self._ca_certs)
        check_callable(on_request, "on_request")
        check_callable(on_wait, "on_wait")
        if tool_validation != "off":
            aside(can_validate)
        self._on_request = on_request
        self._told: set[str] = set()
        self._on_wait = on_wait
        self._shared = share(
            self._target, self._credentials, (http_client, http_async_client), self._ca_certs
        )

    @property
    def model(self) -> str | None:
        """The model that is asked for; `None` where the endpoint decides, or its server has not been asked yet."""
        return self._model or self._shared.facts.value("model") or None

    @property
    def server(self) -> Server | None:
        """The kind of server, as far as it was said or has been learned."""
        return self._settings.server or self._target.server or self._shared.facts.value("server")

    @property
    def model_info(self) -> ModelInfo:
        """What is known about the model: limits, inputs, lifecycle."""
        return model_info(self.model)

    def complete(
        self, messages: Iterable[MessageLike] | str, **options: Unpack[RequestOptions]
    ) -> Completion:
        """Ask for the whole answer at once.

        Args:
            messages: The conversation: `Message` values, dicts in OpenAI's form, or a user's text.
            **options: Options of this request; see `RequestOptions`.

        Returns:
            The answer, with its thinking.

        Raises:
            InvalidRequestError: The conversation cannot be sent.
            CredentialsError: There are no usable credentials.
            APIError: The service failed, or its answer broke off; what had arrived is in `partial`.
        """
        exchange, flow = self._start(messages, options, stream=False)
        for _ in self._run(exchange, flow):
            pass
        return exchange.completion

    async def acomplete(
        self, messages: Iterable[MessageLike] | str, **options: Unpack[RequestOptions]
    ) -> Completion:
        """The asynchronous twin of `complete`."""
        exchange, flow = self._start(messages, options, stream=False)
        async for _ in self._arun(exchange, flow):
            pass
        return exchange.completion

    def stream(self, messages: Iterable[MessageLike] | str, **options: Unpack[RequestOptions]) -> EventStream:
        """Ask for the answer piece by piece.

        The request is made when the first event is asked for. Arguments and errors are those of `complete`; an
        error in the middle of the answer is raised where its next event would have come.
        """
        exchange, flow = self._start(messages, options, stream=True)
        return EventStream(exchange, self._run(exchange, flow))

    def astream(
        self, messages: Iterable[MessageLike] | str, **options: Unpack[RequestOptions]
    ) -> AsyncEventStream:
        """The asynchronous twin of `stream`: `async for event in client.astream(...)`, without `await`."""
        exchange, flow = self._start(messages, options, stream=True)
        return AsyncEventStream(exchange, self._arun(exchange, flow))

    def complete_many(
        self, rows: Iterable[Row], *, concurrency: int = 64
    ) -> Generator[tuple[Any, Completion | KimiVertexError], None, None]:
        """Ask for many answers; they come as they are ready, each with its row's key.

        Args:
            rows: `(key, messages)` or `(key, messages, options)`; taken from the iterable when there is room, in the calling
                thread. An iterator that blocks holds up answers that are ready.
            concurrency: How many rows are in work at a time; the pace may allow fewer.

        Yields:
            A key and its answer, or the error that its request ended with. All requests are made on one event loop, in
            a thread of its own, where `on_request` and `on_wait` are called.

        Raises:
            Exception: What the iterable raises, or what is a mistake in a row, such as a key that is missing.
        """
        return complete_many(self.acomplete, rows, concurrency)

    def acomplete_many(
        self, rows: Iterable[Row] | AsyncIterable[Row], *, concurrency: int = 64
    ) -> AsyncGenerator[tuple[Any, Completion | KimiVertexError], None]:
        """The asynchronous twin of `complete_many`, on the running event loop: `async for key, answer in ...`."""
        return acomplete_many(self.acomplete, rows, concurrency)

    def _start(
        self, messages: Iterable[MessageLike] | str, options: RequestOptions, *, stream: bool
    ) -> tuple[Exchange, Flow]:
        if "extra_headers" in options:
            options["extra_headers"] = hide_headers(options["extra_headers"])  # in the caller's frame, too
        merged = merge_options(self._settings.defaults, options)
        model = merged.get("model") or self.model
        info = model_info(model)
        self._warn_retired(info)
        timeout = merged.get("timeout")
        on_thinking = merged.get("on_thinking")
        waits = ThinkingListener(self._on_wait, name="on_wait") if self._on_wait is not None else None
        shows_events = stream or on_thinking is not None
        streamed = shows_events and self._target.api != "predict"
        if self._target.asks_for_model and isinstance(messages, Iterator):
            messages = list(messages)  # they are written again when the model is known

        def write(model: str | None) -> Payload:
            return build(
                messages,
                merged,
                settings=self._settings,
                target=self._target,
                rules=Rules(model_info(model), self.server, self._settings.server is not None, self._told),
                model=model,
                stream=streamed,
            )

        headers = default_headers(merged.get("extra_headers"))
        exchange = Exchange(
            target=self._target,
            settings=self._settings,
            facts=self._shared.facts,
            payload=write(model),
            write=write,
            stream=streamed,
            shows_events=shows_events,
            headers=headers,
            request_id=headers.reveal().get("x-request-id") or os.urandom(16).hex(),
            traced=bool(merged.get("traced")),
            timeouts=self._settings.timeouts if timeout is None else read_timeouts(timeout),
            clock=time.monotonic,
            today=lambda: datetime.now(UTC),
            random=random.random,
            on_request=self._on_request,
            on_thinking=on_thinking,
            on_wait=waits.notify if waits is not None else None,
            on_end=waits.close if waits is not None else None,
            proxy_of=self._shared.proxy_of,
            pacer=None
            if self._settings.pace is None
            else self._shared.pacer(merged.get("model") or self._model),
            pace=self._settings.pace or Pace(),
        )
        return exchange, run(exchange)

    def _run(self, exchange: Exchange, flow: Flow) -> Generator[Event, None, None]:
        events = self._driver(exchange.timeouts).run(flow)
        return events if exchange.on_thinking is None else tell(events, exchange.on_thinking)

    def _arun(self, exchange: Exchange, flow: Flow) -> AsyncGenerator[Event, None]:
        if not ON_LOOPS.loaded:
            return ON_LOOPS.then(lambda: self._arun(exchange, flow))
        from ._transport.drivers import AsyncDriver  # noqa: PLC0415  # see _driver

        events = AsyncDriver(self._clients, self._shared.tokens, exchange.timeouts).run(flow)
        return events if exchange.on_thinking is None else atell(events, exchange.on_thinking)

    def _warn_retired(self, info: ModelInfo) -> None:
        if self._target.kind != "managed" or self._target.emulator or info.id in _warned_models:
            return
        warning = retirement_warning(info, datetime.now(UTC).date())
        if warning:
            _warned_models.add(cast(str, info.id))
            logger.warning("%s", warning)

    def __getstate__(self) -> dict[str, Any]:
        check_portable(self._settings)
        defaults = self._settings.defaults.copy()
        if portable_callback("on_thinking", defaults.get("on_thinking")) is None:
            defaults.pop("on_thinking", None)
        return {
            **super().__getstate__(),
            "_settings": replace(self._settings, defaults=defaults),
            "_on_request": portable_callback("on_request", self._on_request),
            "_on_wait": portable_callback("on_wait", self._on_wait),
        }


CLIENT_SETTINGS: Final[tuple[str, ...]] = tuple(
    name for name in inspect.signature(KimiVertexClient).parameters if name != "unknown"
)
"""The names of the client's settings, for classes that hold the same settings and build a client from them."""
