"""`python -m kimi_vertex_emulator`: runs the emulator until it is interrupted and logs every request."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, cast, get_args

from kimi_vertex_emulator._emulator import Emulator
from kimi_vertex_emulator.cassette import Cassette, Matching
from kimi_vertex_emulator.conditions import Faults, LatencyProfile, Quota
from kimi_vertex_emulator.record import Recorder
from kimi_vertex_emulator.rules import Rules
from kimi_vertex_emulator.script import CHUNKINGS, DIALECTS, FAULTS, FaultKind
from kimi_vertex_emulator.scripts import Script
from kimi_vertex_emulator.watch import line

__all__ = ["main"]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kimi_vertex_emulator",
        description="A local stand-in for Kimi on Vertex AI. No account, no model: deterministic answers.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8085, help="port to bind, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument("--lenient", action="store_true", help="accept what Kimi's servers refuse")
    parser.add_argument(
        "--require-token", action="store_true", help="answer calls without a bearer token with 401"
    )
    parser.add_argument(
        "--refuse-forced-tool-choice", action="store_true", help="refuse a forced tool_choice while thinking"
    )
    parser.add_argument("--token-lifetime", type=int, default=3600, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--pace", type=float, default=0.02, help="seconds between deltas (default: %(default)s)"
    )
    parser.add_argument("--script", help="a YAML file with rules that answer before the brain does")
    parser.add_argument(
        "--dialect",
        choices=[*DIALECTS, "random"],
        default="vertex",
        help="whose spelling answers have (default: %(default)s)",
    )
    parser.add_argument(
        "--chunking", choices=CHUNKINGS, default="default", help="how text is cut (default: %(default)s)"
    )
    parser.add_argument(
        "--latency",
        choices=get_args(LatencyProfile),
        default="none",
        help="how long answers take (default: %(default)s)",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND=RATE",
        help=f"let calls fail at a rate from 0 to 1; repeatable; kinds: {', '.join(FAULTS)}",
    )
    parser.add_argument(
        "--token-fault",
        action="append",
        default=[],
        metavar="KIND=RATE",
        help="the same for requests to the token endpoint, the STS and the metadata server",
    )
    parser.add_argument(
        "--rule",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a rule beyond those of Kimi's servers, such as foreign_ids=error or context_window=262144; "
        f"repeatable; names: {', '.join(_RULES)}",
    )
    parser.add_argument(
        "--requests-per-minute", type=_positive, help="answer 429 to what exceeds it (default: no limit)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument(
        "--watch", action="store_true", help="print each exchange instead of logging requests"
    )
    parser.add_argument("--replay", metavar="FILE", help="answer from a cassette")
    parser.add_argument(
        "--match",
        choices=get_args(Matching),
        default="exact",
        help="how to find requests in it (default: %(default)s)",
    )
    parser.add_argument("--timed", action="store_true", help="replay the recorded pauses too")
    parser.add_argument(
        "--record", metavar="FILE", help="emulate nothing: forward calls to --target and write a cassette"
    )
    parser.add_argument("--target", metavar="URL", help="where --record forwards to: https://HOST[/PATH]")
    parser.add_argument("--ca", metavar="FILE", help="PEM file of the authorities that vouch for --target")
    parser.add_argument(
        "--redact",
        action="append",
        default=[],
        metavar="TEXT",
        help="what else no cassette may hold; repeatable",
    )
    parser.add_argument("--quiet", action="store_true", help="do not log the requests")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the emulator in the foreground; returns the exit status."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet or options.watch else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs URLs, and projects are in them
    try:
        server = _recorder(options) if options.record or options.target else _emulator(options)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server.start()
    except (OSError, OverflowError) as error:
        print(f"cannot listen on {options.host}:{options.port}: {error}; try --port 0", file=sys.stderr)
        return 1
    if isinstance(server, Recorder):
        print("This records. Give clients their credentials and, with the path they need,", file=sys.stderr)
        print(f"base_url={server.base_url}", flush=True)
    else:
        print("This is an emulator: no Kimi model answers here. Point a client at it with", file=sys.stderr)
        print(f"export KIMI_VERTEX_EMULATOR_HOST={server.host}", flush=True)
    stopped.wait()
    server.stop()
    return 0


def _recorder(options: argparse.Namespace) -> Recorder:
    if not (options.record and options.target):
        raise ValueError("--record FILE and --target URL belong together; give both")
    return Recorder(
        options.target,
        options.record,
        redact=options.redact,
        host=options.host,
        port=options.port,
        ca=options.ca,
    )


def _emulator(options: argparse.Namespace) -> Emulator:
    emulator = Emulator(
        strict=not options.lenient,
        host=options.host,
        port=options.port,
        require_token=options.require_token,
        refuse_forced_tool_choice=options.refuse_forced_tool_choice,
        token_lifetime=options.token_lifetime,
        pace="recorded" if options.timed else options.pace,
        script=Script.from_yaml(options.script) if options.script else None,
        dialect=options.dialect,
        chunking=options.chunking,
        latency=options.latency,
        rules=_rules(options.rule),
        faults=_faults(options.fault, options.token_fault, options.seed),
        quota=Quota(requests=options.requests_per_minute) if options.requests_per_minute else None,
        seed=options.seed,
        replay=Cassette.load(options.replay, redact=options.redact) if options.replay else None,
        match=options.match,
        journal_limit=1000,
    )
    if options.watch:
        emulator.watch(lambda exchange: print(line(exchange), flush=True))
    return emulator


def _faults(chat: Sequence[str], token: Sequence[str], seed: int) -> Faults | None:
    if not (chat or token):
        return None
    return Faults(_rates("--fault", chat), _rates("--token-fault", token), seed=seed)


def _rates(option: str, given: Sequence[str]) -> dict[FaultKind, float]:
    rates: dict[FaultKind, float] = {}
    for item in given:
        kind, _, rate = item.partition("=")
        try:
            rates[cast(FaultKind, kind)] = float(rate)
        except ValueError:
            raise ValueError(f"{option} {item}: expected KIND=RATE, such as 429=0.1") from None
    return rates


def _rules(given: Sequence[str]) -> Rules:
    found: dict[str, Any] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if name not in _RULES or not equals:
            raise ValueError(f"--rule {item}: expected NAME=VALUE with a name of {', '.join(_RULES)}")
        try:
            found[name] = _RULES[name](value)
        except ValueError as error:
            raise ValueError(f"--rule {item}: {error}") from None
    return Rules(**found)


def _switch(value: str) -> bool:
    if value not in {"true", "false"}:
        raise ValueError("expected true or false")
    return value == "true"


def _list(value: str) -> list[str]:
    return [name.strip() for name in value.split(",")]


_RULES: Final[dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("duplicate_ids", "foreign_ids", "unanswered_calls", "project"), str),
    **dict.fromkeys(("temperature", "schema_dialect", "expiring_tokens"), _switch),
    **dict.fromkeys(("context_window", "max_payload"), int),
    **dict.fromkeys(("models", "retired_models"), _list),
}


if __name__ == "__main__":
    raise SystemExit(main())
