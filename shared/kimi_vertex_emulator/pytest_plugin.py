"""The pytest plugin of kimi-vertex: an emulated Kimi as a fixture, the environment set so that code finds it.

It imports nothing but pytest until a test asks for a fixture, because pytest imports it in every run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kimi_vertex_emulator import Emulator

__all__ = ["kimi_emulator", "kimi_emulator_session", "kimi_emulator_settings"]

_MARKER = "kimi_emulator"
_VERIFY = ("consumed", "expected")
_CLEARED = ("KIMI_VERTEX_ENDPOINT", "GOOGLE_CLOUD_UNIVERSE_DOMAIN", "GOOGLE_APPLICATION_CREDENTIALS")


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker."""
    config.addinivalue_line(
        "markers",
        "kimi_emulator(verify=None, **settings): settings of the kimi_emulator fixture, as kimi_vertex_emulator."
        'Emulator takes them; script= may be the path of a YAML file; verify="consumed", "expected" or "all" checks '
        "at the end that every scripted answer was asked for, that every request was scripted, or both",
    )


@pytest.fixture(scope="session")
def kimi_emulator_settings() -> Mapping[str, Any]:
    """Settings that hold for every emulator of this plugin; override it in a `conftest.py`. Default: none."""
    return {}


@pytest.fixture(scope="session")
def kimi_emulator_session(kimi_emulator_settings: Mapping[str, Any]) -> Iterator[Emulator]:
    """One emulator for the whole run, with `KIMI_VERTEX_EMULATOR_HOST` set while it lives.

    Scripts and journal stay from test to test; `reset()` empties them.
    """
    settings, verify = _split(kimi_emulator_settings)
    with pytest.MonkeyPatch.context() as patch:
        yield from _run(settings, verify, patch)


@pytest.fixture
def kimi_emulator(
    request: pytest.FixtureRequest, kimi_emulator_settings: Mapping[str, Any]
) -> Iterator[Emulator]:
    """An emulator for this test alone, with `KIMI_VERTEX_EMULATOR_HOST` set while it lives.

    Settings come from `kimi_emulator_settings`, then from `@pytest.mark.kimi_emulator(...)` on module, class and
    function; the nearest one counts. When the test has failed, nothing is verified.
    """
    merged = dict(kimi_emulator_settings)
    for marker in reversed(list(request.node.iter_markers(_MARKER))):
        if marker.args:
            words = f"pytest.mark.{_MARKER} takes keyword arguments only, got {marker.args!r}"
            pytest.fail(words, pytrace=False)
        merged |= marker.kwargs
    settings, verify = _split(merged)
    failures = request.session.testsfailed
    with pytest.MonkeyPatch.context() as patch:
        yield from _run(settings, verify, patch, lambda: request.session.testsfailed > failures)


def _split(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bool]]:
    """The settings of the emulator, and those of its `verify`."""
    rest = dict(settings)
    wanted = rest.pop("verify", None)
    if wanted not in (None, *_VERIFY, "all"):
        words = f'kimi_emulator: verify={wanted!r}; it must be "consumed", "expected" or "all"'
        pytest.fail(words, pytrace=False)
    return rest, {name: wanted in (name, "all") for name in _VERIFY}


def _run(
    settings: dict[str, Any],
    verify: dict[str, bool],
    patch: pytest.MonkeyPatch,
    failed: Callable[[], bool] = lambda: False,
) -> Iterator[Emulator]:
    from kimi_vertex_emulator import Emulator, Script  # noqa: PLC0415  # see the module's docstring

    try:
        script = settings.get("script")
        if isinstance(script, str | os.PathLike):
            settings["script"] = Script.from_yaml(os.fspath(script))
        emulator = Emulator(**settings)
    except (ImportError, OSError, TypeError, ValueError) as error:
        # The reader wants the words, not the way through the emulator's insides.
        raise pytest.fail.Exception(f"kimi_emulator: {error}", pytrace=False) from None
    with emulator:
        patch.setenv("KIMI_VERTEX_EMULATOR_HOST", emulator.host)
        for name in _CLEARED:
            patch.delenv(name, raising=False)
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost"])))
        yield emulator
    if not failed():
        try:
            emulator.verify(**verify)
        except AssertionError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
