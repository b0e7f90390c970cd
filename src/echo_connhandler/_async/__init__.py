"""The source of all handler logic that does I/O; its twin is generated from it."""
