"""What holds for every test: no Google settings, no network but loopback, fresh emulators.

No fixture starts anything that a test did not ask for.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import ipaddress
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from kimi_vertex_emulator import Emulator

CLEARED = (
    "GOOGLE_",
    "KIMI_",
    "CLOUDSDK_",
    "GCLOUD_",
    "GCE_METADATA_",
    "LANGCHAIN_",
    "LANGSMITH_",
    "LC_OUTPUT_",
    "SSL_CERT_",
    "REQUESTS_CA_",
    "CURL_CA_",
)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

_found: dict[str, str] = {}
_attempts: list[str] = []
_live = threading.Event()


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _guard(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: refuses to connect to, or to look up, anything but this machine."""
    if event == "socket.connect":
        address = args[1]
        host = address[0] if isinstance(address, tuple) else None  # a UNIX socket has a path
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if event == "socket.getaddrinfo" and str(host).endswith(".invalid"):
        # What any resolver answers (RFC 6761, 6.4), without one.
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if not _live.is_set() and not _is_loopback(host):
        _attempts.append(f"{event} {host!r}")
        raise RuntimeError(f"tests must not leave this machine: {event} {host!r}")


def _clear_environment() -> None:
    for name in list(os.environ):
        if name.startswith(CLEARED) or name.upper() in PROXIES:
            _found[name] = os.environ.pop(name)
    # Neither this user's gcloud login nor a metadata server is to be found, unless a test brings its own.
    os.environ["CLOUDSDK_CONFIG"] = str(Path(tempfile.gettempdir(), "kimi-vertex-tests-have-no-gcloud"))
    os.environ["NO_GCE_CHECK"] = "true"
    # A pytest that a test starts leaves out what pyproject.toml has this one leave out, and takes nothing of this shell.
    os.environ["PYTEST_ADDOPTS"] = "-p no:langsmith_plugin -p no:codspeed -p no:recording"


_clear_environment()
gc.disable()  # until all is collected
# Many short runs find what few long ones do: the examples differ from run to run.
settings.register_profile("suite", max_examples=25, deadline=None)
settings.load_profile("suite")
sys.addaudithook(_guard)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave live tests out unless the environment asks for them."""
    if _found.get("KIMI_VERTEX_LIVE"):
        return
    live = [item for item in items if item.get_closest_marker("live")]
    if live:
        config.hook.pytest_deselected(items=live)
        items[:] = [item for item in items if not item.get_closest_marker("live")]


def pytest_collection_finish() -> None:
    """Leave what was collected out of each later garbage collection: it lives as long as the process."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Guard the network; a live test gets its environment back and may use it."""
    live = request.node.get_closest_marker("live") is not None
    if live:
        monkeypatch.delenv("CLOUDSDK_CONFIG")
        monkeypatch.delenv("NO_GCE_CHECK")
        for name, value in _found.items():
            monkeypatch.setenv(name, value)
        _live.set()
    _attempts.clear()
    yield
    _live.clear()
    # The hook's exception may have been swallowed on its way up.
    assert not _attempts, f"the test tried to leave this machine: {_attempts}"


@pytest.fixture(autouse=True)
def _closed_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a synchronous test an event loop that is closed after it.

    LlamaIndex's synchronous paths ask for the thread's loop and leave the one that they get open
    (llama_index/core/async_utils.py, `asyncio_run`), which would fail whichever test comes next.
    """
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def refused_connections() -> list[str]:
    """What the guard has refused in this test; whoever expects it clears the list."""
    return _attempts


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A running emulator that enforces Kimi's rules."""
    with Emulator(strict=True) as running:
        yield running


@pytest.fixture
def lenient_emulator() -> Iterator[Emulator]:
    """A running emulator that accepts what Kimi's servers would refuse."""
    with Emulator(strict=False) as running:
        yield running
