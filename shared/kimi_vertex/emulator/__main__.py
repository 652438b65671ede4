"""`python -m kimi_vertex.emulator`: runs the emulator until it is interrupted and logs every request."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence

from kimi_vertex.emulator._emulator import Emulator

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kimi_vertex.emulator",
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
    parser.add_argument("--quiet", action="store_true", help="do not log the requests")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the emulator in the foreground; returns the exit status."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(message)s")
    emulator = Emulator(
        strict=not options.lenient,
        host=options.host,
        port=options.port,
        require_token=options.require_token,
        refuse_forced_tool_choice=options.refuse_forced_tool_choice,
        token_lifetime=options.token_lifetime,
        pace=options.pace,
    )
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        emulator.start()
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error}; try --port 0", file=sys.stderr)
        return 1
    print("This is an emulator: no Kimi model answers here. Point a client at it with", file=sys.stderr)
    print(f"export KIMI_VERTEX_EMULATOR_HOST={emulator.host}", flush=True)
    stopped.wait()
    emulator.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
