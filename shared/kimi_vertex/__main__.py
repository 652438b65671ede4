"""`python -m kimi_vertex` is the command `kimi-vertex`, in the package `kimi_vertex_cli`."""

from kimi_vertex_cli import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
