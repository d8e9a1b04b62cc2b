"""Traces: the settings, and the tracer of a process, which sends its spans to a collector."""
