"""A service account whose token service is the test's emulator."""

from __future__ import annotations

from ..core.conftest import account, private_key

__all__ = ["account", "private_key"]
