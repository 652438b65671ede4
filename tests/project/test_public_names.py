"""The public surface, written down: a name that appears or disappears here is a decision."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

import pytest

PUBLIC = {
    "kimi_vertex": "",
    "kimi_vertex.emulator": "",
    "langchain_kimi_vertex": "",
    "llama_index_kimi_vertex": "",
}
# Pickles, manifests and serialised chains name these by module.
DEFINED_IN = {
    ("langchain_kimi_vertex", "ChatKimiVertex"): "langchain_kimi_vertex.chat_models",
    ("llama_index_kimi_vertex", "KimiVertex"): "llama_index_kimi_vertex.base",
}
SHARED_PARAMETERS = (
    "model", "project", "location", "endpoint", "base_url", "credentials", "access_token", "api_key", "timeout",
    "max_retries", "temperature", "top_p", "max_tokens", "stop", "extra_body", "http_client", "http_async_client",
)  # fmt: skip


@pytest.fixture(params=PUBLIC)
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each public package."""
    return importlib.import_module(request.param)


def test_all_is_the_snapshot(module: ModuleType) -> None:
    """`__all__` has exactly the names that are written down here."""
    assert sorted(module.__all__) == PUBLIC[module.__name__].split()


def test_all_exists(module: ModuleType) -> None:
    """Each name in `__all__` is there."""
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_public_names_are_documented(module: ModuleType) -> None:
    """Each public class and function has a docstring of its own."""
    public = [getattr(module, name) for name in module.__all__]
    described = [item for item in public if inspect.isclass(item) or inspect.isfunction(item)]
    assert [item.__qualname__ for item in described if not (item.__doc__ or "").strip()] == []


@pytest.mark.parametrize(("place", "definition"), DEFINED_IN.items(), ids=str)
def test_definitions_stay_where_pickles_look(place: tuple[str, str], definition: str) -> None:
    """The class is defined in the module that stored objects name."""
    package, name = place
    assert getattr(importlib.import_module(package), name).__module__ == definition


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("kimi_vertex", "KimiVertexClient"),
        ("langchain_kimi_vertex", "ChatKimiVertex"),
        ("llama_index_kimi_vertex", "KimiVertex"),
    ],
)
def test_client_and_adapters_share_their_parameters(package: str, name: str) -> None:
    """What a user learned for one of the three holds for the others."""
    cls = getattr(importlib.import_module(package), name)
    fields = getattr(cls, "model_fields", {})
    accepted = {*inspect.signature(cls).parameters, *fields, *(f.alias for f in fields.values())}
    assert [parameter for parameter in SHARED_PARAMETERS if parameter not in accepted] == []
