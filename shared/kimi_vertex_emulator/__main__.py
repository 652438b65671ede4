"""`python -m kimi_vertex_emulator`: runs the emulator until it is interrupted and logs every request."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from kimi_vertex_emulator import CHUNKINGS, DIALECTS, Cassette, Emulator, Quota, Recorder, Rules, Script

__all__ = ["main"]

_RULES = [field.name for field in fields(Rules)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kimi_vertex_emulator",
        description="A local stand-in for Kimi on Vertex AI. No account, no model: deterministic answers.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    add("--port", type=int, default=8085, help="port to bind, 0 for a free one (default: %(default)s)")
    add("--lenient", action="store_true", help="accept what Kimi's servers refuse")
    add("--require-token", action="store_true", help="answer requests without a bearer token with 401")
    add("--token-lifetime", type=int, default=3600, help="seconds (default: %(default)s)")
    add("--pace", type=float, default=0.02, help="seconds between deltas (default: %(default)s)")
    add("--script", help="a YAML file with rules that answer before the brain does")
    dialects = [*DIALECTS, "random"]
    add("--dialect", choices=dialects, default="vertex", help="whose spelling (default: %(default)s)")
    add("--chunking", choices=CHUNKINGS, default="default", help="how text is cut (default: %(default)s)")
    rules = f"a rule beyond those of Kimi's servers, such as foreign_ids=error; repeatable; names: {', '.join(_RULES)}"
    add("--rule", action="append", default=[], metavar="NAME=VALUE", help=rules)
    add("--requests-per-minute", type=int, help="answer 429 to what exceeds it (default: no limit)")
    add("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    add("--watch", action="store_true", help="print each exchange instead of logging requests")
    add("--replay", metavar="FILE", help="answer from a cassette")
    add("--record", metavar="FILE", help="emulate nothing: forward requests to --target and write a cassette")
    add("--target", metavar="URL", help="where --record forwards to: https://HOST[/PATH]")
    add("--ca", metavar="FILE", help="PEM file of the authorities that vouch for --target")
    redact = "what else no cassette may hold; repeatable"
    add("--redact", action="append", default=[], metavar="TEXT", help=redact)
    add("--quiet", action="store_true", help="do not log the requests")
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
    where = {"host": options.host, "port": options.port}
    return Recorder(options.target, options.record, redact=options.redact, ca=options.ca, **where)


def _emulator(options: argparse.Namespace) -> Emulator:
    emulator = Emulator(
        strict=not options.lenient,
        host=options.host,
        port=options.port,
        require_token=options.require_token,
        token_lifetime=options.token_lifetime,
        pace=options.pace,
        script=Script.from_yaml(options.script) if options.script else None,
        dialect=options.dialect,
        chunking=options.chunking,
        rules=_rules(options.rule),
        quota=Quota(requests=options.requests_per_minute),
        seed=options.seed,
        replay=Cassette.load(options.replay, redact=options.redact) if options.replay else None,
        journal_limit=1000,
    )
    if options.watch:
        emulator.watch(lambda exchange: print(exchange.line(), flush=True))
    return emulator


def _rules(given: Sequence[str]) -> Rules:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  # slow to import

    found: dict[str, Any] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if name not in _RULES or not equals:
            raise ValueError(f"--rule {item}: expected NAME=VALUE with a name of {', '.join(_RULES)}")
        found[name] = [model.strip() for model in value.split(",")] if name == "models" else value
    try:
        return TypeAdapter(Rules).validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"--rule {first['loc'][0]}={first['input']}: {first['msg']}") from None


if __name__ == "__main__":
    raise SystemExit(main())
