"""Chat models that talk to this test's emulator over real sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from kimi_vertex_emulator import Emulator
from langchain_kimi_vertex import ChatKimiVertex

MakeModel: TypeAlias = Callable[..., ChatKimiVertex]


@pytest.fixture
def make_model(emulator: Emulator) -> MakeModel:
    """Make a model for the strict emulator, with any further settings."""

    def make(**settings: Any) -> ChatKimiVertex:
        return ChatKimiVertex(base_url=emulator.base_url, **settings)

    return make


@pytest.fixture
def model(make_model: MakeModel) -> ChatKimiVertex:
    """A model for the strict emulator with default settings."""
    return make_model()
