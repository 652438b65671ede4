"""One request and its answer as a generator that asks for I/O. Pure."""
