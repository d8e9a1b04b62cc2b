"""Measurement of the engine and the service on a GPU."""
