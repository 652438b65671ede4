"""A service account whose token service is the test's emulator."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kimi_vertex_emulator import Emulator


@pytest.fixture
def short_jitter() -> Iterator[None]:
    """The first three waits before a retry are a few milliseconds."""
    state = random.getstate()
    random.seed(116882)
    yield
    random.setstate(state)


@pytest.fixture(scope="session")
def private_key() -> str:
    # Half of the usual size: a key is read for each token, and a large one takes 40 ms each time.
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def account(private_key: str, emulator: Emulator) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "key-proj",
        "private_key_id": "k1",
        "private_key": private_key,
        "client_email": "caller@key-proj.iam.gserviceaccount.com",
        "token_uri": emulator.token_uri,
    }
