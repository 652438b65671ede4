"""The guard of conftest.py: what a test can neither see nor reach."""

from __future__ import annotations

import os
import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)])
def test_no_test_reaches_another_machine(
    address: tuple[str, int] | tuple[str, int, int, int], refused_connections: list[str]
) -> None:
    """Connecting to an address outside this machine fails before a packet is sent."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(RuntimeError, match="must not leave this machine"):
        sock.connect(address)
    assert len(refused_connections) == 1
    refused_connections.clear()


def test_no_test_looks_up_a_name(refused_connections: list[str]) -> None:
    """Name resolution is network traffic too."""
    with pytest.raises(RuntimeError, match="must not leave this machine"):
        socket.getaddrinfo("aiplatform.googleapis.com", 443)
    assert len(refused_connections) == 1
    refused_connections.clear()


def test_loopback_is_open() -> None:
    """A server on this machine can be reached."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(("localhost", server.getsockname()[1])) as client,
    ):
        assert client.getpeername()[0] == "127.0.0.1"


def test_settings_of_the_developer_are_invisible() -> None:
    """A project, an endpoint or a tracing key in the environment does not change a test."""
    prefixes = ("GOOGLE_", "KIMI_", "LANGSMITH_", "LANGCHAIN_")
    assert [name for name in os.environ if name.startswith(prefixes)] == []
