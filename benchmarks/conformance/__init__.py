"""Conformance: which of Kimi's rules general clients keep when they talk to the emulator, ours beside them."""
