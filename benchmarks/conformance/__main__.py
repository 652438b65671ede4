"""`python -m benchmarks.conformance`: print which of Kimi's rules each installed client keeps, as a Markdown table."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from benchmarks.conformance.peers import LABELS, OURS
from benchmarks.conformance.rules import RULES
from benchmarks.conformance.table import check, document, insert


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conformance",
        description="Asks every installed client about every rule, over loopback, and prints a Markdown table.",
        epilog=f"Clients: {', '.join(LABELS)}. Rules: {', '.join(RULES)}.",
    )
    parser.add_argument("--clients", metavar="NAME,...", help="only these clients (default: all)")
    parser.add_argument("--rules", metavar="NAME,...", help="only these rules (default: all)")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the table between a page's markers too"
    )
    return parser.parse_args()


def _chosen(names: str | None, known: dict[str, Any], what: str) -> list[str]:
    wanted = [name.strip() for name in names.split(",")] if names else list(known)
    for name in wanted:
        if name not in known:
            raise SystemExit(f"No {what} is named {name!r}. There are: {', '.join(known)}.")
    return wanted


def _loopback_only(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: whatever a client wants elsewhere fails at once."""
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    try:
        local = host in {None, "", "localhost"} or ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ConnectionRefusedError(f"the check connects to this machine only, not to {host}")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text} ", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Run what the command line asks for; the status is 1 if one of our clients breaks a rule."""
    arguments = _arguments()
    clients = _chosen(arguments.clients, LABELS, "client")
    rules = _chosen(arguments.rules, RULES, "rule")
    sys.addaudithook(_loopback_only)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ.pop(name, None)
        os.environ.pop(name.lower(), None)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    found = check(clients, rules, progress=_progress)
    _progress("")
    text = document(found)
    print(text, end="")
    if arguments.write:
        insert(arguments.write, text)
    return int(any(verdict.word != "yes" for name in OURS for verdict in (found.get(name) or {}).values()))


if __name__ == "__main__":
    raise SystemExit(main())
