"""Measurement: load and accuracy."""
