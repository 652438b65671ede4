"""What the first request does under locks of others, so that a fork does not fall into the middle of it.

A child that is forked while another thread imports a module, or makes a TLS context, waits for that thread for ever, and
it has no such thread.
"""

from __future__ import annotations

import os
import threading

__all__ = ["IMPORTING"]

IMPORTING = threading.RLock()
"""Held while a module that is not loaded with the package is imported, or a TLS context is made; a fork waits for it."""


def _before_fork() -> None:
    IMPORTING.acquire()


def _after_fork() -> None:
    IMPORTING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
