"""The one limit of the operating system that many streams at a time run into."""

from __future__ import annotations


def raise_file_limit() -> None:
    """Allow this process as many open files, and thus connections, as the system permits it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
